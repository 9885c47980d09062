//! Secrets and the admin key of a process, made at its first start where they may be.

use std::io::{self, Write};

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
/// They can't be used.
pub fn secrets(settings: &SecretsSettings, process: &Process) -> Result<Secrets, Failure> {
    Ok(match &settings.secrets_file {
        Some(path) => secrets::load(path)?,
        None => secrets::ensure(&process.data.secrets())?,
    })
}

/// The given admin key, or the folder's own. A key that was made just now is shown on standard output, this
/// once.
///
/// # Errors
/// It can't be used.
pub fn admin_key(settings: &ApiSettings, process: &Process) -> Result<AdminKey, Failure> {
    let mut key = ensure_admin_key(process.data.path(), settings.api_admin_key.as_ref())?;
    if let Some(shown) = key.shown.take() {
        let mut out = io::stdout().lock();
        let printed = writeln!(out, "admin API key, shown this once: {}", shown.expose_secret())
            .and_then(|()| writeln!(out, "it is kept in {}", process.data.path().join(FILE_NAME).display()))
            .and_then(|()| out.flush());
        if let Err(error) = printed {
            tracing::warn!(%error, "nobody reads standard output; the admin key is in the data folder");
        }
    }
    Ok(key)
}
