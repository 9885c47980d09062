//! Names of types, as far as they tell how a column's data is laid out.

/// Types in types; ClickHouse's own bound for the nesting of types in text is far beyond what anybody has.
const DEPTH_MAX: usize = 100;

/// A type, by the shape of its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// So many bytes a row.
    Fixed(u64),
    /// A varint and so many bytes, a row.
    Text,
    /// A byte a row, and then the values.
    Nullable(Box<Kind>),
    /// A dictionary and indexes into it.
    LowCardinality(Box<Kind>),
    /// Where each row ends (`u64`), and then the elements.
    Array(Box<Kind>),
    /// One after the other.
    Tuple(Vec<Kind>),
    /// Which of them each row has (`u8`), and then each one's values.
    Variant(Vec<Kind>),
    /// Types that the data itself names.
    Dynamic,
    /// Paths that the type names, and then others that the data names.
    Json(Vec<Kind>),
}

/// The type of this name, if its data can be stepped over.
pub fn parse(name: &str) -> Option<Kind> {
    parse_at(name.trim(), 0)
}

fn parse_at(name: &str, depth: usize) -> Option<Kind> {
    if depth > DEPTH_MAX {
        return None;
    }
    let (base, arguments) = match name.split_once('(') {
        Some((base, rest)) => (base, split(rest.strip_suffix(')')?)),
        None => (name, Vec::new()),
    };
    let inner = |argument: &str| parse_at(argument, depth + 1);
    let only = || inner(arguments.first().filter(|_| arguments.len() == 1)?).map(Box::new);
    let all = |parts: &[&str]| parts.iter().map(|part| inner(unnamed(part))).collect::<Option<Vec<_>>>();
    let point = || Kind::Tuple(vec![Kind::Fixed(8), Kind::Fixed(8)]);
    let array = |kind| Kind::Array(Box::new(kind));
    Some(match base {
        "UInt8" | "Int8" | "Bool" | "Enum8" | "Nothing" => Kind::Fixed(1),
        "UInt16" | "Int16" | "BFloat16" | "Date" | "Enum16" => Kind::Fixed(2),
        "UInt32" | "Int32" | "Float32" | "Date32" | "DateTime" | "IPv4" | "Time" => Kind::Fixed(4),
        "UInt64" | "Int64" | "Float64" | "DateTime64" | "Time64" => Kind::Fixed(8),
        "UInt128" | "Int128" | "UUID" | "IPv6" => Kind::Fixed(16),
        "UInt256" | "Int256" => Kind::Fixed(32),
        "FixedString" => Kind::Fixed(arguments.first()?.parse().ok()?),
        "Decimal" => Kind::Fixed(match arguments.first()?.parse().ok()? {
            0..=9 => 4,
            10..=18 => 8,
            19..=38 => 16,
            _ => 32_u64,
        }),
        _ if base.starts_with("Interval") && arguments.is_empty() => Kind::Fixed(8),
        "String" => Kind::Text,
        "Nullable" => Kind::Nullable(only()?),
        "LowCardinality" => Kind::LowCardinality(only()?),
        "Array" => Kind::Array(only()?),
        // A tuple of nothing has a byte a row.
        "Tuple" if arguments.is_empty() => Kind::Fixed(1),
        "Tuple" => Kind::Tuple(all(&arguments)?),
        "Nested" => array(Kind::Tuple(all(&arguments)?)),
        "Map" if arguments.len() == 2 => array(Kind::Tuple(all(&arguments)?)),
        "SimpleAggregateFunction" => inner(arguments.get(1).filter(|_| arguments.len() == 2)?)?,
        "Variant" => Kind::Variant(all(&arguments)?),
        "Dynamic" => Kind::Dynamic,
        "JSON" => Kind::Json(all(&typed_paths(&arguments))?),
        "Point" => point(),
        "Ring" | "LineString" => array(point()),
        "Polygon" | "MultiLineString" => array(array(point())),
        "MultiPolygon" => array(array(array(point()))),
        "Geometry" => Kind::Variant(
            ["LineString", "MultiLineString", "MultiPolygon", "Point", "Polygon", "Ring"]
                .into_iter()
                .map(inner)
                .collect::<Option<_>>()?,
        ),
        "QBit" if arguments.len() == 2 => {
            let bits = match arguments[0] {
                "BFloat16" => 16,
                "Float32" => 32,
                "Float64" => 64,
                _ => return None,
            };
            Kind::Fixed(arguments[1].parse::<u64>().ok()?.div_ceil(8).checked_mul(bits)?)
        }
        _ => return None,
    })
}

/// The paths of a `JSON(…)` that have a type of their own; ClickHouse writes them in the order of their data.
fn typed_paths<'name>(arguments: &[&'name str]) -> Vec<&'name str> {
    let is_path = |argument: &&&str| {
        !(argument.starts_with("SKIP ")
            || argument.starts_with("max_dynamic_paths=")
            || argument.starts_with("max_dynamic_types="))
    };
    arguments.iter().filter(is_path).copied().collect()
}

/// Arguments at the top level, between commas.
fn split(arguments: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, byte) in outside(arguments) {
        if byte == b',' {
            parts.push(arguments[start..at].trim());
            start = at + 1;
        }
    }
    parts.push(arguments[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The type in `type`, `name type` or `` `a name` type ``: none has a blank in it outside of brackets.
fn unnamed(element: &str) -> &str {
    let blank = outside(element).filter(|(_, byte)| *byte == b' ').last();
    blank.map_or(element, |(at, _)| &element[at + 1..])
}

/// The bytes outside of brackets and quotes, with their places.
fn outside(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    text.bytes().enumerate().filter(move |&(_, byte)| {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'`' | b'"') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.saturating_sub(1),
            (None, _) => return depth == 0,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_elements_and_values_are_no_types() {
        let fixed = |bytes| Kind::Fixed(bytes);
        for (name, kind) in [
            ("Enum8('a, b (' = 1, 'c\\'' = 2)", fixed(1)),
            ("DateTime64(3, 'Europe/Berlin')", fixed(8)),
            ("Decimal(38, 10)", fixed(16)),
            (
                "Tuple(a UInt8, `b ( c` Array(String), `d``` Date)",
                Kind::Tuple(vec![fixed(1), Kind::Array(Box::new(Kind::Text)), fixed(2)]),
            ),
            ("Tuple()", fixed(1)),
            ("SimpleAggregateFunction(groupArrayArray(3), Array(UInt8))", Kind::Array(Box::new(fixed(1)))),
            (
                "JSON(max_dynamic_types=8, a.b UInt32, `c d` String, SKIP e, SKIP REGEXP 'f, g')",
                Kind::Json(vec![fixed(4), Kind::Text]),
            ),
            ("QBit(Float32, 9)", fixed(64)),
            ("IntervalSecond", fixed(8)),
        ] {
            assert_eq!(parse(name), Some(kind), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_stepped_over_is_no_type() {
        for name in [
            "AggregateFunction(sum, UInt64)",
            "Array(AggregateFunction(uniq, String))",
            "Array(UInt8",
            "Map(String)",
            "Nullable()",
            "Newcomer",
            "FixedString(x)",
            "",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
        assert_eq!(parse(&format!("{}UInt8{}", "Array(".repeat(200), ")".repeat(200))), None);
    }
}
