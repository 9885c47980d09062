//! The read side: what is stored, asked of ClickHouse and put into words.
//!
//! | module | what it does | I/O |
//! |---|---|---|
//! | [`subject`] | who a question is about: raw names become keys here | none |
//! | [`ask`] | a client with limits; rows as JSON objects | ClickHouse |
//! | [`known`] | whether a program or referrer is known at all | ClickHouse |
//! | [`cursor`] | where a page of sorted rows ends | none |
//! | [`lineage`] | the lines of the view `lineage`, and why somebody is credited, in words | ClickHouse |
//! | [`status`] | the view `status`, page by page | ClickHouse |
//! | [`replay`] | who would have been credited and paid under other rules | ClickHouse |
//! | [`erasure`] | what an erasure touched | ClickHouse |
//! | [`fact`] | one lead or qualification by its id | ClickHouse |
//! | [`reports`] | funnel, referrers, channels and the other report views | ClickHouse |
//! | [`http`] | the same as a JSON API on a listener of its own | HTTP |
//!
//! Architecture invariants: nothing here writes. Whatever a caller says is a parameter of a query, never
//! a part of its text. An email address, phone number or lead id given in clear leaves [`subject`] as a
//! keyed hash.

pub mod ask;
pub mod cursor;
pub mod erasure;
pub mod fact;
pub mod http;
pub mod known;
pub mod lineage;
pub mod replay;
pub mod reports;
pub mod status;
pub mod subject;
