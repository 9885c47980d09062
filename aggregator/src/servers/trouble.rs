//! Why ClickHouse has not answered as it should, in words that say what to do, and whether waiting can fix it.

use crate::{chain, clickhouse::code};
use clickhouse::error::Error;
use whence_runtime::tls::{self, Names};

/// The settings that words name.
pub(super) const NAMES: Names = Names {
    authorities: "clickhouse-ca-file",
    identity: Some("clickhouse-certificate-file and clickhouse-key-file"),
};
/// What [`front`](super::front) begins with where it has to answer.
pub(super) const NOBODY: &str = "no clickhouse server has answered";
/// Status codes with which proxies refuse a client.
const REFUSALS: [&str; 4] =
    ["401 Unauthorized", "401 Authorization Required", "403 Forbidden", "Proxy Authentication Required"];
/// What is quoted of an answer.
const QUOTED_CHARS_MAX: usize = 300;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    /// What happened and what to do.
    pub text: String,
    /// Whether only another setting, password or grant fixes it.
    pub is_final: bool,
}

impl Trouble {
    fn lasting(text: impl Into<String>) -> Trouble {
        Trouble { text: text.into(), is_final: true }
    }

    fn passing(text: impl Into<String>) -> Trouble {
        Trouble { text: text.into(), is_final: false }
    }
}

/// What an error of a client means.
#[must_use]
pub fn trouble(error: &Error) -> Trouble {
    match error {
        Error::Network(source) => of_network(source.as_ref()).1,
        Error::BadResponse(text) => of_answer(text),
        Error::TimedOut => Trouble::passing("it does not answer in time"),
        other => Trouble::passing(chain(other)),
    }
}

/// What an error of a connection means, and a word for it.
pub(super) fn of_network(error: &(dyn std::error::Error + 'static)) -> (&'static str, Trouble) {
    if let Some(cause) = tls::cause(error, NAMES) {
        return (cause.word, Trouble { text: cause.text, is_final: cause.is_final });
    }
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let is_unreadable =
        causes.any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse));
    match is_unreadable {
        true => (
            "no_http",
            Trouble::lasting(
                "it speaks no HTTP at this port: use https:// if it speaks TLS, or ClickHouse's port for HTTP (8123, \
                 with TLS 8443; 9000 and 9440 are for another protocol)",
            ),
        ),
        false => ("broken", Trouble::passing(format!("the connection broke ({})", chain(error)))),
    }
}

/// ClickHouse's own codes, or whatever somebody between says.
fn of_answer(text: &str) -> Trouble {
    if text.starts_with(NOBODY) {
        return Trouble::passing(text);
    }
    let quoted: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let quoted: String = quoted.chars().take(QUOTED_CHARS_MAX).collect();
    match code(text) {
        Some(516 | 193 | 192 | 194) => Trouble::lasting(
            "it does not accept user and password (authentication failed): check clickhouse-user and clickhouse-password",
        ),
        Some(497) => Trouble::lasting(format!(
            "the user lacks a right ({quoted}): an administrator grants what `whence migrate --grants` prints"
        )),
        Some(_) => Trouble::passing(quoted),
        None if text.contains("HTTP request was sent to HTTPS port") => {
            Trouble::lasting("it speaks TLS at this port: use https://")
        }
        None if REFUSALS.iter().any(|refusal| quoted.contains(refusal)) => {
            Trouble::lasting(format!("something before it does not let whence through ({quoted})"))
        }
        None => Trouble::passing(quoted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waiting_can_not_mend_is_told_from_what_it_can() {
        let said = |text: &str| trouble(&Error::BadResponse(text.to_owned()));
        for (text, word) in [
            ("Code: 516. DB::Exception: default: Authentication failed", "clickhouse-password"),
            ("Code: 497. DB::Exception: ann: Not enough privileges. grant INSERT(x)", "--grants"),
            ("400 The plain HTTP request was sent to HTTPS port", "https://"),
            ("403 Forbidden", "403"),
            ("<html> <head><title>401 Authorization Required</title></head>", "something before it"),
        ] {
            let trouble = said(text);
            assert!(trouble.is_final && trouble.text.contains(word), "{text}: {trouble:?}");
        }
        for text in
            ["Code: 242. DB::Exception: Table is in readonly mode", "503 Service Unavailable", "<html>…"]
        {
            assert!(!said(text).is_final, "{text}");
        }
        assert!(!trouble(&Error::TimedOut).is_final);
        assert!(said(&"x".repeat(100_000)).text.len() < 1000);
    }
}
