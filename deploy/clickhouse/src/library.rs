//! Where the engine library is.

use std::env;
use std::path::PathBuf;

/// The pinned engine; `fetch-engine` has the same.
pub const ENGINE_VERSION: &str = "26.7.3-stable.1";

/// A `libchdb.so` of the operator's own.
pub const ENGINE_ENV: &str = "WHENCE_CLICKHOUSE_ENGINE";

/// The engine library is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "the clickhouse engine is not at {path}: run deploy/clickhouse/fetch-engine once, or set \
     {ENGINE_ENV}=/path/to/libchdb.so",
    path = path.display()
)]
pub struct NoEngine {
    /// Where it was looked for.
    pub path: PathBuf,
}

/// Finds the engine library: `WHENCE_CLICKHOUSE_ENGINE`, or what `fetch-engine` put into the cache
/// (`$WHENCE_CACHE`, or `whence` in `$XDG_CACHE_HOME` or `~/.cache`).
///
/// # Errors
/// [`NoEngine`]: the library is not there.
pub fn find() -> Result<PathBuf, NoEngine> {
    let path = env::var_os(ENGINE_ENV).filter(|path| !path.is_empty()).map_or_else(cached, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(NoEngine { path }) }
}

fn cached() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("WHENCE_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("whence")))
        .or_else(|| Some(set("HOME")?.join(".cache/whence")))
        .unwrap_or_else(|| "whence-cache".into());
    cache.join(format!("clickhouse-{ENGINE_VERSION}")).join("libchdb.so")
}
