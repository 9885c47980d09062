//! The text of API keys, `whk_ID_SECRET`, and what is kept of it.

use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// What every key begins with.
pub(super) const PREFIX: &str = "whk_";

/// The hash that is kept of a key.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// A new key.
pub struct NewKey {
    /// Its id, which is not secret.
    pub id: String,
    /// The key as the caller is to send it.
    pub key: SecretString,
    /// What is kept of it.
    pub hash: [u8; 32],
}

/// Makes a key of 32 random bytes with an id of 8.
#[must_use]
pub fn new_key() -> NewKey {
    let id = hex::encode(rand::random::<[u8; 8]>());
    let key = format!("{PREFIX}{id}_{}", hex::encode(rand::random::<[u8; 32]>()));
    NewKey { hash: hash(&key), id, key: SecretString::from(key) }
}
