//! Secrets and the admin key of a process, made at its first start where they may be.

use std::io::{self, IsTerminal, Write};

use secrecy::ExposeSecret;
use whence_ingest::api::admin_key::FILE_NAME;
use whence_ingest::api::{AdminKey, ApiSettings, ensure_admin_key};

use crate::failure::Failure;
use crate::process::Process;
use crate::secrets::{self, Secrets};
use crate::settings::SecretsSettings;

/// The given secrets, or the folder's own.
///
/// # Errors
/// The secrets can't be used.
pub fn secrets(settings: &SecretsSettings, process: &Process) -> Result<Secrets, Failure> {
    Ok(match &settings.secrets_file {
        Some(path) => secrets::load(path)?,
        None => secrets::ensure(&process.data.secrets())?,
    })
}

/// The given admin key, or the folder's own. A key that was made just now is shown on standard output, this once,
/// where that is a terminal: what is kept of it elsewhere (a service's log, a container's) is read by many.
///
/// # Errors
/// It can't be used.
pub fn admin_key(settings: &ApiSettings, process: &Process) -> Result<AdminKey, Failure> {
    let mut key = ensure_admin_key(process.data.path(), settings.api_admin_key.as_ref())?;
    if let Some(shown) = key.shown.take() {
        let mut out = io::stdout().lock();
        let path = process.data.path().join(FILE_NAME);
        let path = path.display();
        let printed = match out.is_terminal() {
            true => writeln!(
                out,
                "admin API key, shown this once: {}\nit is kept in {path}",
                shown.expose_secret()
            ),
            false => writeln!(out, "the admin API key was made; it is in {path}, for its owner only"),
        };
        let printed = printed.and_then(|()| out.flush());
        if let Err(error) = printed {
            tracing::warn!(%error, "cannot write to standard output; the admin key is in the data folder");
        }
    }
    Ok(key)
}
