//! Gives this replica's parts to the others: the sending half of ClickHouse's exchange of parts
//! (`DataPartsExchange`), over the files of the engine's data folder.
//!
//! A request names the endpoint `DataPartsExchange:/…/replicas/NAME` and a part. The answer is, as the protocol has it
//! since version 7: size, TTL, kind of part, an empty UUID, projections, and then each file with its hash. A part
//! never changes once it is there; one that is gone is answered as ClickHouse does, and asked for elsewhere.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use crate::asking::Engine;
use crate::hash::hash;

/// Versions of the protocol that have this form (8 adds a file to the others).
const VERSIONS: std::ops::RangeInclusive<u64> = 7..=8;
/// Files of a part that are of this replica alone.
const OWN: [&str; 2] = ["txn_version.txt", "delete-on-destroy.txt"];

/// The parts of one replica.
pub struct Parts {
    engine: Engine,
    /// Folders of tables, by their places in Keeper.
    folders: Mutex<HashMap<String, PathBuf>>,
    /// The folder of the table whose parts are not given.
    kept: Mutex<Option<PathBuf>>,
}

impl Parts {
    pub fn new(engine: Engine) -> Self {
        Self { engine, folders: Mutex::default(), kept: Mutex::default() }
    }

    /// Gives no part of a table of `whence` from here on: what is inserted there by way of this replica is here alone.
    pub async fn keep(&self, table: &str) -> Result<(), String> {
        let sql = format!(
            "SELECT data_paths[1] FROM system.tables WHERE database = 'whence' AND name = '{}' FORMAT TSVRaw",
            table.replace(['\\', '\''], "")
        );
        let folder = PathBuf::from(self.engine.ask(&sql).await?.trim());
        *self.kept.lock().expect("nothing panics while it holds it") = Some(folder);
        Ok(())
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        // The credentials that may stand in the body are nobody's.
        let _ = request.into_body().collect().await;
        let asked: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(match self.part(&asked).await {
            Ok((version, part)) => Response::builder()
                .header("set-cookie", format!("server_protocol_version={version}"))
                .body(Full::from(part))
                .expect("the head is plain"),
            Err(reason) => {
                tracing::info!(part = asked.get("part"), reason, "the part was not sent");
                let text = format!("Code: 232. DB::Exception: No part: {reason}. (NO_SUCH_DATA_PART)");
                let mut answer = Response::new(Full::from(text));
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                answer
            }
        })
    }

    async fn part(&self, asked: &HashMap<String, String>) -> Result<(u64, Vec<u8>), String> {
        let of = |name: &str| asked.get(name).ok_or_else(|| format!("{name} is missing"));
        let version: u64 = of("client_protocol_version")?.parse().map_err(|_| "no version".to_owned())?;
        let (endpoint, part) = (of("endpoint")?, of("part")?);
        if version < *VERSIONS.start() || part.contains('/') {
            return Err(format!("version {version} of the protocol is not spoken here"));
        }
        let folder = self.folder(endpoint).await?;
        if self.kept.lock().expect("nothing panics while it holds it").as_ref() == Some(&folder) {
            return Err("it is kept".into());
        }
        let folder = folder.join(part);
        let read = tokio::task::spawn_blocking(move || encode(&folder)).await;
        let part = read.expect("reading a part does not panic").map_err(|error| error.to_string())?;
        Ok((version.min(*VERSIONS.end()), part))
    }

    /// Where the table is whose replica this endpoint is of.
    async fn folder(&self, endpoint: &str) -> Result<PathBuf, String> {
        let place = endpoint.strip_prefix("DataPartsExchange:").ok_or("no endpoint of parts")?;
        let known = |map: &Mutex<HashMap<String, PathBuf>>| {
            map.lock().expect("nothing panics while it holds the map").get(place).cloned()
        };
        if let Some(folder) = known(&self.folders) {
            return Ok(folder);
        }
        let sql = format!(
            "SELECT data_paths[1] FROM system.tables WHERE (database, name) IN \
             (SELECT database, table FROM system.replicas WHERE replica_path = '{}') FORMAT TSVRaw",
            place.replace(['\\', '\''], "")
        );
        let folder = self.engine.ask(&sql).await?;
        let folder = PathBuf::from(folder.trim());
        if !folder.is_absolute() {
            return Err(format!("there is no table at {place}"));
        }
        self.folders
            .lock()
            .expect("nothing panics while it holds the map")
            .insert(place.to_owned(), folder.clone());
        Ok(folder)
    }
}

fn encode(folder: &Path) -> io::Result<Vec<u8>> {
    let mut projections = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.extension().is_some_and(|ending| ending == "proj") {
            projections.push(path);
        }
    }
    projections.sort();
    let files = files(folder)?;
    let total: u64 = files.iter().map(|(_, data)| data.len() as u64).sum();
    let has = |name: &str| files.iter().find(|(known, _)| known == name).map(|(_, data)| &data[..]);
    let mut out = Vec::new();
    out.extend(total.to_le_bytes());
    text(&mut out, has("ttl.txt").unwrap_or(b"ttl format version: 1\n{}"));
    let is_compact = has("data.bin").is_some();
    text(&mut out, if is_compact { b"Compact" } else { b"Wide" });
    out.extend(b"00000000-0000-0000-0000-000000000000");
    out.extend((projections.len() as u64).to_le_bytes());
    for projection in projections {
        let name = projection.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        text(&mut out, name.as_bytes());
        body(&mut out, &self::files(&projection)?);
    }
    body(&mut out, &files);
    Ok(out)
}

/// The files of a part, in order of their names.
fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && !OWN.contains(&name.as_str()) {
            files.push((name, fs::read(entry.path())?));
        }
    }
    files.sort();
    Ok(files)
}

fn body(out: &mut Vec<u8>, files: &[(String, Vec<u8>)]) {
    out.extend((files.len() as u64).to_le_bytes());
    for (name, data) in files {
        text(out, name.as_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        out.extend(data);
        hash(data).iter().for_each(|half| out.extend(half.to_le_bytes()));
    }
}

/// Bytes behind their length, in groups of seven bits.
fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while length >= 128 {
        out.push((length as u8) | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
}
