//! The tables that blocks are inserted into, and those that are read to decide something.

/// Tables of facts and rollups, whose inserts have tokens.
pub(crate) const WRITTEN: [&str; 21] = [
    "clicks",
    "leads",
    "qualifications",
    "disqualifications",
    "identifies",
    "participants",
    "shares",
    "erasures",
    "subject_keys",
    "click_evidence",
    "rejects",
    "funnel_hourly",
    "funnel_daily",
    "reward_terms",
    "rewards",
    "reward_events",
    "rewards_daily",
    "rewards_due",
    "outbound_messages",
    "deliveries",
    "delivery_checkpoints",
];

/// Those of them that a partition's owner, its sweeper or its deliveries look something up in.
pub(crate) const LOOKED_UP: [&str; 18] = [
    "clicks",
    "leads",
    "qualifications",
    "disqualifications",
    "identifies",
    "participants",
    "shares",
    "erasures",
    "subject_keys",
    "click_evidence",
    "rejects",
    "reward_terms",
    "rewards",
    "reward_events",
    "rewards_due",
    "outbound_messages",
    "deliveries",
    "delivery_checkpoints",
];
