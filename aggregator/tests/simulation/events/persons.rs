//! Persons, those who refer them and those who are forgotten.

use super::*;

impl Make {
    /// A person of up to four aliases, each known to be the same as the next; leads, qualifications and
    /// refunds, in any order, some of them by aliases that are linked later.
    pub(super) fn person(&mut self, number: usize) {
        let program = *pick(&mut self.rng, &PROGRAMS);
        let mode = self.mode();
        let aliases = self.rng.random_range(1..5);
        let key = |alias: usize| Bytes::copy_from_slice(&[(number * 4 + alias + 1) as u8; 16]);
        let subject =
            |keys: Vec<Bytes>| Some(Subject { lead: format!("person {number}"), keys, ..Subject::default() });
        let lead_comes = self.rng.random_ratio(4, 5);
        let received_at = self.time();
        let (touches, referrer) = self.touches(program, received_at);

        for alias in 1..aliases {
            let body = Body::Identify(Identify {
                subject: subject(vec![key(alias - 1), key(alias)]),
                ..Identify::default()
            });
            let at = self.time();
            let (id, times) = self.tell(program, mode, &format!("i {number} {alias}"), at, body);
            self.expected.others.insert(id, times);
        }
        let takes_all = self.rng.random_bool(0.1);
        for at in 0..self.rng.random_range(0..4) {
            let alias = self.rng.random_range(0..aliases);
            let paid = 100 + at;
            let body = Qualification {
                subject: subject(vec![key(alias)]),
                name: "purchase".into(),
                value_minor: paid,
                currency: "EUR".into(),
                rewards: Some(rewards::terms()),
                history: None,
                ..Qualification::default()
            };
            let when = self.time();
            let name = format!("q {number} {at}");
            let (id, times) = self.tell(program, mode, &name, when, Body::Qualification(body));
            let left = self.refunds(program, mode, &name, id, subject(vec![key(alias)]).as_ref(), paid);
            let left = left.filter(|_| !takes_all);
            let referrer = lead_comes.then(|| referrer.clone());
            self.expected.qualifications.insert(id, (Paid { referrer, paid, left }, times));
        }
        if takes_all {
            let alias = self.rng.random_range(0..aliases);
            let body = Disqualification { subject: subject(vec![key(alias)]), ..Disqualification::default() };
            let late = UnixMs(START.0 + 3 * MONTH_MS);
            let (id, times) =
                self.tell(program, mode, &format!("all {number}"), late, Body::Disqualification(body));
            self.expected.others.insert(id, times);
        }
        if lead_comes {
            let alias = self.rng.random_range(0..aliases);
            let body = Body::Lead(Lead { subject: subject(vec![key(alias)]), touches, ..Lead::default() });
            let (id, times) = self.tell(program, mode, &format!("l {number}"), received_at, body);
            self.expected.leads.insert(id, (referrer.clone(), times));
            for at in 0..self.rng.random_range(0..6) {
                let body = Body::RewardDecision(rewards::decision(&mut self.rng, program, id));
                let when = self.time();
                let (id, times) = self.tell(program, mode, &format!("d {number} {at}"), when, body);
                self.expected.others.insert(id, times);
            }
            for again in 0..self.rng.random_range(0..3) {
                // Known by an alias: credited to the same referrer. By a code of later: an existing customer.
                let by_code = self.rng.random_bool(0.3);
                let touches = if by_code { vec![self.code(program)] } else { vec![] };
                let alias = self.rng.random_range(0..aliases);
                let body =
                    Body::Lead(Lead { subject: subject(vec![key(alias)]), touches, ..Lead::default() });
                let later = received_at.plus_ms(1 + again);
                let (id, times) = self.tell(program, mode, &format!("again {number} {again}"), later, body);
                let referrer = if by_code { String::new() } else { referrer.clone() };
                self.expected.leads.insert(id, (referrer, times));
            }
        }
    }

    /// What a qualification has left after its refunds.
    fn refunds(
        &mut self,
        program: &str,
        mode: Mode,
        name: &str,
        id: EventId,
        subject: Option<&Subject>,
        paid: i64,
    ) -> Option<i64> {
        let mut left = Some(paid);
        for at in 0..self.rng.random_range(0..3) {
            let part = *pick(&mut self.rng, &[0, 30, 60, 500]);
            let body = Disqualification {
                subject: subject.cloned(),
                qualification_id: Bytes::copy_from_slice(id.0.as_bytes()),
                reason: "refund".into(),
                value_minor: part,
                currency: if part == 0 { String::new() } else { "EUR".into() },
                ..Disqualification::default()
            };
            let when = self.time();
            let (id, times) =
                self.tell(program, mode, &format!("d {at} of {name}"), when, Body::Disqualification(body));
            self.expected.others.insert(id, times);
            if self.rng.random_bool(0.2) {
                // The dispute is won, whether that is told before or after it.
                let undone = Bytes::copy_from_slice(id.0.as_bytes());
                let again = Reinstatement { disqualification_id: undone, ..Reinstatement::default() };
                let when = self.time();
                let body = Body::Reinstatement(again);
                let (id, times) = self.tell(program, mode, &format!("w {at} of {name}"), when, body);
                self.expected.others.insert(id, times);
                continue;
            }
            left = left.filter(|left| part > 0 && part < *left).map(|left| left - part);
        }
        left
    }

    /// A referrer joins and shares.
    pub(super) fn referrer(&mut self, number: usize) {
        let (program, mode, at) = (*pick(&mut self.rng, &PROGRAMS), self.mode(), self.time());
        let referrer = format!("r{number}");
        let keys = vec![Bytes::copy_from_slice(&[200 + number as u8; 16])];
        let (link, prefix) = (link_of(program, &referrer), self.rng.random_range(0..3));
        let joined = Participant { referrer: referrer.clone(), keys, prefix };
        let (id, times) = self.tell(program, mode, &format!("p {number}"), at, Body::Participant(joined));
        self.expected.others.insert(id, times);
        let share = Share { link, referrer, channel: "email".into(), prefix };
        let (id, times) = self.tell(program, mode, &format!("s {number}"), at, Body::Share(share));
        self.expected.others.insert(id, times);
    }

    /// A person who is forgotten: what came before counts on, what comes after does not count, but money can
    /// still be taken back.
    pub(super) fn forgotten(&mut self, number: usize) {
        let (program, mode, at) = (*pick(&mut self.rng, &PROGRAMS), self.mode(), self.time());
        let key = |which: u8| Bytes::copy_from_slice(&[220 + number as u8 * 4 + which; 16]);
        let subject = |keys: Vec<Bytes>| {
            Some(Subject { lead: format!("forgotten {number}"), keys, ..Subject::default() })
        };
        let touches = vec![self.code(program)];
        let lead = Body::Lead(Lead { subject: subject(vec![key(0), key(1)]), touches, ..Lead::default() });
        let (lead, lead_record) = self.event(program, &format!("fl {number}"), mode, at, lead);
        let paid = Qualification {
            subject: subject(vec![key(1)]),
            name: "purchase".into(),
            value_minor: 70,
            currency: "EUR".into(),
            rewards: Some(rewards::terms()),
            history: None,
            ..Qualification::default()
        };
        let again = Body::Qualification(paid.clone());
        let (paid, paid_record) =
            self.event(program, &format!("fq {number}"), mode, at, Body::Qualification(paid));
        let erasure = Body::Erasure(Erasure { subject: subject(vec![key(0)]), requested_by: "it".into() });
        let (erasure, erasure_record) = self.event(program, &format!("fe {number}"), Mode::Live, at, erasure);
        // Found by its payment alone, of which is told after the erasure, by nobody's name.
        let waiting = Disqualification {
            subject: subject(vec![key(1)]),
            payments: vec![key(2)],
            value_minor: 30,
            currency: "EUR".into(),
            ..Disqualification::default()
        };
        let (waiting, waiting_record) =
            self.event(program, &format!("fw {number}"), mode, at, Body::Disqualification(waiting));
        let (_, retry) = self.event(program, &format!("fr {number}"), mode, at, again);
        let back = Disqualification {
            subject: subject(vec![key(1)]),
            qualification_id: Bytes::copy_from_slice(paid.0.as_bytes()),
            value_minor: 30,
            currency: "EUR".into(),
            ..Disqualification::default()
        };
        let (back, back_record) =
            self.event(program, &format!("fd {number}"), mode, at, Body::Disqualification(back));
        let told = Qualification {
            subject: subject(Vec::new()),
            name: "purchase".into(),
            payments: vec![key(2)],
            value_minor: 70,
            currency: "EUR".into(),
            rewards: Some(rewards::terms()),
            history: None,
        };
        let (told, told_record) =
            self.event(program, &format!("fp {number}"), mode, at, Body::Qualification(told));
        // Names the person alone, whom nothing finds any more.
        let of_nobody = Disqualification { subject: subject(vec![key(1)]), ..Disqualification::default() };
        let (_, of_nobody) =
            self.event(program, &format!("fn {number}"), mode, at, Body::Disqualification(of_nobody));
        let again = Erasure { subject: subject(vec![key(1)]), requested_by: "it again".into() };
        let (erased_again, again) =
            self.event(program, &format!("fa {number}"), Mode::Live, at, Body::Erasure(again));
        let records = [
            lead_record.clone(),
            paid_record,
            waiting_record,
            erasure_record,
            retry.clone(),
            again,
            back_record,
            told_record,
            of_nobody,
            // Refused as before, in the same block or a later one.
            retry,
            lead_record,
        ];
        let partition = program_partition(program);
        self.threads.push(records.into_iter().map(|record| (partition, record)).collect());
        self.expected.leads.insert(lead, ("by-code".into(), 2));
        let becomes = Paid { referrer: Some("by-code".into()), paid: 70, left: Some(40) };
        self.expected.qualifications.insert(paid, (becomes, 1));
        let becomes = Paid { referrer: None, paid: 70, left: Some(40) };
        self.expected.qualifications.insert(told, (becomes, 1));
        self.expected.others.extend([(erasure, 1), (erased_again, 1), (back, 1), (waiting, 1)]);
        self.expected.erased.extend([lead, paid, back, waiting]);
        self.expected.refused += 3;
    }
}
