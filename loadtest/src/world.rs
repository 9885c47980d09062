//! The demo world that the generator sets up and then knows everything about: programs, their referrers,
//! channels and links.
//!
//! It is made from a seed alone, so that two runs of one seed differ only in the run's tag. It knows
//! nothing of HTTP or ClickHouse.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde::{Deserialize, Serialize};

/// Channels that every program allows, in this order.
pub const CHANNELS: [&str; 8] =
    ["whatsapp", "email", "instagram", "sms", "qr", "linkedin", "podcast", "newsletter"];

/// How many of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldSize {
    /// Programs, at least 1.
    pub programs: u16,
    /// Referrers in each program, at least 1.
    pub referrers: u32,
    /// Links altogether, at least as many as programs.
    pub links: u32,
    /// Channels of [`CHANNELS`] in use, at least 2.
    pub channels: u16,
}

/// Which touch of a lead gets the credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// The newest valid touch.
    LastTouch,
    /// The oldest valid touch.
    FirstTouch,
}

/// A program as the generator needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its id, with the run's tag in it: runs never share a program.
    pub id: String,
    /// How credit is given.
    pub model: Model,
    /// Milliseconds from a click to the lead within which the click counts.
    pub window_ms: i64,
    /// Channels it allows.
    pub channels: Vec<String>,
    /// Ids of its referrers.
    pub referrers: Vec<String>,
    /// What a referrer gets, in minor units of [`REWARD_CURRENCY`], for the first qualification of each lead that the
    /// referrer is credited with; 0: nothing.
    #[serde(default)]
    pub reward_minor: i64,
}

/// What a code leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It redirects.
    Active,
    /// The link is known and switched off.
    Disabled,
    /// Nobody ever made it.
    Missing,
}

/// A link, or a code that looks like one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its host, with the port where there is one.
    pub host: String,
    /// Its code.
    pub code: String,
    /// Index of its program.
    pub program: u16,
    /// Index of its referrer among the program's.
    pub referrer: u32,
    /// Index of its channel among the program's.
    pub channel: u16,
    /// Where it leads.
    pub destination: String,
    /// Whether it leads there.
    pub state: LinkState,
    /// `?c=` may name another channel.
    pub channel_override: bool,
    /// Query parameters are passed on.
    pub passthrough: bool,
    /// Its clicks are test events, which rollups do not count.
    pub test: bool,
}

impl Link {
    /// The link's name in the tables: `host/code`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.code)
    }
}

/// All that was set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// Distinguishes this run's programs and codes from other runs'.
    pub tag: String,
    /// The programs.
    pub programs: Vec<Program>,
    /// The links; disabled and missing ones come last.
    pub links: Vec<Link>,
}

/// The host that destinations point at.
pub const DESTINATION_HOST: &str = "shop.example";

/// What rewards are paid in.
pub const REWARD_CURRENCY: &str = "EUR";
/// What earns them.
pub const REWARDED: &str = "purchase";
/// The rule that earns them.
pub const REWARD_RULE: &str = "qualified";

const WINDOW_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// The second program's window: short enough for tokens to expire while the load runs.
const SHORT_WINDOW_MS: i64 = 2_000;
/// Codes that are switched off, and as many that nobody made.
const INACTIVE: u32 = 4;

impl World {
    /// The world of this seed and size, its links on `host`.
    ///
    /// Programs differ: every second one credits the first touch within a window of two seconds, the
    /// others the last touch within 30 days.
    #[must_use]
    pub fn generate(seed: u64, tag: &str, host: &str, size: WorldSize) -> World {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x0077_6f72_6c64);
        let programs: Vec<Program> = (0..size.programs.max(1)).map(|n| program(n, tag, size)).collect();
        let active = size.links.max(u32::from(size.programs));
        let links = (0..active + 2 * INACTIVE)
            .map(|n| {
                let state = match n.checked_sub(active) {
                    None => LinkState::Active,
                    Some(over) if over < INACTIVE => LinkState::Disabled,
                    Some(_) => LinkState::Missing,
                };
                link(n, tag, host, &programs, state, &mut random)
            })
            .collect();
        World { tag: tag.to_owned(), programs, links }
    }

    /// The program of a link.
    #[must_use]
    pub fn program_of(&self, link: &Link) -> &Program {
        &self.programs[usize::from(link.program)]
    }

    /// Indices of the links in this state.
    pub fn links_in(&self, state: LinkState) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.links).filter(move |(_, link)| link.state == state).map(|(at, _)| at)
    }
}

fn program(number: u16, tag: &str, size: WorldSize) -> Program {
    let is_short = number % 2 == 1;
    Program {
        id: format!("load-{tag}-{number}"),
        model: if is_short { Model::FirstTouch } else { Model::LastTouch },
        window_ms: if is_short { SHORT_WINDOW_MS } else { WINDOW_MS },
        channels: CHANNELS[..usize::from(size.channels).clamp(2, CHANNELS.len())]
            .iter()
            .map(ToString::to_string)
            .collect(),
        referrers: (0..size.referrers.max(1)).map(|n| format!("ref-{n:05}")).collect(),
        reward_minor: 500 + i64::from(number),
    }
}

fn link(
    number: u32,
    tag: &str,
    host: &str,
    programs: &[Program],
    state: LinkState,
    random: &mut Xoshiro256PlusPlus,
) -> Link {
    let at = usize::try_from(number).expect("a link's number fits the address space");
    let program_at = at % programs.len();
    let program = &programs[program_at];
    let round = at / programs.len();
    // Fragments and queries in destinations are where a parameter is added wrongly.
    let destination = match number % 4 {
        0 => format!("https://{DESTINATION_HOST}/p/{number}"),
        1 => format!("https://{DESTINATION_HOST}/p/{number}?utm_source=referral"),
        2 => format!("https://{DESTINATION_HOST}/p/{number}#offer"),
        _ => format!("https://{DESTINATION_HOST}/p/{number}?a=1&b=2#top"),
    };
    Link {
        host: host.to_owned(),
        code: format!("{tag}-{number}"),
        program: u16::try_from(program_at).expect("programs are counted in 16 bits"),
        referrer: u32::try_from(round % program.referrers.len()).expect("referrers are counted in 32 bits"),
        channel: u16::try_from((round / program.referrers.len() + round) % program.channels.len())
            .expect("channels are few"),
        destination,
        state,
        channel_override: state == LinkState::Active && random.random_bool(0.3),
        passthrough: state == LinkState::Active && random.random_bool(0.2),
        test: state == LinkState::Active && number % 50 == 49,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: WorldSize = WorldSize { programs: 2, referrers: 5, links: 40, channels: 4 };

    #[test]
    fn one_seed_is_one_world() {
        let world = World::generate(1, "t", "go.example", SIZE);
        assert_eq!(world, World::generate(1, "t", "go.example", SIZE));
        assert_ne!(world, World::generate(2, "t", "go.example", SIZE));
    }

    #[test]
    fn every_referrer_and_every_channel_has_a_link() {
        let world = World::generate(1, "t", "go.example", SIZE);
        for program in 0..2 {
            let links: Vec<_> =
                world.links.iter().filter(|l| l.program == program && l.state == LinkState::Active).collect();
            let referrers: std::collections::BTreeSet<_> = links.iter().map(|l| l.referrer).collect();
            let channels: std::collections::BTreeSet<_> = links.iter().map(|l| l.channel).collect();
            assert_eq!((referrers.len(), channels.len()), (5, 4));
        }
    }

    #[test]
    fn codes_are_unique_and_some_lead_nowhere() {
        let world = World::generate(1, "t", "go.example", SIZE);
        let codes: std::collections::BTreeSet<_> = world.links.iter().map(|l| &l.code).collect();
        assert_eq!(codes.len(), world.links.len());
        assert_eq!(world.links_in(LinkState::Disabled).count(), 4);
        assert_eq!(world.links_in(LinkState::Missing).count(), 4);
    }
}
