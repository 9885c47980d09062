//! Moments as callers write them: RFC 3339 text, or whole milliseconds since the epoch.

use super::{json::Fields, problem::Code};
use serde_json::Value;
use whence_schemas::time::UnixMs;
use whence_webhooks::moment::MS_MIN;

pub use whence_schemas::time::parse;

/// Reads the field `name` as a moment that can be stored (1970 to 2299).
pub fn field(fields: &mut Fields<'_>, name: &str) -> Option<UnixMs> {
    let moment = match fields.take(name)? {
        Value::String(text) => match parse(&text) {
            Some(moment) => moment,
            None => {
                fields.wrong(name, Code::Invalid, "is not an RFC 3339 time such as 2026-01-31T12:00:00Z");
                return None;
            }
        },
        Value::Number(number) => match number.as_i64() {
            Some(ms) if !(0..MS_MIN).contains(&ms) => UnixMs(ms),
            Some(_) => {
                fields.wrong(name, Code::Invalid, "must be in milliseconds, and looks like seconds");
                return None;
            }
            None => {
                fields.wrong(name, Code::WrongType, "must be whole milliseconds since 1970");
                return None;
            }
        },
        _ => {
            fields.wrong(name, Code::WrongType, "must be an RFC 3339 time or milliseconds since 1970");
            return None;
        }
    };
    if !moment.is_storable() {
        fields.wrong(name, Code::Invalid, "must lie between 1970 and 2299");
        return None;
    }
    Some(moment)
}
