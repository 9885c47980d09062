//! Where a page of sorted rows ends, so that the next begins behind it: the values of the last row in the columns that the
//! rows are sorted by. What is added or taken away in the meantime moves no page.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clickhouse::query::Query;
use serde_json::Value;
use uuid::Uuid;
use whence_schemas::time::parse;

use crate::ask::Object;

/// Bytes of a cursor's text, at most: it is part of an address.
const TEXT_BYTES_MAX: usize = 4096;

/// A column that rows are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// Its name.
    pub name: String,
    /// ClickHouse's type of it; never NULL, which is neither before nor behind anything.
    pub kind: String,
    /// Whether the greatest comes first.
    pub is_descending: bool,
}

impl SortKey {
    /// Whether ClickHouse takes this text for a value of the column.
    fn takes(&self, text: &str) -> bool {
        match self.plain_kind() {
            "String" => true,
            "UUID" => text.parse::<Uuid>().is_ok(),
            "Bool" => text.parse::<bool>().is_ok(),
            "Date" | "Date32" => parse(&format!("{text}T00:00:00Z")).is_some(),
            kind if kind.starts_with("DateTime") => parse(text).is_some(),
            kind if kind.starts_with("UInt") => text.parse::<u64>().is_ok(),
            kind if kind.starts_with("Int") => text.parse::<i64>().is_ok(),
            kind if kind.starts_with("Float") => text.parse::<f64>().is_ok_and(f64::is_finite),
            _ => false,
        }
    }

    fn plain_kind(&self) -> &str {
        let inside = self.kind.strip_prefix("LowCardinality(").and_then(|kind| kind.strip_suffix(')'));
        inside.unwrap_or(&self.kind)
    }

    /// The parameter of this number as a value of the column.
    fn value(&self, at: usize) -> String {
        let kind = self.plain_kind();
        if kind.starts_with("DateTime") {
            return format!("parseDateTime64BestEffort({{after_{at}:String}}, 3, 'UTC')");
        }
        format!("CAST({{after_{at}:String}}, '{}')", kind.replace('\'', "\\'"))
    }
}

/// A place between two rows. As text it is one word, which means something to the same list alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Vec<String>);

impl Cursor {
    /// The place behind this row.
    #[must_use]
    pub fn behind(row: &Object, keys: &[SortKey]) -> Cursor {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Cursor(keys.iter().map(|key| row.get(&key.name).map_or_else(String::new, text)).collect())
    }

    /// Whether it is a place in a list that is sorted so.
    #[must_use]
    pub fn fits(&self, keys: &[SortKey]) -> bool {
        self.0.len() == keys.len() && self.0.iter().zip(keys).all(|(text, key)| key.takes(text))
    }

    /// The condition that a row stands behind it; [`Cursor::bind`] gives its parameters.
    #[must_use]
    pub fn condition(keys: &[SortKey]) -> String {
        let is_behind = |at: usize| {
            let SortKey { name, is_descending, .. } = &keys[at];
            let order = if *is_descending { '<' } else { '>' };
            let equal =
                keys[..at].iter().enumerate().map(|(at, key)| format!("{} = {}", key.name, key.value(at)));
            let last = format!("{name} {order} {}", keys[at].value(at));
            format!("({})", equal.chain([last]).collect::<Vec<_>>().join(" AND "))
        };
        format!("({})", (0..keys.len()).map(is_behind).collect::<Vec<_>>().join(" OR "))
    }

    /// The query with this place in [`Cursor::condition`].
    pub fn bind(&self, query: Query) -> Query {
        let named = self.0.iter().enumerate();
        named.fold(query, |query, (at, text)| query.param(&format!("after_{at}"), text))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(Value::from(self.0.clone()).to_string()))
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Cursor, ()> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ())?;
        let values: Vec<String> = serde_json::from_slice(&bytes).map_err(|_| ())?;
        if values.is_empty() { Err(()) } else { Ok(Cursor(values)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(name: &str, kind: &str, is_descending: bool) -> SortKey {
        SortKey { name: name.into(), kind: kind.into(), is_descending }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_fits_its_own_list_alone() {
        let keys = [
            key("leads", "Int64", true),
            key("at", "DateTime64(3, 'UTC')", false),
            key("name", "String", false),
        ];
        let row = json!({ "leads": -3, "at": "2026-12-31T23:40:00.125Z", "name": "a/b" });
        let cursor = Cursor::behind(row.as_object().unwrap(), &keys);
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        assert!(cursor.fits(&keys));
        assert!(!cursor.fits(&keys[..2]) && !cursor.fits(&[&keys[..], &keys[..1]].concat()));
        for (kind, wrong) in [
            ("Int64", "1 OR 1"),
            ("UInt64", "-1"),
            ("UUID", "7"),
            ("Date", "2026-02-31"),
            ("DateTime64(3, 'UTC')", "now"),
            ("Bool", "2"),
            ("Float64", "NaN"),
            ("Nullable(Int64)", "1"),
        ] {
            assert!(!Cursor(vec![wrong.into()]).fits(&[key("x", kind, false)]), "{kind} {wrong}");
        }
        for wrong in ["", "W10", "secret", "bnVsbA", &"A".repeat(5000)] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn what_stands_behind_is_sorted_as_the_keys_say() {
        let keys = [key("n", "Int64", true), key("w", "LowCardinality(String)", false)];
        assert_eq!(
            Cursor::condition(&keys),
            "((n < CAST({after_0:String}, 'Int64')) OR (n = CAST({after_0:String}, 'Int64') AND \
             w > CAST({after_1:String}, 'String')))"
        );
    }
}
