//! ClickHouse's HTTP interface over the engine.
//!
//! `listen` and `places` have the connections; `auth` says who asks;
//! `request` reads what is asked, `body` and `form` the whole body, `text` the statement; `gate` bounds how many
//! run; `query` streams results, `insert` stores rows; `reply` words answers as ClickHouse does.

mod agree;
mod answer;
mod asked;
mod auth;
mod body;
mod form;
mod gate;
mod insert;
mod listen;
mod places;
mod query;
mod reply;
mod request;
mod server;
mod text;

pub use listen::{ServeError, serve, serve_and_tell};
