//! Signatures of the Standard Webhooks specification: `webhook-signature: v1,BASE64[ v1,BASE64…]`, each an
//! HMAC-SHA256 of `webhook-id.webhook-timestamp.BODY`, one for each secret, so that a receiver may have any of
//! them. A secret is `whsec_BASE64`; the prefix may be left out. Source: standard-webhooks/spec, "Signature scheme".

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// A secret, ready to sign with.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// The secret is not `whsec_` and Base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not whsec_ and Base64 text")]
pub struct NoSecret;

impl SigningKey {
    /// The key that this secret stands for.
    ///
    /// # Errors
    /// [`NoSecret`]: the secret is not Base64 text, or is empty.
    pub fn of(secret: &[u8]) -> Result<SigningKey, NoSecret> {
        let secret = secret.strip_prefix(b"whsec_").unwrap_or(secret);
        let key = STANDARD.decode(secret).map_err(|_| NoSecret)?;
        if key.is_empty() { Err(NoSecret) } else { Ok(SigningKey(key)) }
    }

    fn signature(&self, parts: &[&[u8]]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| mac.update(part));
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The value of `webhook-signature`: one signature for each key, in their order. `timestamp` is the value of
/// `webhook-timestamp`, seconds since the epoch.
#[must_use]
pub fn sign(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    keys.iter().map(|key| key.signature(&parts)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_and_a_second_key() {
        // Source: the specification's own libraries, `test_sign_function`.
        let key = SigningKey::of(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, at, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&key), id, at, body), one);
        let other = SigningKey::of(b"c2VjcmV0IG9mIHRoZSB0ZXN0cw==").unwrap();
        let both = sign(&[key, other], id, at, body);
        assert!(both.starts_with(one) && both[one.len()..].starts_with(" v1,"), "{both}");
    }

    #[test]
    fn what_is_no_secret_is_said_and_never_shown() {
        for wrong in ["", "whsec_", "whsec_!", "plain text"] {
            assert_eq!(SigningKey::of(wrong.as_bytes()).unwrap_err(), NoSecret, "{wrong}");
        }
        assert_eq!(format!("{:?}", SigningKey(vec![1])), "SigningKey");
    }
}
