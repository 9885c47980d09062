//! Where a process answers: a file for programs, a short block of lines for people.
//!
//! The file `addresses.json` in the data folder is replaced whole whenever an address becomes known, and
//! removed when the process ends in order. `pid` tells a file that a killed process left behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The content of the file. What a process does not have is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The command that runs.
    pub role: String,
    /// The process.
    pub pid: u32,
    /// Whether all of its parts have been ready at once since it started.
    pub ready: bool,
    /// Where links are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// Where links are answered over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_tls: Option<String>,
    /// Where events and registry calls are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Where lineage, status and reports are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// Where ClickHouse is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse: Option<String>,
    /// `/livez`, `/readyz`, `/metrics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

/// The file, kept up to date.
#[derive(Debug)]
pub struct AddressBook {
    path: PathBuf,
    addresses: Addresses,
}

impl AddressBook {
    /// A book of this process; nothing is written yet, and what another process has left is removed.
    pub fn new(path: PathBuf, role: &str) -> Self {
        remove(&path);
        let addresses = Addresses { role: role.to_owned(), pid: std::process::id(), ..Addresses::default() };
        Self { path, addresses }
    }

    /// Changes what is known, and the file.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn note(&mut self, change: impl FnOnce(&mut Addresses)) -> Result<(), Failure> {
        change(&mut self.addresses);
        let json = serde_json::to_vec_pretty(&self.addresses).expect("texts, a number and a flag");
        let failed = |source| Failure::File { path: self.path.clone(), source };
        replace(&self.path, &json).map_err(failed)
    }

    /// Writes the block for people.
    ///
    /// # Errors
    /// The writer's.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Addresses { role, edge, edge_tls, api, console, clickhouse, admin, .. } = &self.addresses;
        writeln!(out, "whence {role} is ready")?;
        let lines = [
            ("links", edge),
            ("links, TLS", edge_tls),
            ("events API", api),
            ("console", console),
            ("ClickHouse", clickhouse),
            ("operations", admin),
        ];
        for (name, address) in lines {
            if let Some(address) = address {
                writeln!(out, "  {name:<12}{address}")?;
            }
        }
        out.flush()
    }
}

impl Drop for AddressBook {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// `http://` before a bound address.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// What the process of a data folder has noted, if one has.
pub fn read(path: &Path) -> Option<Addresses> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// No sync: after a power cut there is no process to be found.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    File::create(&beside)?.write_all(bytes)?;
    fs::rename(&beside, path)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove the file of addresses");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_while_the_process_runs_and_says_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("addresses.json");
        let mut book = AddressBook::new(path.clone(), "up");
        assert_eq!(read(&path), None);
        book.note(|addresses| addresses.edge = Some("http://127.0.0.1:1".to_owned())).unwrap();
        let found = read(&path).unwrap();
        assert_eq!((found.pid, found.ready, &found), (std::process::id(), false, &book.addresses));
        drop(book);
        assert!(!path.exists());
    }

    #[test]
    fn people_see_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = AddressBook::new(dir.path().join("addresses.json"), "ingest");
        let noted = |addresses: &mut Addresses| {
            addresses.edge = Some("http://127.0.0.1:1".to_owned());
            addresses.admin = Some("http://127.0.0.1:2".to_owned());
        };
        book.note(noted).unwrap();
        let mut text = Vec::new();
        book.print(&mut text).unwrap();
        let expected =
            "whence ingest is ready\n  links       http://127.0.0.1:1\n  operations  http://127.0.0.1:2\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
