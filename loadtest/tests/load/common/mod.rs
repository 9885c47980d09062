//! A small ledger and the store that fits it, written out by hand.

pub mod inserted;
pub mod rollup;
pub mod run;
pub mod store;
pub mod twin;

use whence_loadtest::{
    ledger::{
        Body, Class, ClickEntry, ClickOutcome, EventEntry, FORMAT, Header, Id, Ledger, Money, Named, Reply,
        SendEntry, Subject, Touch,
    },
    oracle::{
        Strictness,
        cells::QUARTER_MS,
        compare,
        difference::Kind,
        identity::{event_id, reward_id},
        stored::{
            ClickRow, Credit, LeadRow, PlainRow, QualificationRow, RejectRow, ReversalRow, ReversalState,
            StoredFacts,
        },
    },
    world::{World, WorldSize},
};

pub const NOON_MS: i64 = 1_800_000_000_000 / QUARTER_MS * QUARTER_MS;
pub const STRICT: Strictness = Strictness { is_lossy: false, kept_max: 100 };
pub const LOSSY: Strictness = Strictness { is_lossy: true, kept_max: 100 };

/// The kinds of difference found, with their counts.
pub fn kinds(ledger: &Ledger, stored: &StoredFacts, strictness: Strictness) -> Vec<(Kind, u64)> {
    compare(ledger, stored, strictness).differences.counts.into_iter().collect()
}

pub fn click_id(at_ms: i64, n: u128) -> Id {
    Id((u128::try_from(at_ms).unwrap() << 80) | (7 << 76) | (2 << 62) | n)
}

pub struct Fixture {
    pub ledger: Ledger,
    pub stored: StoredFacts,
}

impl Fixture {
    /// A ledger of one program in which nothing has happened.
    pub fn empty() -> Fixture {
        let world = World::generate(
            1,
            "t",
            "go.example",
            WorldSize { programs: 1, referrers: 3, links: 6, channels: 2 },
        );
        let header = Header { format: FORMAT, seed: 1, started_at_ms: NOON_MS, world };
        Fixture { ledger: Ledger::new(header), stored: StoredFacts::default() }
    }

    /// Three clicks (one of them a bot's, one in the next quarter of an hour), a click on a disabled link, a lead by
    /// token, one by code, one by nobody, one by alias; qualifications before and after their lead, one
    /// without; an event sent twice.
    pub fn busy() -> Fixture {
        let mut it = Fixture::empty();
        let first = it.click(0, Class::Human, NOON_MS + 1_000, 1);
        it.click(1, Class::Bot, NOON_MS + 2_000, 2);
        it.click(0, Class::Human, NOON_MS + QUARTER_MS, 3);
        it.inactive_click(NOON_MS + 3_000);

        let token = Touch::Token { click: first, link: 0, channel: it.link(0).channel };
        let by_token = it.credit("token", 0, first);
        let ann = it.lead("ann", NOON_MS + 5_000, vec![token], by_token);
        let by_code = it.credit("code", 2, Id::NIL);
        let bob = it.lead("bob", NOON_MS + 6_000, vec![Touch::Code { link: 2 }], by_code);
        let nobody = it.nobody();
        it.lead("carl", NOON_MS + 7_000, vec![], nobody);
        let evidence = it.stored.names.of("alias");
        it.lead("ann", NOON_MS + 8_000, vec![], Credit { evidence, ..by_token });

        it.qualification("ann", NOON_MS + 9_000, 1_500, "EUR", Some((ann, by_token)));
        let early = it.qualification("bob", NOON_MS + 10_000, 700, "USD", None);
        it.complete(early, bob, by_code);
        it.qualification("dora", NOON_MS + 11_000, 100, "EUR", None);
        it.repeat(ann);
        it.roll_up();
        it
    }

    /// The same, and then: a part of Ann's purchase is refunded and a part of that given again, Bob's is refunded whole, a
    /// refund is of nothing; two names are one person's, a referrer joins and shares, a reward is to be approved.
    pub fn reversed() -> Fixture {
        let mut it = Fixture::busy();
        let key_of = |it: &Fixture, id: Id| it.event_of(id).key.clone();
        let (ann, bob) = (it.stored.qualifications[0].id, it.stored.qualifications[1].id);
        let eur = |minor| Some(Money { minor, currency: "EUR".into() });
        let named = Named { event: Some(key_of(&it, ann)), payment: None };
        let body = Body::Disqualification { named, value: eur(500) };
        let refund = it.reversal("ann", NOON_MS + 20_000, body, ann, ("applied", 1, 300, "EUR"));
        let named = Named { event: Some(key_of(&it, refund)), payment: None };
        let body = Body::Reinstatement { named, value: eur(200) };
        it.reversal("ann", NOON_MS + 21_000, body, refund, ("applied", 0, 200, "EUR"));
        let body = Body::Disqualification { named: Named::default(), value: None };
        it.reversal("bob", NOON_MS + 22_000, body.clone(), Id::NIL, ("applied", 1, 700, "USD"));
        it.reversal("emil", NOON_MS + 23_000, body, Id::NIL, ("waiting", 0, 0, ""));
        let rows = &mut it.stored.qualifications;
        let standing = *rows.iter().rev().find(|row| row.id == bob).unwrap();
        rows.push(QualificationRow { sign: -1, person: -1, ..standing });
        let standing = rows[0];
        rows.push(QualificationRow { sign: -1, person: -1, ..standing });
        rows.push(QualificationRow { value_minor: 1_200, ..standing });

        it.plain("fred", Body::Identify, "identifies");
        it.plain("partner", Body::Participant { referrer: 1 }, "participants");
        it.plain("nobody", Body::Share { link: 2 }, "shares");
        let lead = it.stored.leads[0].id;
        let body = Body::Approval { lead: key_of(&it, lead) };
        it.plain("nobody", body, "reward_events");
        let reward = reward_id(&it.ledger.header.world.programs[0].id, lead);
        let link = it.credit("code", 2, Id::NIL);
        let names = &mut it.stored.names;
        let [.., participant, share, decision] = &mut it.stored.plain[..] else { unreachable!() };
        participant.referrer = names.of(&it.ledger.header.world.programs[0].referrers[1]);
        (share.referrer, share.link, share.channel) = (link.referrer, link.link, link.channel);
        decision.reward = reward;
        (decision.decision, decision.outcome) = (names.of("approve"), names.of("unknown_reward"));
        it.roll_up();
        it
    }

    fn event_of(&self, id: Id) -> &EventEntry {
        let program = &self.ledger.header.world.programs[0].id;
        self.ledger
            .events
            .iter()
            .find(|event| event_id(program, event.body.kind(), &event.key) == id)
            .unwrap()
    }

    /// A refund or reinstatement; `came` is outcome, payments, what moved and its currency.
    fn reversal(
        &mut self,
        person: &str,
        occurred_at_ms: i64,
        body: Body,
        names: Id,
        came: (&str, i64, i64, &str),
    ) -> Id {
        let (table, asked) = match &body {
            Body::Disqualification { value, .. } => ("disqualifications", value.clone()),
            Body::Reinstatement { value, .. } => ("reinstatements", value.clone()),
            _ => unreachable!(),
        };
        let id = self.event(person, occurred_at_ms, body, Reply::Accepted);
        let text = &mut self.stored.names;
        self.stored.reversals.push(ReversalRow {
            table: text.of(table),
            id,
            program: text.of(&self.ledger.header.world.programs[0].id),
            occurred_at_ms,
            names,
            asked_minor: asked.as_ref().map_or(0, |asked| asked.minor),
            asked_currency: text.of(asked.as_ref().map_or("", |asked| &asked.currency)),
            came: ReversalState {
                outcome: text.of(came.0),
                qualifications: came.1,
                moved_minor: came.2,
                moved_currency: text.of(came.3),
                excess_minor: 0,
            },
            live: true,
            sign: 1,
        });
        id
    }

    fn plain(&mut self, person: &str, body: Body, table: &str) {
        let occurred_at_ms = NOON_MS + 30_000;
        let id = self.event(person, occurred_at_ms, body, Reply::Accepted);
        let text = &mut self.stored.names;
        let empty = text.of("");
        self.stored.plain.push(PlainRow {
            table: text.of(table),
            id,
            program: text.of(&self.ledger.header.world.programs[0].id),
            occurred_at_ms,
            referrer: empty,
            link: empty,
            channel: empty,
            reward: Id::NIL,
            decision: empty,
            outcome: empty,
            live: true,
        });
    }

    fn link(&self, at: usize) -> &whence_loadtest::world::Link {
        &self.ledger.header.world.links[at]
    }

    /// A click that is answered and stored.
    pub fn click(&mut self, link: u32, class: Class, at_ms: i64, n: u128) -> Id {
        let id = click_id(at_ms, n);
        self.known_click(link, class, at_ms, 302, ClickOutcome::Redirected(id));
        self.stored_click(link, class, id);
        id
    }

    pub fn known_click(&mut self, link: u32, class: Class, at_ms: i64, status: u16, outcome: ClickOutcome) {
        let channel = self.link(link as usize).channel;
        let sent_at_ms = at_ms - 1;
        self.ledger.clicks.push(ClickEntry { link, channel, class, sent_at_ms, took_ms: 2, status, outcome });
    }

    pub fn stored_click(&mut self, link: u32, class: Class, id: Id) {
        let credit = self.credit("token", link, id);
        let program = self.stored.names.of(&self.ledger.header.world.programs[0].id);
        let verdict = self.stored.names.of(class.word());
        self.stored.clicks.push(ClickRow {
            id,
            at_ms: id.at_ms(),
            program,
            referrer: credit.referrer,
            link: credit.link,
            channel: credit.channel,
            verdict,
            live: true,
            sign: 1,
        });
    }

    fn inactive_click(&mut self, at_ms: i64) {
        let disabled = 6;
        self.known_click(disabled, Class::Inactive, at_ms, 404, ClickOutcome::Answered);
        self.stored_click(disabled, Class::Inactive, click_id(at_ms, 99));
    }

    pub fn credit(&mut self, evidence: &str, link: u32, click: Id) -> Credit {
        let link = self.link(link as usize).clone();
        let program = &self.ledger.header.world.programs[0];
        let names = &mut self.stored.names;
        Credit {
            evidence: names.of(evidence),
            referrer: names.of(&program.referrers[link.referrer as usize]),
            link: names.of(&link.name()),
            channel: names.of(&program.channels[usize::from(link.channel)]),
            click,
        }
    }

    pub fn nobody(&mut self) -> Credit {
        let evidence = self.stored.names.of("none");
        let empty = self.stored.names.of("");
        Credit { evidence, referrer: empty, link: empty, channel: empty, click: Id::NIL }
    }

    /// An event in the ledger that was sent once with this reply.
    pub fn event(&mut self, person: &str, at_ms: i64, body: Body, reply: fn(Id) -> Reply) -> Id {
        let number = self.ledger.events.len() as u64;
        let key = format!("key-{number}");
        let id = event_id(&self.ledger.header.world.programs[0].id, body.kind(), &key);
        let subject = Subject { lead: Some(person.into()), email: Some(format!("{person}@mail.example")) };
        let event =
            EventEntry { number, program: 0, key, occurred_at_ms: at_ms, subject, body, refusal: None };
        self.ledger.events.push(event);
        self.ledger.sends.push(SendEntry { number, status: 202, reply: reply(id) });
        id
    }

    /// The first lead of a person stands for it.
    fn lead(&mut self, person: &str, at_ms: i64, touches: Vec<Touch>, credit: Credit) -> Id {
        let is_known = |event: &EventEntry| event.subject.lead.as_deref() == Some(person);
        let is_first = !self.ledger.events.iter().any(is_known);
        let id = self.event(person, at_ms, Body::Lead(touches), Reply::Accepted);
        self.stored_lead(id, at_ms, credit, is_first);
        id
    }

    pub fn stored_lead(&mut self, id: Id, occurred_at_ms: i64, credit: Credit, is_person: bool) {
        let program = self.stored.names.of(&self.ledger.header.world.programs[0].id);
        let person = is_person.into();
        self.stored.leads.push(LeadRow { id, program, occurred_at_ms, credit, live: true, person, sign: 1 });
    }

    fn qualification(
        &mut self,
        person: &str,
        at_ms: i64,
        minor: i64,
        currency: &str,
        lead: Option<(Id, Credit)>,
    ) -> Id {
        let value = Some(Money { minor, currency: currency.into() });
        let body = Body::Qualification { name: "purchase".into(), value, payment: None };
        let id = self.event(person, at_ms, body, Reply::Accepted);
        let person = lead.is_some().into();
        let (lead, credit) = lead.unwrap_or((Id::NIL, self.nobody()));
        let names = &mut self.stored.names;
        self.stored.qualifications.push(QualificationRow {
            id,
            program: names.of(&self.ledger.header.world.programs[0].id),
            occurred_at_ms: at_ms,
            name: names.of("purchase"),
            lead,
            credit,
            value_minor: minor,
            paid_minor: minor,
            currency: names.of(currency),
            live: true,
            person,
            sign: 1,
        });
        id
    }

    /// The lead came: the row without it is taken back.
    fn complete(&mut self, id: Id, lead: Id, credit: Credit) {
        let row = *self.stored.qualifications.iter().find(|row| row.id == id).unwrap();
        self.stored.qualifications.push(QualificationRow { sign: -1, ..row });
        self.stored.qualifications.push(QualificationRow { lead, credit, person: 1, ..row });
    }

    /// The event is sent again, accepted again, and rejected as a duplicate.
    fn repeat(&mut self, id: Id) {
        let send = *self.ledger.sends.iter().find(|send| send.reply == Reply::Accepted(id)).unwrap();
        self.ledger.sends.push(send);
        let stream = self.stored.names.of("conversions");
        let reason = self.stored.names.of("duplicate");
        self.stored.rejects.push(RejectRow { stream, id, reason });
    }

    /// Rollups and views of the rows there are.
    pub fn roll_up(&mut self) {
        rollup::roll_up(&mut self.stored);
    }
}
