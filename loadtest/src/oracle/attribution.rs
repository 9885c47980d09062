//! Who deserves the credit for a lead, worked out from what was sent alone.
//!
//! The rule is written down here a second time, on purpose: valid token, then code, then nobody. A token
//! is valid when its click is of the lead's program and lies within the program's window before the lead;
//! of several, the program's model takes the newest or the oldest. Codes carry no time: the order in which
//! the lead names them is theirs.

use crate::{
    ledger::{Id, Touch},
    world::{Model, World},
};

/// How far a click may lie after the lead that it is credited with: clocks differ. Part of the contract
/// (5 minutes).
const CLOCK_SKEW_MS_MAX: i64 = 5 * 60 * 1000;

/// The credit that a lead should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deserved {
    /// By a click.
    Token {
        /// The click.
        click: Id,
        /// Index of its link.
        link: u32,
        /// Index of the channel that the click counted for.
        channel: u16,
    },
    /// By a code.
    Code {
        /// Index of its link.
        link: u32,
    },
    /// By nobody.
    None,
}

/// The credit for a lead of `program` that happened at `occurred_at_ms` and carries these touches.
#[must_use]
pub fn deserved(world: &World, program: u16, occurred_at_ms: i64, touches: &[Touch]) -> Deserved {
    let rule = &world.programs[usize::from(program)];
    let is_own = |link: u32| world.links.get(link as usize).is_some_and(|link| link.program == program);
    let valid = touches.iter().filter_map(|touch| match touch {
        Touch::Token { click, link, channel } => {
            let age_ms = occurred_at_ms - click.at_ms();
            let is_valid = is_own(*link) && age_ms <= rule.window_ms && age_ms >= -CLOCK_SKEW_MS_MAX;
            is_valid.then_some((*click, *link, *channel))
        }
        Touch::Code { .. } => None,
    });
    let chosen = match rule.model {
        Model::LastTouch => valid.max_by_key(|(click, ..)| (click.at_ms(), *click)),
        Model::FirstTouch => valid.min_by_key(|(click, ..)| (click.at_ms(), *click)),
    };
    if let Some((click, link, channel)) = chosen {
        return Deserved::Token { click, link, channel };
    }
    let mut codes = touches.iter().filter_map(|touch| match touch {
        Touch::Code { link } if is_own(*link) => Some(*link),
        _ => None,
    });
    let code = match rule.model {
        Model::LastTouch => codes.next_back(),
        Model::FirstTouch => codes.next(),
    };
    code.map_or(Deserved::None, |link| Deserved::Code { link })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::WorldSize;

    fn world() -> World {
        World::generate(1, "t", "h", WorldSize { programs: 2, referrers: 2, links: 8, channels: 2 })
    }

    fn token(at_ms: u128, link: u32) -> Touch {
        Touch::Token { click: Id(at_ms << 80), link, channel: 1 }
    }

    fn deserved_link(world: &World, program: u16, at_ms: i64, touches: &[Touch]) -> Option<u32> {
        match deserved(world, program, at_ms, touches) {
            Deserved::Token { link, .. } | Deserved::Code { link } => Some(link),
            Deserved::None => None,
        }
    }

    #[test]
    fn nothing_valid_is_nobodys_credit() {
        let world = world();
        assert_eq!(deserved(&world, 0, 10, &[]), Deserved::None);
        let foreign = [token(5, 1), Touch::Code { link: 3 }];
        assert_eq!(deserved(&world, 0, 10, &foreign), Deserved::None, "links of the other program");
    }

    #[test]
    fn the_last_touch_wins_or_the_first_as_the_program_says() {
        let world = world();
        let (old, new) = (100, 300);
        assert_eq!(deserved_link(&world, 0, 400, &[token(new, 2), token(old, 0)]), Some(2));
        assert_eq!(deserved_link(&world, 1, 400, &[token(new, 3), token(old, 1)]), Some(1));
    }

    #[test]
    fn a_token_counts_to_the_last_millisecond_of_the_window() {
        let world = world();
        let window = world.programs[1].window_ms;
        let touches = [token(1_000, 1), Touch::Code { link: 3 }];
        assert_eq!(deserved_link(&world, 1, 1_000 + window, &touches), Some(1));
        assert_eq!(deserved_link(&world, 1, 1_001 + window, &touches), Some(3), "then the code counts");
    }
}
