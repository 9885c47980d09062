//! What can go wrong between this process and the engine.
//!
//! An `Exception` is the engine's own answer and carries ClickHouse's code; everything else means the
//! engine could not be asked.

use std::io;
use std::path::PathBuf;

/// A ClickHouse exception: `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Exception {
    /// ClickHouse's error code; 1001 (`STD_EXCEPTION`) where the text names none.
    pub code: u16,
    /// The whole text as ClickHouse words it, on one or more lines, without a trailing line feed.
    pub text: String,
}

impl Exception {
    /// Code of an exception that did not come from ClickHouse's own code.
    pub const STD_EXCEPTION: u16 = 1001;

    /// An exception of this crate's own, worded as ClickHouse words its own.
    #[must_use]
    pub fn new(code: u16, name: &str, message: &str) -> Self {
        Self { code, text: format!("Code: {code}. DB::Exception: {message}. ({name})") }
    }

    /// What is said of a setting that the engine does not have.
    pub(crate) fn unknown_setting(name: &str) -> Self {
        Self::new(115, "UNKNOWN_SETTING", &format!("Unknown setting '{name}'"))
    }

    /// Reads the code out of an engine's message.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim_end();
        let text = text.strip_prefix("Error: ").unwrap_or(text);
        let code = text
            .strip_prefix("Code: ")
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(code, _)| code.parse().ok());
        match code {
            Some(code) => Self { code, text: once(text, code).to_owned() },
            None => Self::new(Self::STD_EXCEPTION, "STD_EXCEPTION", text.trim_end_matches('.')),
        }
    }
}

/// The library wraps some of its errors in themselves: `Code: 73. DB::Exception: Code: 73. DB::Exception: … (NAME). (NAME)`.
/// What is inside is what ClickHouse says.
fn once(mut text: &str, code: u16) -> &str {
    let prefix = format!("Code: {code}. DB::Exception: ");
    while let Some(inner) = text.strip_prefix(&prefix)
        && inner.starts_with(&prefix)
        && let Some(end) = inner.rfind(". (")
    {
        text = &inner[..end];
    }
    text
}

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine answered with an exception.
    #[error(transparent)]
    Exception(#[from] Exception),
    /// The library is missing, or is not chdb.
    #[error("cannot load the engine library {path}", path = path.display())]
    Load {
        /// The library that was named.
        path: PathBuf,
        /// What the dynamic loader said.
        source: libloading::Error,
    },
    /// The data folder cannot be prepared.
    #[error("cannot prepare the data folder {path}", path = path.display())]
    DataFolder {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Standard input cannot be closed to the engine.
    #[error("cannot put /dev/null in the place of standard input")]
    Input {
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has the data folder open: the engine allows one.
    #[error("the data folder {path} is in use by another process", path = path.display())]
    InUse {
        /// The folder concerned.
        path: PathBuf,
    },
    /// `chdb_connect` refused; its reason goes to the engine's log only.
    #[error("the engine refused a connection; its log is in {log}", log = log.display())]
    Connect {
        /// The engine's log file.
        log: PathBuf,
    },
    /// Sessions are still open, so the engine cannot be stopped in order.
    #[error("the engine still has open sessions")]
    Busy,
    /// A name or value for the engine has a NUL byte in it.
    #[error("a setting or parameter contains a NUL byte")]
    Nul,
}

#[cfg(test)]
mod tests {
    use super::Exception;

    #[test]
    fn an_engine_message_yields_its_code_and_keeps_its_text() {
        let text = "Code: 60. DB::Exception: Table x.y does not exist. (UNKNOWN_TABLE)";
        assert_eq!(Exception::parse(text), Exception { code: 60, text: text.into() });
        assert_eq!(Exception::parse(&format!("Error: {text}\n")).code, 60);
    }

    #[test]
    fn a_message_that_is_wrapped_in_itself_is_told_once() {
        let inner =
            "Code: 73. DB::Exception: Unknown format X. Maybe: Y. (UNKNOWN_FORMAT) (version 26.7.2.1)";
        let outer = format!("Code: 73. DB::Exception: {inner}. (UNKNOWN_FORMAT) (version 26.7.2.1)");
        let outer = format!("Code: 73. DB::Exception: {outer}. (UNKNOWN_FORMAT)");
        assert_eq!(Exception::parse(&outer), Exception { code: 73, text: inner.into() });
        let other = "Code: 73. DB::Exception: Code: 74. DB::Exception: x. (Y). (Z)";
        assert_eq!(Exception::parse(other).text, other);
    }

    #[test]
    fn a_message_without_a_code_becomes_a_std_exception() {
        let exception = Exception::parse("Invalid or closed connection");
        assert_eq!(exception.code, 1001);
        assert_eq!(
            exception.text,
            "Code: 1001. DB::Exception: Invalid or closed connection. (STD_EXCEPTION)"
        );
    }
}
