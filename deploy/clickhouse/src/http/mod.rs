//! ClickHouse's HTTP interface over the engine.
//!
//! `listen` and `places` have the connections; `auth` says who asks;
//! `request` reads what is asked, `parameters` says what is done with each of ClickHouse's own, `body` and `form` the whole body, `text` the statement; `gate` bounds how many
//! run; `query` streams results (`outfile` words what the engine is sent for that), `insert` stores rows; `reply` words answers as ClickHouse does.

mod agree;
mod answer;
mod asked;
mod auth;
mod body;
mod form;
mod gate;
mod insert;
mod listen;
mod outfile;
#[cfg(test)]
mod page;
mod parameters;
mod places;
mod query;
mod reply;
mod request;
mod server;
mod text;

pub use listen::{ServeError, serve, serve_and_tell};
