//! What a dead letter keeps: of a proved body the provider's list of ids and fixed words, of an unproved
//! one nothing. Never a whole body, never a text of unknown length.

use super::{Provider, ProviderEvent};
use serde_json::{Map, Value};

/// Characters of a text that is kept.
pub const TEXT_MAX: usize = 128;

/// The ids and fixed words of this event, by their pointers.
#[must_use]
pub fn kept(provider: Provider, event: &ProviderEvent) -> Map<String, Value> {
    let found = provider.keeps().iter().filter_map(|pointer| {
        let value = match event.body.pointer(pointer)? {
            Value::String(text) => text.chars().take(TEXT_MAX).collect::<String>().into(),
            scalar @ (Value::Bool(_) | Value::Number(_)) => scalar.clone(),
            _ => return None,
        };
        Some(((*pointer).to_owned(), value))
    });
    found.collect()
}

/// The event's name, where it is a name: with generic JSON anything can stand there.
#[must_use]
pub fn name(event: &ProviderEvent) -> &str {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'/');
    let is_name = event.name.len() <= TEXT_MAX && event.name.bytes().all(fits);
    if is_name { &event.name } else { "" }
}
