//! The reader's own tables: what they take is looked at before each statement that makes or fills one and
//! while it runs, and tables that nobody has changed for long are dropped.
//!
//! One such statement runs at a time, so that two cannot pass the bound together.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use crate::config::ScratchLimits;
use crate::engine::{Engine, EngineError, Exception};
use crate::metrics::{REFUSED, SCRATCH_BYTES, SCRATCH_DROPPED, SCRATCH_KEY_BYTES, SCRATCH_TABLES};
use crate::rights::quoted;

/// How often a statement that writes is looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often old tables are looked for, at most and at least.
const SWEEP_EVERY_MAX: Duration = Duration::from_secs(600);
const SWEEP_EVERY_MIN: Duration = Duration::from_millis(200);

/// What the reader's tables take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    tables: u64,
    bytes: u64,
    /// Memory of primary keys, which the engine holds for as long as the tables are there.
    key_bytes: u64,
}

/// What a part costs beside its bytes: an entry in the engine's memory, and a block of the file system for each file.
const PART_BYTES: u64 = 32 << 10;
const FILE_BYTES: u64 = 4 << 10;
/// Primary keys may take this part of the tables' bytes in memory.
const KEY_PART: u64 = 8;

/// The reader's database and its bounds.
pub struct Scratch {
    engine: Arc<Engine>,
    database: String,
    limits: ScratchLimits,
}

impl Scratch {
    /// The database's keeper.
    #[must_use]
    pub fn new(engine: Arc<Engine>, database: &str, limits: ScratchLimits) -> Self {
        Self { engine, database: database.to_owned(), limits }
    }

    /// Whether there is room; for a statement that makes a table, for one more. Blocks.
    ///
    /// # Errors
    /// 201 (`QUOTA_EXCEEDED`), or the engine's.
    pub fn check(&self, makes_table: bool) -> Result<(), EngineError> {
        let usage = self.usage()?;
        let ScratchLimits { bytes_max, tables_max, .. } = self.limits;
        if usage.bytes >= bytes_max {
            return Err(self.full("scratch_bytes", &format!("{bytes_max} bytes")));
        }
        if usage.key_bytes >= bytes_max / KEY_PART {
            return Err(
                self.full("scratch_key_bytes", &format!("{} bytes of primary keys", bytes_max / KEY_PART))
            );
        }
        if makes_table && usage.tables >= tables_max {
            return Err(self.full("scratch_tables", &format!("{tables_max} tables and views")));
        }
        Ok(())
    }

    fn full(&self, bound: &'static str, most: &str) -> EngineError {
        counter!(REFUSED, "bound" => bound).increment(1);
        let message =
            format!("The database {} may hold {most}: drop tables that are not needed", self.database);
        Exception::new(201, "QUOTA_EXCEEDED", &message).into()
    }

    fn usage(&self) -> Result<Usage, EngineError> {
        // All parts: those that others have replaced are on the disk for minutes more.
        let sql = format!(
            "SELECT (SELECT count() FROM system.tables WHERE database = {{database:String}}), \
             sum(bytes_on_disk) + count() * {PART_BYTES} + sum(files) * {FILE_BYTES}, \
             sum(primary_key_bytes_in_memory_allocated) \
             FROM system.parts WHERE database = {{database:String}}"
        );
        let answer = self.engine.keeper()?.query(sql.as_bytes(), "TSVRaw", &self.params())?;
        let text = String::from_utf8_lossy(&answer.output).into_owned();
        let mut numbers = text.split('\t').map(|text| text.trim().parse().unwrap_or(u64::MAX));
        let mut next = || numbers.next().unwrap_or(u64::MAX);
        let usage = Usage { tables: next(), bytes: next(), key_bytes: next() };
        gauge!(SCRATCH_TABLES).set(usage.tables as f64);
        gauge!(SCRATCH_BYTES).set(usage.bytes as f64);
        gauge!(SCRATCH_KEY_BYTES).set(usage.key_bytes as f64);
        Ok(usage)
    }

    fn params(&self) -> [(String, String); 1] {
        [("database".to_owned(), self.database.clone())]
    }

    /// Drops what was not changed for too long; returns how many. Blocks.
    fn sweep(&self) -> Result<u64, EngineError> {
        let seconds = self.limits.age_max.as_secs().max(1);
        // Rows change the time of a part, definitions that of the table.
        let sql = format!(
            "SELECT hex(name), engine FROM system.tables WHERE database = {{database:String}} \
             AND metadata_modification_time < now() - {seconds} \
             AND name NOT IN (SELECT table FROM system.parts WHERE database = {{database:String}} \
             AND modification_time >= now() - {seconds}) FORMAT TSV"
        );
        let mut session = self.engine.keeper()?;
        let answer = session.query(sql.as_bytes(), "TSV", &self.params())?;
        let mut dropped = 0;
        for line in String::from_utf8_lossy(&answer.output).lines() {
            let Some((name, engine)) = line.split_once('\t') else { continue };
            let kind = if engine == "View" { "VIEW" } else { "TABLE" };
            let Some(name) = unhex(name) else { continue };
            let sql = format!("DROP {kind} IF EXISTS {}.{} SYNC", quoted(&self.database), quoted(&name));
            self.engine.keeper()?.query(sql.as_bytes(), "Null", &[])?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Sweeps now and then, until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let every = (self.limits.age_max / 4).clamp(SWEEP_EVERY_MIN, SWEEP_EVERY_MAX);
        loop {
            let scratch = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || scratch.sweep()).await {
                Ok(Ok(0)) | Err(_) => {}
                Ok(Ok(dropped)) => {
                    counter!(SCRATCH_DROPPED).increment(dropped);
                    tracing::info!(dropped, "tables of the scratch database were too old");
                }
                Ok(Err(error)) => tracing::warn!(error = %error, "cannot sweep the scratch database"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
                return;
            }
        }
    }
}

/// A name as the engine writes it with `hex`, so that no character of it means anything on the way.
fn unhex(hex: &str) -> Option<String> {
    String::from_utf8(hex::decode(hex).ok()?).ok()
}
