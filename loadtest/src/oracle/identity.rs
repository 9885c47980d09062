//! The ids that events and rewards have by contract, worked out here a second time. An event's: the UUIDv5 (RFC 9562, section
//! 5.5) of `program 0x00 source 0x00 idempotency key` in the namespace of event ids.

use crate::{ledger::Id, world::REWARD_RULE};
use uuid::Uuid;

/// The namespace of event ids: the bytes `whenceP`, 0, 0x8e, `ventid1`.
const NAMESPACE: Uuid = Uuid::from_u128(0x77_68_65_6e_63_65_50_00_8e_76_65_6e_74_69_64_31);

/// The source of events that come in through the events API.
pub const SOURCE: &str = "api";

/// The id of the event of this kind that the events API is given under `key` for `program`: the kind stands before the
/// key, except for leads and qualifications.
#[must_use]
pub fn event_id(program: &str, kind: &str, key: &str) -> Id {
    let name = match kind {
        "lead" | "qualification" => [program, SOURCE, key].join("\0"),
        _ => [program, SOURCE, kind, key].join("\0"),
    };
    Id(Uuid::new_v5(&NAMESPACE, name.as_bytes()).as_u128())
}

/// The namespace of reward ids: the bytes `whenceP`, 0, 0x8e, `reward1`.
const REWARD_NAMESPACE: Uuid = Uuid::from_u128(0x77_68_65_6e_63_65_50_00_8e_72_65_77_61_72_64_31);

/// The id of the reward that a lead earns: the UUIDv5 of `program 0x00 lead rule`, the lead's id being 16 bytes.
#[must_use]
pub fn reward_id(program: &str, lead: Id) -> Id {
    let name = [program.as_bytes(), &[0], &lead.0.to_be_bytes(), REWARD_RULE.as_bytes()].concat();
    Id(Uuid::new_v5(&REWARD_NAMESPACE, &name).as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_one_of_the_contract() {
        assert_eq!(
            event_id("demo", "qualification", "order-1").to_string(),
            "201c1ae5-4d17-5934-9801-a73351d61321"
        );
    }
}
