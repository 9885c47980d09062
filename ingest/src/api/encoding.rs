//! Bodies as they arrive: compressed or not, with a byte order mark or without; and the one JSON parser. Pure.

use super::problem::{Code, Problem};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use hyper::{HeaderMap, header::CONTENT_ENCODING};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::{fmt, io::Read};
use whence_runtime::http::BodyError;

/// What stands before the text of some editors and libraries: U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Characters of a name that is told.
const NAME_CHARS_MAX: usize = 64;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
}

impl Encoding {
    /// What `Content-Encoding` says (RFC 9110, 8.4).
    ///
    /// # Errors
    /// 415 for any other encoding, by its name.
    pub fn of(headers: &HeaderMap) -> Result<Encoding, Problem> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let named =
            values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let mut found = Encoding::Identity;
        // Charsets are no encodings, but are often given as one.
        let is_none = |name: &[u8]| {
            ["", "identity", "utf-8", "utf8"].iter().any(|none| name.eq_ignore_ascii_case(none.as_bytes()))
        };
        for name in named.filter(|name| !is_none(name)) {
            let is_gzip = name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip");
            if !is_gzip || found == Encoding::Gzip {
                let name: String = String::from_utf8_lossy(name).chars().take(NAME_CHARS_MAX).collect();
                let detail = format_args!(
                    "Content-Encoding {name:?} is not taken: send gzip, once, or the body as it is"
                );
                return Err(Problem::new(Code::Encoding, detail));
            }
            found = Encoding::Gzip;
        }
        Ok(found)
    }

    /// The body as it was before.
    ///
    /// # Errors
    /// 413 where it has more than `bytes_max`, 400 where it is not what the header says.
    pub fn decoded(self, body: Bytes, bytes_max: usize) -> Result<Bytes, Problem> {
        let body = match self {
            Encoding::Identity => body,
            Encoding::Gzip if body.is_empty() => body,
            Encoding::Gzip => {
                let mut decoded = Vec::new();
                let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
                MultiGzDecoder::new(&*body).take(limit).read_to_end(&mut decoded).map_err(|error| {
                    Problem::new(Code::BodyBroken, format_args!("the body is not gzip to its end: {error}"))
                })?;
                if decoded.len() > bytes_max {
                    return Err(BodyError::TooLarge { bytes_max }.into());
                }
                decoded.into()
            }
        };
        Ok(if body.starts_with(BYTE_ORDER_MARK) { body.slice(BYTE_ORDER_MARK.len()..) } else { body })
    }
}

/// A JSON value of which no object has a field twice: readers differ in which of the two they take.
pub(super) struct Unambiguous(pub Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unambiguous, D::Error> {
        Any.deserialize(deserializer).map(Unambiguous)
    }
}

struct Any;

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Any)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if map.contains_key(&name) {
                let name: String = name.chars().take(NAME_CHARS_MAX).collect();
                return Err(A::Error::custom(format_args!("the field {name:?} is there twice")));
            }
            map.insert(name, fields.next_value_seed(Any)?);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, String> {
        serde_json::from_str::<Unambiguous>(text).map(|read| read.0).map_err(|error| error.to_string())
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":[{"a":1,"b":2,"\u0061":3}]}]"#] {
            assert!(
                read(text).unwrap_err().starts_with("the field \"a\" is there twice at line 1 column "),
                "{text}"
            );
        }
        let value = r#"{"a":[null,true,-1,18446744073709551615,1.5,"x",{"a":{}}],"b":{"a":1}}"#;
        assert_eq!(read(value).unwrap(), serde_json::from_str::<Value>(value).unwrap());
        assert!(read(&"[".repeat(1000)).is_err());
    }

    proptest! {
        #[test]
        fn all_else_is_read_as_by_the_library(text in r#"[\[\]{}:,"a0-9.eE \\u-]{0,20}"#) {
            let is_twice = |error: &String| error.contains("is there twice");
            match (read(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(one), Ok(other)) => prop_assert_eq!(one, other),
                (Err(error), other) => prop_assert!(other.is_err() || is_twice(&error)),
                (Ok(_), Err(error)) => prop_assert!(false, "{}", error),
            }
        }
    }

    #[test]
    fn encodings_are_taken_by_name() {
        let of = |value: &'static str| {
            Encoding::of(&HeaderMap::from_iter([(CONTENT_ENCODING, value.parse().unwrap())]))
                .map_err(|p| p.code)
        };
        assert_eq!((of(""), of("identity, UTF-8")), (Ok(Encoding::Identity), Ok(Encoding::Identity)));
        assert_eq!((of("GZip"), of("identity, x-gzip")), (Ok(Encoding::Gzip), Ok(Encoding::Gzip)));
        for other in ["br", "deflate", "zstd", "gzip, gzip", "gzip, br"] {
            assert_eq!(of(other), Err(Code::Encoding), "{other}");
        }
        let marked = Encoding::Identity.decoded(Bytes::from_static(b"\xef\xbb\xbf{}"), 10).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&marked).unwrap(), json!({}));
    }
}
