//! Inserts and other statements that run whole.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::Response;
use metrics::counter;

use super::body::Share;
use super::reply::{About, Body, Failure};
use super::request::Ask;
use super::server::Server;
use crate::metrics::{INSERTED_BYTES, INSERTED_ROWS};
use crate::sql::Insert;

/// Pieces handed to the engine are at least this long where the body allows: it queues 16 of them.
const PIECE_BYTES: usize = 256 << 10;

/// Inserts `rows`, a whole body, and answers when they are stored.
///
/// Once it has begun, the insert runs to its end whether or not the client is still there: a client
/// that repeats it with the same token then finds it done.
pub async fn run(
    server: &Arc<Server>,
    ask: &Ask,
    about: &About,
    text: &[u8],
    insert: &Insert,
    rows: Vec<Bytes>,
    share: Share,
) -> Result<Response<Body>, Failure> {
    let place = server.inserts.enter().await?;
    let started = Instant::now();
    let open = server.open_session(ask, None);
    let head = text[insert.head.clone()].to_vec();
    let format = insert.format.clone();
    let params = ask.said.params.clone();
    let stored = server.blocking.spawn_blocking(move || {
        let _held = (place, share);
        let bytes: usize = rows.iter().map(Bytes::len).sum();
        let answer = open()?.insert(&head, &format, &params, Pieces(rows.into_iter()))?;
        counter!(INSERTED_ROWS).increment(answer.rows_written);
        counter!(INSERTED_BYTES).increment(bytes as u64);
        Ok::<_, Failure>(answer)
    });
    let answer = stored.await.expect("a statement's thread does not panic")?;
    Ok(about.whole(&insert.format, &answer, started.elapsed().as_nanos(), Bytes::new()))
}

/// Runs a statement that is neither an insert with rows nor a query.
pub async fn command(
    server: &Arc<Server>,
    ask: &Ask,
    about: &About,
    sql: &[u8],
) -> Result<Response<Body>, Failure> {
    let place = server.queries.enter().await?;
    let started = Instant::now();
    let open = server.open_session(ask, None);
    let sql = sql.to_vec();
    let params = ask.said.params.clone();
    let format = ask.said.default_format.clone().unwrap_or("TabSeparated".into());
    let run_format = format.clone();
    let done = server.blocking.spawn_blocking(move || {
        let _place = place;
        open()?.query(&sql, &run_format, &params)
    });
    let mut answer = done.await.expect("a statement's thread does not panic")?;
    let output = std::mem::take(&mut answer.output);
    Ok(about.whole(&format, &answer, started.elapsed().as_nanos(), output.into()))
}

/// Joins small pieces of a body, and passes large ones on as they are. Freed as they are taken.
struct Pieces(std::vec::IntoIter<Bytes>);

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let first = self.0.next()?;
        let next = self.0.as_slice().first().map_or(usize::MAX, Bytes::len);
        if first.len().saturating_add(next) > PIECE_BYTES {
            return Some(first);
        }
        let mut joined = Vec::with_capacity(PIECE_BYTES);
        joined.extend_from_slice(&first);
        while let Some(next) = self.0.as_slice().first()
            && joined.len() + next.len() <= PIECE_BYTES
        {
            joined.extend_from_slice(next);
            self.0.next();
        }
        Some(joined.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_joined_and_none_is_lost() {
        let sizes = [10, 20, PIECE_BYTES, 5, PIECE_BYTES - 5, 7, 300 << 10, 1];
        let rows: Vec<Bytes> =
            sizes.iter().enumerate().map(|(at, &size)| vec![at as u8; size].into()).collect();
        let pieces: Vec<Bytes> = Pieces(rows.clone().into_iter()).collect();
        assert!(pieces.len() < rows.len());
        assert!(pieces.concat() == rows.concat());
        assert_eq!(Pieces(Vec::new().into_iter()).next(), None);
    }
}
