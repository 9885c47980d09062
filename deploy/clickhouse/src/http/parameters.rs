//! The parameters and headers of ClickHouse's HTTP interface, and what this server does with each of them.
//!
//! What would change the meaning of an answer is done or refused by name; what is passed over says why it changes none.
//! The list is whole: what is not on it is a parameter of the statement (`param_x`), a setting of the engine's (`sql::allow`),
//! or refused as unknown. `docs/clickhouse-http.md` is written from it. Source: ClickHouse's documentation of its HTTP
//! interface and of the settings `http_*`, and what `HTTPHandler` reserves, 26.7.

use secrecy::SecretString;

use crate::engine::Exception;
use crate::native::{Version, WITH_LOW_CARDINALITY};

/// What is done with a parameter or a header.
#[derive(Clone, Copy)]
pub enum Effect {
    /// What ClickHouse does.
    Taken(fn(&mut Parameters, &str) -> Result<(), Exception>),
    /// Nothing, because no answer would be another one.
    PassedOver,
    /// Refused, except for values that change nothing.
    Refused {
        /// ClickHouse's code and its name.
        exception: (u16, &'static str),
        /// Values that are passed over.
        but: &'static [&'static str],
    },
}

/// A parameter of ClickHouse's HTTP interface, or a setting of its HTTP side, which the engine does not read.
pub struct Parameter {
    /// Its name; of a header, in lower case.
    pub name: &'static str,
    /// What is done with it.
    pub effect: Effect,
    /// What that means, or why, for people.
    pub note: &'static str,
}

const fn taken(
    name: &'static str,
    take: fn(&mut Parameters, &str) -> Result<(), Exception>,
    note: &'static str,
) -> Parameter {
    Parameter { name, effect: Effect::Taken(take), note }
}

const fn passed(name: &'static str, note: &'static str) -> Parameter {
    Parameter { name, effect: Effect::PassedOver, note }
}

const fn refused(name: &'static str, but: &'static [&'static str], note: &'static str) -> Parameter {
    Parameter { name, effect: Effect::Refused { exception: (48, "NOT_IMPLEMENTED"), but }, note }
}

const NO: &[&str] = &["0", "false", ""];

/// Of URLs and forms, sorted by name.
pub const PARAMETERS: &[Parameter] = &[
    taken(
        "buffer_size",
        buffer_bytes,
        "a longer result is streamed, a shorter one comes whole; never less than 256 KiB, never more than 64 MiB",
    ),
    passed(
        "cancel_http_readonly_queries_on_client_close",
        "a statement whose client has gone is always ended, except for the owner's inserts",
    ),
    taken(
        "client_protocol_version",
        client_protocol_version,
        "results in format Native have this version's form; except for states of aggregate functions, which are refused",
    ),
    passed("close_session", "there is no session to close"),
    taken(
        "compress",
        |said, value| flag(&mut said.compress, "compress", value),
        "results in ClickHouse's blocks",
    ),
    taken("database", |said, value| text(&mut said.database, value), "where names without one are looked up"),
    taken(
        "decompress",
        |said, value| flag(&mut said.decompress, "decompress", value),
        "bodies in ClickHouse's blocks",
    ),
    taken(
        "default_format",
        |said, value| text(&mut said.default_format, value),
        "of results whose statement names none",
    ),
    taken(
        "enable_http_compression",
        |said, value| flag(said.http_compression.get_or_insert_default(), "enable_http_compression", value),
        "with 0, results are not packed whatever the client accepts",
    ),
    passed("http_headers_progress_interval_ms", "no progress is reported"),
    passed("http_max_field_value_size", "fields have bounds of this server's own"),
    passed("http_max_uri_size", "the same of URLs"),
    passed("http_native_compression_disable_checksumming_on_decompress", "checksums are always compared"),
    passed("http_receive_timeout", "bodies have bounds of this server's own"),
    taken("http_response_buffer_size", buffer_bytes, "the same as buffer_size"),
    refused("http_response_headers", &["", "{}"], "no headers of the client's choice"),
    passed("http_send_timeout", "results have bounds of this server's own"),
    taken("http_wait_end_of_query", wait_end_of_query, "the same as wait_end_of_query"),
    refused("http_write_exception_in_output_format", NO, "errors are plain text in every format"),
    passed("http_zlib_compression_level", "changes the size alone"),
    passed("log_comment", "statements are not logged"),
    taken(
        "password",
        |said, value| {
            said.password = Some(value.into());
            Ok(())
        },
        "of the account",
    ),
    refused("profile", &[], "there are no profiles: give the settings"),
    taken(
        "query",
        |said, value| {
            value.clone_into(&mut said.query);
            Ok(())
        },
        "the statement, or its beginning",
    ),
    taken(
        "query_id",
        |said, value| text(&mut said.query_id, value),
        "comes back in X-ClickHouse-Query-Id; not in system.processes, and two of a name may run",
    ),
    passed("quota_key", "there are no quotas"),
    refused("role", &[], "what may be asked follows from the account"),
    passed("send_progress_in_http_headers", "no progress is reported; the summary comes with the result"),
    Parameter {
        name: "session_check",
        effect: Effect::Refused { exception: (372, "SESSION_NOT_FOUND"), but: NO },
        note: "no session is kept",
    },
    passed("session_id", "a session would keep SET, USE and temporary tables, and each of these is refused"),
    passed("session_timeout", "no session is kept"),
    passed("stacktrace", "errors have no stack traces"),
    taken("user", |said, value| text(&mut said.user, value), "of the account"),
    taken(
        "wait_end_of_query",
        wait_end_of_query,
        "the result is held back until the statement has ended; up to 64 MiB",
    ),
];

/// Headers whose name begins with `X-ClickHouse-`, in lower case; others of the name are refused.
pub const HEADERS: &[Parameter] = &[
    passed("x-clickhouse-100-continue", "bodies are asked for at once"),
    taken(
        "x-clickhouse-database",
        |said, value| unless(&mut said.database, value),
        "the parameter, where the URL has none",
    ),
    taken(
        "x-clickhouse-format",
        |said, value| unless(&mut said.default_format, value),
        "default_format, where the URL has none",
    ),
    taken(
        "x-clickhouse-key",
        |said, value| unless(&mut said.password, value),
        "password, where the URL has none",
    ),
    taken(
        "x-clickhouse-query-id",
        |said, value| unless(&mut said.query_id, value),
        "query_id, where the URL has none",
    ),
    passed("x-clickhouse-quota", "there are no quotas"),
    Parameter {
        name: "x-clickhouse-ssl-certificate-auth",
        effect: Effect::Refused { exception: (516, "AUTHENTICATION_FAILED"), but: &["off", ""] },
        note: "accounts have passwords, no certificates",
    },
    taken("x-clickhouse-user", |said, value| unless(&mut said.user, value), "user, where the URL has none"),
];

/// Parameters, of a URL, a form and headers, sorted out.
#[derive(Debug, Default)]
pub struct Parameters {
    /// The statement, or the head of it.
    pub query: String,
    /// The database that unqualified names are looked up in.
    pub database: Option<String>,
    /// The format of a result whose statement names none.
    pub default_format: Option<String>,
    /// Settings, in the order given.
    pub settings: Vec<(String, String)>,
    /// Values of `{name:Type}`.
    pub params: Vec<(String, String)>,
    /// Hold the result back until the statement has ended.
    pub wait_end_of_query: bool,
    /// Hold so many bytes of the result back.
    pub buffer_bytes: usize,
    /// The form of `Native` that the client reads.
    pub version: Version,
    pub(super) query_id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) compress: bool,
    pub(super) decompress: bool,
    pub(super) http_compression: Option<bool>,
}

impl Parameters {
    /// Takes one parameter of a URL or a form; a later one of the same name counts.
    ///
    /// # Errors
    /// One that is refused, or a value that it cannot have.
    pub fn take(&mut self, name: &str, value: String) -> Result<(), Exception> {
        match PARAMETERS.iter().find(|known| known.name == name) {
            Some(known) => known.apply(self, &value),
            None => {
                let (list, name) = match name.strip_prefix("param_") {
                    Some(name) => (&mut self.params, name),
                    None => (&mut self.settings, name),
                };
                // Given twice, a setting is an error to the library.
                list.retain(|(given, _)| given != name);
                list.push((name.to_owned(), value));
                Ok(())
            }
        }
    }

    /// Takes one header, after the URL; `name` is in lower case. Headers that are not ClickHouse's are ignored.
    ///
    /// # Errors
    /// One that is refused or not known.
    pub fn take_header(&mut self, name: &str, value: &str) -> Result<(), Exception> {
        match HEADERS.iter().find(|known| known.name == name) {
            Some(known) => known.apply(self, value),
            None => {
                let message = format!("The header {name} is not served");
                Err(Exception::new(48, "NOT_IMPLEMENTED", &message))
            }
        }
    }

    /// Looks for settings that the engine does not have. A table that would come with the request is named as such.
    ///
    /// # Errors
    /// 115, or 48 for an external table.
    pub fn check_known(&self, is_known: impl Fn(&str) -> bool) -> Result<(), Exception> {
        let Some((name, _)) = self.settings.iter().find(|(name, _)| !is_known(name)) else {
            return Ok(());
        };
        if ["_structure", "_types", "_format"].iter().any(|suffix| name.ends_with(suffix)) {
            return Err(external_table(name));
        }
        Err(Exception::unknown_setting(name))
    }
}

/// What is said of a table that comes with the request, by the part or parameter that brings it.
pub fn external_table(name: &str) -> Exception {
    let message = format!(
        "External tables are not served ({name}): write the values into the statement, or a table of scratch"
    );
    Exception::new(48, "NOT_IMPLEMENTED", &message)
}

impl Parameter {
    fn apply(&self, said: &mut Parameters, value: &str) -> Result<(), Exception> {
        match self.effect {
            Effect::Taken(take) => take(said, value),
            Effect::PassedOver => Ok(()),
            Effect::Refused { but, .. } if but.iter().any(|one| value.eq_ignore_ascii_case(one)) => Ok(()),
            Effect::Refused { exception: (code, label), .. } => {
                let message = format!("{} is not served: {}", self.name, self.note);
                Err(Exception::new(code, label, &message))
            }
        }
    }
}

fn text(place: &mut Option<String>, value: &str) -> Result<(), Exception> {
    *place = Some(value.to_owned());
    Ok(())
}

/// What the URL says counts before a header.
fn unless<T: for<'value> From<&'value str>>(place: &mut Option<T>, value: &str) -> Result<(), Exception> {
    place.get_or_insert_with(|| value.into());
    Ok(())
}

fn flag(place: &mut bool, name: &str, value: &str) -> Result<(), Exception> {
    *place = match value.to_ascii_lowercase().as_str() {
        "1" | "true" => true,
        "0" | "false" | "" => false,
        _ => return Err(wrong(name, "0 or 1")),
    };
    Ok(())
}

fn wait_end_of_query(said: &mut Parameters, value: &str) -> Result<(), Exception> {
    flag(&mut said.wait_end_of_query, "wait_end_of_query", value)
}

fn buffer_bytes(said: &mut Parameters, value: &str) -> Result<(), Exception> {
    said.buffer_bytes = value.parse().map_err(|_| wrong("buffer_size", "a number of bytes"))?;
    Ok(())
}

fn client_protocol_version(said: &mut Parameters, value: &str) -> Result<(), Exception> {
    let wanted = || wrong("client_protocol_version", &format!("0, or {WITH_LOW_CARDINALITY} and more"));
    said.version = Version::read(value).ok_or_else(wanted)?;
    Ok(())
}

fn wrong(name: &str, wanted: &str) -> Exception {
    Exception::new(36, "BAD_ARGUMENTS", &format!("{name} has to be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str, value: &str) -> Option<u16> {
        Parameters::default().take(name, value.to_owned()).err().map(|error| error.code)
    }

    #[test]
    fn every_parameter_is_taken_passed_over_or_refused_by_its_name() {
        for list in [PARAMETERS, HEADERS] {
            assert!(list.is_sorted_by_key(|known| known.name));
            for known in list {
                let mut said = Parameters::default();
                let value = if known.name == "client_protocol_version" { "54460" } else { "1" };
                let outcome = known.apply(&mut said, value);
                match known.effect {
                    Effect::Taken(_) => {
                        assert_eq!(outcome, Ok(()));
                        let changed = format!("{said:?}") != format!("{:?}", Parameters::default());
                        assert!(changed, "{} is taken and changes nothing", known.name);
                    }
                    Effect::PassedOver => {
                        assert_eq!(format!("{said:?}"), format!("{:?}", Parameters::default()))
                    }
                    Effect::Refused { but, .. } => {
                        assert!(outcome.unwrap_err().text.contains(known.name));
                        for value in but {
                            assert_eq!(known.apply(&mut said, value), Ok(()), "{}", known.name);
                        }
                    }
                }
                assert!(said.settings.is_empty(), "{} reaches the engine", known.name);
            }
        }
    }

    #[test]
    fn what_is_given_twice_counts_the_last_time() {
        let mut said = Parameters::default();
        for (name, value) in [
            ("max_threads", "1"),
            ("param_a", "1"),
            ("database", "a"),
            ("max_threads", "2"),
            ("param_a", "2"),
            ("database", "b"),
        ] {
            said.take(name, value.to_owned()).unwrap();
        }
        assert_eq!(said.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert_eq!(said.params, [("a".to_owned(), "2".to_owned())]);
        assert_eq!(said.database.as_deref(), Some("b"));
    }

    #[test]
    fn a_value_that_a_parameter_cannot_have_is_refused() {
        for (name, value) in [
            ("client_protocol_version", "new"),
            ("client_protocol_version", "54404"),
            ("compress", "yes"),
            ("buffer_size", "-1"),
            ("wait_end_of_query", "maybe"),
        ] {
            assert_eq!(code(name, value), Some(36), "{name}={value}");
        }
        assert_eq!((code("session_check", "1"), code("session_check", "0")), (Some(372), None));
    }

    #[test]
    fn what_the_engine_does_not_know_is_unknown_or_a_table_that_comes_along() {
        let unknown = |name: &str| {
            let mut said = Parameters::default();
            said.take(name, "1".to_owned()).unwrap();
            said.check_known(|name| name == "max_threads").err().map(|error| error.code)
        };
        assert_eq!(unknown("max_threads"), None);
        assert_eq!(unknown("param_anything"), None);
        assert_eq!(unknown("nonsense"), Some(115));
        for name in ["t_structure", "t_types", "t_format"] {
            assert_eq!(unknown(name), Some(48), "{name}");
        }
    }
}
