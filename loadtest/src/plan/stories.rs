//! What follows a click: a lead, a while later; qualifications after it, or before it, or without it; refunds and what
//! undoes them; names that turn out to be one person's; what referrers do; events sent twice; and nonsense that must be
//! refused.

mod money;
mod step;

pub use step::{Draft, DraftBody, DraftTouch, Flaw, Step};

use super::{Random, random, visitors::Held};
use crate::{
    ledger::{Body, Money, Subject},
    world::{LinkState, REWARDED, World},
};
use rand::{RngExt as _, seq::IndexedRandom as _, seq::SliceRandom as _};
use std::sync::Arc;

/// Shares, in percent, and delays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoryMix {
    /// People's clicks that a story follows.
    pub leads: f64,
    /// Leads that are followed by a qualification.
    pub qualifications: f64,
    /// Qualifications that are taken back, whole or in part.
    pub refunds: f64,
    /// Refunds of which something is given again.
    pub reinstatements: f64,
    /// Events that are sent two or three times.
    pub repeated: f64,
    /// Stories that are nonsense, to be refused.
    pub nonsense: f64,
    /// Milliseconds from one event to what follows it, from…
    pub delay_ms_min: u32,
    /// … to, at least 1 more.
    pub delay_ms_max: u32,
}

impl Default for StoryMix {
    fn default() -> StoryMix {
        StoryMix {
            leads: 3.0,
            qualifications: 50.0,
            refunds: 30.0,
            reinstatements: 50.0,
            repeated: 10.0,
            nonsense: 5.0,
            delay_ms_min: 200,
            delay_ms_max: 3_000,
        }
    }
}

/// How a lead names its referrer, with the share of leads in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plot {
    ByTokens,
    ByTokenAndCode,
    ByCode,
    ByNothing,
    /// Twice the same person, the second time without a touch.
    Again,
    /// The qualification is sent first.
    Early,
    /// The lead of a qualification never comes.
    Orphan,
    /// Twice the same person, the first time without a touch.
    Late,
    /// The lead has one name and the qualification another; a third event says that both are one person's.
    Joined,
    /// The same with two leads.
    JoinedLeads,
    /// The reward for the lead is approved.
    Approved,
    /// A refund of what nobody tells of, or the undoing of such a refund.
    Vain,
    /// No lead: a referrer joins.
    Joins,
    /// No lead: a referrer shares a link.
    Shares,
}

const PLOTS: [(u32, Plot); 14] = [
    (44, Plot::ByTokens),
    (6, Plot::ByTokenAndCode),
    (10, Plot::ByCode),
    (6, Plot::ByNothing),
    (5, Plot::Again),
    (7, Plot::Early),
    (3, Plot::Orphan),
    (4, Plot::Late),
    (4, Plot::Joined),
    (3, Plot::JoinedLeads),
    (3, Plot::Approved),
    (1, Plot::Vain),
    (2, Plot::Joins),
    (2, Plot::Shares),
];

const HOUR_MS: i64 = 60 * 60 * 1000;
/// How far back events without a token may say they happened: rollups get more than the present hour.
const BACKDATED_HOURS_MAX: i64 = 47;
const CURRENCIES: [&str; 3] = ["EUR", "EUR", "USD"];
/// What is reached. Only the first earns a reward.
const REACHED: [&str; 3] = [REWARDED, REWARDED, TRIAL];
const TRIAL: &str = "trial";

/// Tells stories, each of somebody else.
#[derive(Debug)]
pub struct StoryTeller {
    world: Arc<World>,
    mix: StoryMix,
    part: u64,
    people: u64,
    events: u64,
    random: Random,
}

impl StoryTeller {
    /// Stories of this world. `part` keeps the people of several workers apart.
    #[must_use]
    pub fn new(world: Arc<World>, mix: StoryMix, seed: u64, part: u64) -> StoryTeller {
        StoryTeller { world, mix, part, people: 0, events: 0, random: random(!seed, part) }
    }

    /// What follows a person's click on a link of `program`, answered at `now_ms`; mostly nothing.
    /// `tokens` are what the person holds, of whatever program.
    pub fn tell(&mut self, program: u16, now_ms: i64, tokens: &[Held]) -> Option<Step> {
        if !self.happens(self.mix.leads) {
            return None;
        }
        let delay_ms = self.delay();
        let at_ms = now_ms + i64::from(delay_ms);
        let own = self.own_tokens(program, at_ms, tokens);
        let person = self.person();
        if self.happens(self.mix.nonsense) {
            return Some(self.nonsense(program, &person, at_ms, delay_ms));
        }
        let plot = self.plot();
        if let Some(other) = self.without_lead(plot, program, &person, at_ms, delay_ms) {
            return Some(other);
        }
        let touches = match plot {
            Plot::ByCode => self.code(program).into_iter().collect(),
            Plot::ByTokenAndCode => own.into_iter().chain(self.code(program)).collect(),
            Plot::ByNothing => own.into_iter().map(damaged).collect(),
            Plot::Late => Vec::new(),
            _ => own,
        };
        let is_timed = touches.iter().any(|touch| matches!(touch, DraftTouch::Token(_)));
        let occurred_at_ms = if is_timed { at_ms } else { self.backdated(at_ms) };
        let both = self.both_names(&person);
        let (first, second) = match plot {
            Plot::Joined | Plot::JoinedLeads => {
                (Subject { email: None, ..both.clone() }, Subject { lead: None, ..both.clone() })
            }
            _ => (person.clone(), person.clone()),
        };
        let lead = self.event(program, &first, occurred_at_ms, DraftBody::Lead(touches));
        let lead_key = lead.key.clone();
        let mut lead = self.sent(delay_ms, lead);
        Some(match plot {
            Plot::Early => {
                let mut paid = self.paid(program, &person, at_ms);
                paid.then.push(lead);
                paid
            }
            Plot::Again => {
                let again = self.later_lead(program, &person, at_ms, &[]);
                lead.then.push(again);
                lead
            }
            Plot::Late => {
                let mut again = self.later_lead(program, &person, at_ms, tokens);
                if self.happens(self.mix.qualifications) {
                    let paid = self.qualification(program, &person, again.event.occurred_at_ms, false);
                    again.then.push(paid);
                }
                lead.then.push(again);
                lead
            }
            Plot::Joined => {
                let paid = self.paid(program, &second, at_ms);
                let joined = self.identify(program, &both, at_ms);
                self.in_any_order(vec![lead, paid, joined])
            }
            Plot::JoinedLeads => {
                let mut again = self.later_lead(program, &second, at_ms, &[]);
                let paid = self.paid(program, &second, at_ms);
                let joined = self.identify(program, &both, at_ms);
                // The second lead comes after the first.
                match self.random.random_range(0..3) {
                    0 => chain(vec![joined, lead, again, paid]),
                    1 => chain(vec![lead, joined, again, paid]),
                    _ => {
                        again.then.push(chain(vec![paid, joined]));
                        chain(vec![lead, again])
                    }
                }
            }
            Plot::Approved => {
                let mut paid = self.qualification(program, &person, at_ms, true);
                if let DraftBody::Other(Body::Qualification { name, .. }) = &mut paid.event.body {
                    REWARDED.clone_into(name);
                }
                let delay_ms = self.delay();
                let body = DraftBody::Other(Body::Approval { lead: lead_key });
                let approval = self.event(program, &Subject::default(), at_ms, body);
                let approval = self.sent(delay_ms, approval);
                chain(vec![lead, paid, approval])
            }
            _ => {
                let is_followed = self.happens(self.mix.qualifications);
                let has_another = self.happens(self.mix.qualifications / 4.0);
                let follows = match (is_followed, has_another) {
                    (true, true) => self.paid_twice(program, &person, at_ms),
                    (false, false) => Vec::new(),
                    _ => vec![self.paid(program, &person, at_ms)],
                };
                lead.then.extend(follows);
                lead
            }
        })
    }

    /// The plots that have no lead.
    fn without_lead(
        &mut self,
        plot: Plot,
        program: u16,
        person: &Subject,
        at_ms: i64,
        delay_ms: u32,
    ) -> Option<Step> {
        let world = Arc::clone(&self.world);
        let (subject, body) = match plot {
            Plot::Orphan => {
                let paid = self.paid(program, person, at_ms);
                return Some(Step { after_ms: delay_ms, ..paid });
            }
            Plot::Vain => return Some(self.in_vain(program, person, at_ms, delay_ms)),
            Plot::Joins => {
                let referrers = &world.programs[usize::from(program)].referrers;
                let referrer = self.random.random_range(0..referrers.len());
                let email = Some(format!("{}-{}-partner@mail.example", world.tag, referrers[referrer]));
                let referrer = u32::try_from(referrer).expect("referrers are counted in 32 bits");
                (Subject { lead: None, email }, Body::Participant { referrer })
            }
            Plot::Shares => {
                let links = self.links(program, LinkState::Active);
                (Subject::default(), Body::Share { link: *links.choose(&mut self.random)? })
            }
            _ => return None,
        };
        let occurred_at_ms = self.backdated(at_ms);
        let event = self.event(program, &subject, occurred_at_ms, DraftBody::Other(body));
        Some(self.sent(delay_ms, event))
    }

    /// Another lead of a person, a while after `at_ms`, with what it holds by then of `tokens`.
    fn later_lead(&mut self, program: u16, person: &Subject, at_ms: i64, tokens: &[Held]) -> Step {
        let delay_ms = self.delay();
        let at_ms = at_ms + i64::from(delay_ms);
        let touches = self.own_tokens(program, at_ms, tokens);
        let lead = self.event(program, person, at_ms, DraftBody::Lead(touches));
        self.sent(delay_ms, lead)
    }

    fn identify(&mut self, program: u16, person: &Subject, at_ms: i64) -> Step {
        let delay_ms = self.delay();
        let event = self.event(program, person, at_ms, DraftBody::Other(Body::Identify));
        self.sent(delay_ms, event)
    }

    /// The person with a lead id and an email address.
    fn both_names(&self, person: &Subject) -> Subject {
        let name = format!("{}-{}-{}", self.world.tag, self.part, self.people);
        Subject {
            lead: person.lead.clone().or_else(|| Some(format!("lead-{name}"))),
            email: person.email.clone().or_else(|| Some(format!("{name}@mail.example"))),
        }
    }

    /// One after the other, in an order by chance.
    fn in_any_order(&mut self, mut steps: Vec<Step>) -> Step {
        steps.shuffle(&mut self.random);
        chain(steps)
    }

    fn happens(&mut self, percent: f64) -> bool {
        self.random.random::<f64>() * 100.0 < percent
    }

    fn delay(&mut self) -> u32 {
        self.random.random_range(self.mix.delay_ms_min..=self.mix.delay_ms_max)
    }

    fn plot(&mut self) -> Plot {
        let mut roll = self.random.random_range(0..PLOTS.iter().map(|(share, _)| share).sum());
        for (share, plot) in PLOTS {
            match roll.checked_sub(share) {
                Some(left) => roll = left,
                None => return plot,
            }
        }
        unreachable!("the roll is below the sum of the shares")
    }

    /// The tokens that count for a lead at `at_ms`, in any order: the API must find out which is newest.
    fn own_tokens(&mut self, program: u16, at_ms: i64, tokens: &[Held]) -> Vec<DraftTouch> {
        let window_ms = self.world.programs[usize::from(program)].window_ms;
        let own = |token: &&Held| {
            self.world.links[token.link as usize].program == program
                && at_ms - token.click.at_ms() <= window_ms
        };
        let mut own: Vec<_> = tokens.iter().filter(own).cloned().map(DraftTouch::Token).collect();
        own.shuffle(&mut self.random);
        own
    }

    fn code(&mut self, program: u16) -> Option<DraftTouch> {
        let links: Vec<u32> = self.links(program, LinkState::Active);
        links.choose(&mut self.random).map(|link| DraftTouch::Code(*link))
    }

    fn links(&self, program: u16, state: LinkState) -> Vec<u32> {
        let links = &self.world.links;
        self.world.links_in(state).filter(|link| links[*link as usize].program == program).collect()
    }

    fn person(&mut self) -> Subject {
        self.people += 1;
        let name = format!("{}-{}-{}", self.world.tag, self.part, self.people);
        let (lead, email) = (Some(format!("lead-{name}")), Some(format!("{name}@mail.example")));
        match self.random.random_range(0..10) {
            0 => Subject { lead, email: None },
            1 => Subject { lead: None, email },
            _ => Subject { lead, email },
        }
    }

    fn backdated(&mut self, at_ms: i64) -> i64 {
        at_ms - self.random.random_range(0..=BACKDATED_HOURS_MAX) * HOUR_MS
    }

    fn event(&mut self, program: u16, person: &Subject, occurred_at_ms: i64, body: DraftBody) -> Draft {
        self.events += 1;
        let key = format!("{}-{}-event-{}", self.world.tag, self.part, self.events);
        let shouts = self.happens(20.0);
        Draft { program, key, occurred_at_ms, subject: person.clone(), body, flaw: None, shouts }
    }

    fn sent(&mut self, after_ms: u32, event: Draft) -> Step {
        let sends = if self.happens(self.mix.repeated) { self.random.random_range(2..=3) } else { 1 };
        Step { after_ms, event, sends, is_at_once: self.random.random(), then: Vec::new() }
    }

    fn qualification(&mut self, program: u16, person: &Subject, at_ms: i64, is_backdated: bool) -> Step {
        let delay_ms = self.delay();
        let value = self.happens(90.0).then(|| Money {
            minor: self.random.random_range(100..50_000),
            currency: CURRENCIES[self.random.random_range(0..CURRENCIES.len())].to_owned(),
        });
        let name = REACHED[self.random.random_range(0..REACHED.len())].to_owned();
        let payment = self.happens(50.0).then(|| self.payment_name());
        let body = DraftBody::Other(Body::Qualification { name, value, payment });
        let at_ms = at_ms + i64::from(delay_ms);
        let occurred_at_ms = if is_backdated { self.backdated(at_ms) } else { at_ms };
        let subject = self.some_names(person);
        let event = self.event(program, &subject, occurred_at_ms, body);
        self.sent(delay_ms, event)
    }

    /// The person by the lead id, by the email address, or by both.
    fn some_names(&mut self, person: &Subject) -> Subject {
        match (self.random.random_range(0..3), person) {
            (0, Subject { lead: Some(_), email: Some(_) }) => Subject { lead: None, ..person.clone() },
            (1, Subject { lead: Some(_), email: Some(_) }) => Subject { email: None, ..person.clone() },
            _ => person.clone(),
        }
    }

    fn nonsense(&mut self, program: u16, person: &Subject, at_ms: i64, after_ms: u32) -> Step {
        let flaw = Flaw::ALL[self.random.random_range(0..Flaw::ALL.len())];
        let other = (program + 1) % u16::try_from(self.world.programs.len()).expect("programs are few");
        let touches = match flaw {
            Flaw::ForeignCode if other != program => self.code(other).into_iter().collect(),
            Flaw::InactiveCode => {
                let disabled = self.links(program, LinkState::Disabled);
                disabled.choose(&mut self.random).map(|link| DraftTouch::Code(*link)).into_iter().collect()
            }
            _ => Vec::new(),
        };
        // What needs a touch that is not there is nonsense of another kind.
        let needs_touch = matches!(flaw, Flaw::ForeignCode | Flaw::InactiveCode);
        let flaw = if needs_touch && touches.is_empty() { Flaw::UnknownField } else { flaw };
        let mut event = self.event(program, person, at_ms, DraftBody::Lead(touches));
        event.flaw = Some(flaw);
        Step { after_ms, event, sends: 1, is_at_once: false, then: Vec::new() }
    }
}

fn damaged(touch: DraftTouch) -> DraftTouch {
    match touch {
        DraftTouch::Token(held) => DraftTouch::Damaged(held),
        other => other,
    }
}

/// One after the other.
fn chain(steps: Vec<Step>) -> Step {
    let mut steps = steps.into_iter().rev();
    let last = steps.next().expect("a story has a step");
    steps.fold(last, |later, mut step| {
        step.then.push(later);
        step
    })
}

#[cfg(test)]
mod tests;
