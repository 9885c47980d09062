//! Inserts and other statements that run whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Response;
use metrics::counter;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::asked::Asked;
use super::body::Share;
use super::reply::{About, Body, Failure};
use super::request::Ask;
use super::server::Server;
use crate::engine::{Answer, EngineError, Exception, Session};
use crate::metrics::{ABANDONED, INSERTED_BYTES, INSERTED_ROWS, REFUSED};
use crate::native;
use crate::rights::{Identity, quoted};
use crate::scratch::LOOK_EVERY;
use crate::sql::{Action, Insert, Target};
use crate::watchdog::Watched;

/// Pieces handed to the engine are at least this long where the body allows: it queues 16 of them.
const PIECE_BYTES: usize = 256 << 10;

/// The rows of an insert, and the memory that they hold.
pub struct Rows {
    /// A whole body.
    pub rows: Vec<Bytes>,
    /// Its share of the memory of all.
    pub share: Share,
}

/// Inserts `rows`, a whole body, and answers when they are stored.
///
/// Once it has begun, the owner's insert runs to its end whether or not the client is still there: a client
/// that repeats it with the same token then finds it done.
pub async fn run(
    server: &Arc<Server>,
    Asked { ask, identity, taken }: Asked<'_>,
    about: &About,
    (insert, target): (&Insert, Option<&Target>),
    rows: Rows,
) -> Result<Response<Body>, Failure> {
    if !is_served(&insert.format) {
        let message = format!("The format {} is not served for rows that come in", insert.format);
        return Err(Exception::new(497, "ACCESS_DENIED", &message).into());
    }
    let place = server.place(taken, true).await?;
    let written = Written::begin(server, ask, identity, Grows::ByRows).await?;
    let started = Instant::now();
    let head = &insert.head[..];
    // Rows that are expressions can name other tables, which are looked up in the session's database.
    let is_plain = identity == Identity::Owner && !insert.format.eq_ignore_ascii_case("Values");
    let (open, head): (Box<Open>, Vec<u8>) = match is_plain {
        true => (Box::new(server.open_inserter(ask)), in_full(head, target)),
        false => (Box::new(server.open_session(ask, identity, false, written.marker())), head.to_vec()),
    };
    let format = insert.format.clone();
    let params = ask.said.params.clone();
    let watched = written.watched();
    let stored = server.blocking.spawn_blocking(move || {
        let Rows { rows, share } = rows;
        let _held = (place, share, watched);
        let bytes: usize = rows.iter().map(Bytes::len).sum();
        let answer = open()?.insert(&head, &format, &params, Pieces(rows.into_iter()))?;
        counter!(INSERTED_ROWS).increment(answer.rows_written);
        counter!(INSERTED_BYTES).increment(bytes as u64);
        Ok::<_, Failure>(answer)
    });
    let answer = written.end(stored).await.map_err(|failure| unevaluated(&insert.format, failure))?;
    Ok(about.whole(&insert.format, &answer, started.elapsed().as_nanos(), Bytes::new()))
}

/// A literal that its column cannot take: the engine would read it as an expression next, which it may not here, and says
/// that instead.
fn unevaluated(format: &str, failure: Failure) -> Failure {
    const SUPPORT_IS_DISABLED: u16 = 344;
    if !format.eq_ignore_ascii_case("Values") || failure.exception.code != SUPPORT_IS_DISABLED {
        return failure;
    }
    let message = "A literal in format Values is not of its column's type: write one that is, or use INSERT … SELECT, \
                   which converts";
    Exception::new(53, "TYPE_MISMATCH", message).into()
}

type Open = dyn FnOnce() -> Result<Session, EngineError> + Send;

/// Formats of rows that come in: those whose readers are plain, need no schema from a file, and have not
/// crashed on damaged rows (`ORC`'s has).
pub const FORMATS: [&str; 10] = [
    "Values",
    "CSV",
    "CSVWithNames",
    "CSVWithNamesAndTypes",
    "JSONLines",
    "NDJSON",
    "Native",
    "Parquet",
    "Arrow",
    "ArrowStream",
];

/// Beginnings of the names of others.
pub const FAMILIES: [&str; 6] =
    ["TSV", "TabSeparated", "RowBinary", "JSONEachRow", "JSONCompactEachRow", "JSONStringsEachRow"];

fn is_served(format: &str) -> bool {
    let lower = format.to_ascii_lowercase();
    FORMATS.iter().any(|name| lower == name.to_ascii_lowercase())
        || FAMILIES.iter().any(|family| lower.starts_with(&family.to_ascii_lowercase()))
}

/// The head of an insert with its table's database written out.
fn in_full(head: &[u8], target: Option<&Target>) -> Vec<u8> {
    let unqualified = target.and_then(|target| Some((&target.place, target.unqualified_at?)));
    match unqualified {
        Some((place, at)) if at <= head.len() => {
            [&head[..at], quoted(&place.database).as_bytes(), b" . ", &head[at..]].concat()
        }
        _ => head.to_vec(),
    }
}

/// A statement that is neither an insert with rows nor a query.
pub struct Command<'verdict> {
    /// The statement.
    pub sql: Vec<u8>,
    /// The format that it names.
    pub format: Option<String>,
    /// What it does.
    pub action: &'verdict Action,
}

/// Runs a statement that is neither an insert with rows nor a query.
pub async fn command(
    server: &Arc<Server>,
    Asked { ask, identity, taken }: Asked<'_>,
    about: &About,
    command: Command<'_>,
) -> Result<Response<Body>, Failure> {
    let Command { sql, format, action } = command;
    let place = server.place(taken, false).await?;
    let grows = match action {
        Action::Create(_) => Grows::ByTable,
        Action::Insert(_) => Grows::ByRows,
        Action::Read | Action::Drop(_) | Action::Change(_) => Grows::Not,
    };
    let written = Written::begin(server, ask, identity, grows).await?;
    let started = Instant::now();
    let reads = *action == Action::Read;
    let open = server.open_session(ask, identity, reads, written.marker());
    let params = ask.said.params.clone();
    let format = format.or_else(|| ask.said.default_format.clone()).unwrap_or("TabSeparated".into());
    let run_format = format.clone();
    let watched = written.watched();
    let done = server.blocking.spawn_blocking(move || {
        let _held = (place, watched);
        Ok(open()?.query(&sql, &run_format, &params)?)
    });
    let mut answer = written.end(done).await?;
    let mut output = std::mem::take(&mut answer.output);
    if ask.said.version.changes(&format) {
        let mut rewritten = Vec::with_capacity(output.len());
        let rewriting = native::rewrite(&output[..], &mut rewritten, ask.said.version).await;
        rewriting.map_err(|error| error.exception())?;
        output = rewritten;
    }
    Ok(about.whole(&format, &answer, started.elapsed().as_nanos(), output.into()))
}

/// A statement that changes something, under way. The reader's is looked at while it runs, and ended when
/// its client goes away or the scratch database is full; the owner's is left alone.
struct Written {
    server: Arc<Server>,
    reader: Option<Guarded>,
}

struct Guarded {
    marker: String,
    time_max: Duration,
    is_done: bool,
    /// While it makes the database grow.
    turn: Option<OwnedSemaphorePermit>,
}

/// Whether a statement makes its database grow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grows {
    Not,
    ByRows,
    ByTable,
}

impl Written {
    /// Waits for the reader's turn and looks for room, if the statement needs any.
    async fn begin(
        server: &Arc<Server>,
        ask: &Ask,
        identity: Identity,
        grows: Grows,
    ) -> Result<Self, Failure> {
        if identity == Identity::Owner {
            return Ok(Self { server: server.clone(), reader: None });
        }
        let mut turn = None;
        if grows != Grows::Not {
            let Ok(Ok(own)) = timeout(server.limits.wait_max, server.writing.clone().acquire_owned()).await
            else {
                counter!(REFUSED, "bound" => "scratch_writers").increment(1);
                let message = "Another statement writes to the scratch database";
                return Err(Failure::busy(202, "TOO_MANY_SIMULTANEOUS_QUERIES", message));
            };
            look(server, grows == Grows::ByTable).await?;
            turn = Some(own);
        }
        let marker = uuid::Uuid::new_v4().simple().to_string();
        let time_max = server.time_max(ask);
        Ok(Self { server: server.clone(), reader: Some(Guarded { marker, time_max, is_done: false, turn }) })
    }

    /// To be kept by the statement's thread.
    fn watched(&self) -> Option<Watched> {
        self.reader.as_ref().map(|reader| self.server.watchdog.watch(&reader.marker))
    }

    fn marker(&self) -> Option<&str> {
        self.reader.as_ref().map(|reader| reader.marker.as_str())
    }

    /// The statement's outcome.
    async fn end(mut self, mut running: JoinHandle<Result<Answer, Failure>>) -> Result<Answer, Failure> {
        let mut full = None;
        let time_max = self.reader.as_ref().map(|reader| reader.time_max);
        let too_late = sleep(time_max.unwrap_or_default());
        tokio::pin!(too_late);
        let outcome = loop {
            let looks = self.reader.as_ref().is_some_and(|reader| reader.turn.is_some()) && full.is_none();
            tokio::select! {
                outcome = &mut running => break outcome.expect("a statement's thread does not panic"),
                // Killed as it is dropped.
                () = &mut too_late, if time_max.is_some() => {
                    return Err(full.unwrap_or_else(|| Server::timed_out(time_max.unwrap_or_default())));
                }
                () = sleep(LOOK_EVERY), if looks => {
                    if let Err(failure) = look(&self.server, false).await {
                        self.kill();
                        full = Some(failure);
                    }
                }
            }
        };
        if let Some(reader) = &mut self.reader {
            reader.is_done = true;
        }
        match (outcome, full) {
            // It was killed for it; one that ended just before is done.
            (Err(_), Some(full)) => Err(full),
            (outcome, _) => outcome,
        }
    }

    fn kill(&self) {
        if let Some(reader) = &self.reader {
            self.server.kill(&reader.marker);
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.reader.as_ref().is_some_and(|reader| !reader.is_done) {
            counter!(ABANDONED).increment(1);
            self.kill();
        }
    }
}

async fn look(server: &Arc<Server>, makes_table: bool) -> Result<(), Failure> {
    let scratch = Arc::clone(&server.scratch);
    let looked = server.blocking.spawn_blocking(move || scratch.check(makes_table)).await;
    Ok(looked.expect("a statement's thread does not panic")?)
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
