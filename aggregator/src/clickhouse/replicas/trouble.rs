//! Errors that only waiting fixes, and those among them that another replica may not have.
//!
//! Codes are ClickHouse's own (`src/Common/ErrorCodes.cpp`).

use crate::clickhouse::code;
use clickhouse::error::Error;

/// What keeps a server from doing now what it will do later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// For metrics: ClickHouse's code, or a word where it said none.
    pub label: &'static str,
    /// Whether another replica may well do it now.
    pub is_of_one_replica: bool,
}

const fn here(label: &'static str) -> Trouble {
    Trouble { label, is_of_one_replica: true }
}

const fn everywhere(label: &'static str) -> Trouble {
    Trouble { label, is_of_one_replica: false }
}

/// By code.
const TROUBLES: [(u32, Trouble); 20] = [
    (159, everywhere("159")), // TIMEOUT_EXCEEDED: of a statement, or of a replica that does not catch up
    (202, everywhere("202")), // TOO_MANY_SIMULTANEOUS_QUERIES
    (209, here("209")),       // SOCKET_TIMEOUT
    (210, here("210")),       // NETWORK_ERROR
    (225, here("225")),       // NO_ZOOKEEPER
    (234, everywhere("234")), // NO_REPLICA_HAS_PART
    (236, here("236")),       // ABORTED: it is being shut down
    (241, everywhere("241")), // MEMORY_LIMIT_EXCEEDED
    (242, here("242")),       // TABLE_IS_READ_ONLY: this replica has no session with Keeper
    (252, everywhere("252")), // TOO_MANY_PARTS
    (254, everywhere("254")), // NO_ACTIVE_REPLICAS
    (285, everywhere("285")), // TOO_FEW_LIVE_REPLICAS
    (UNSATISFIED, everywhere("286")), // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    (289, everywhere("289")), // REPLICA_IS_NOT_IN_QUORUM
    (319, everywhere("319")), // UNKNOWN_STATUS_OF_INSERT
    (341, everywhere("341")), // UNFINISHED
    (415, everywhere("415")), // ALL_REPLICAS_LOST
    (416, here("416")),       // REPLICA_STATUS_CHANGED
    (425, here("425")),       // SYSTEM_ERROR
    (999, here("999")),       // KEEPER_EXCEPTION
];

/// Another insert's quorum is open. The one that is told so has opened none.
const UNSATISFIED: u32 = 286;

impl Trouble {
    /// Whether an insert has met another's quorum, and has left nothing of which it is not known whether it is stored.
    pub(super) fn is_anothers_turn(error: &Error) -> bool {
        matches!(error, Error::BadResponse(text) if code(text) == Some(UNSATISFIED))
    }

    /// What an error is of; `None` where to ask again does not help.
    pub(super) fn of(error: &Error) -> Option<Trouble> {
        match error {
            Error::Network(_) => Some(here("network")),
            Error::TimedOut => Some(here("timeout")),
            Error::BadResponse(text) => match code(text) {
                Some(code) => TROUBLES.iter().find(|(known, _)| *known == code).map(|(_, trouble)| *trouble),
                // Somebody between has answered, or a server that is on its way up or down.
                None => Some(here("unavailable")),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clickhouse_says_of_quorum_and_keeper_is_waited_for_and_what_it_says_of_a_statement_is_not() {
        let of = |text: &str| Trouble::of(&Error::BadResponse(text.into()));
        for code in [285, 286, 289, 319, 341, 254] {
            let trouble = of(&format!("Code: {code}. DB::Exception: …")).unwrap();
            assert!(!trouble.is_of_one_replica, "{code}");
            assert_eq!(trouble.label, code.to_string());
        }
        for code in [225, 242, 999] {
            assert!(of(&format!("Code: {code}. DB::Exception: …")).unwrap().is_of_one_replica, "{code}");
        }
        for code in [16, 47, 60, 62, 497, 516] {
            assert_eq!(of(&format!("Code: {code}. DB::Exception: …")), None, "{code}");
        }
        assert!(of("upstream is away").unwrap().is_of_one_replica);
    }
}
