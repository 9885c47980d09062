//! What led to a lead: tokens and codes, as the caller names them.

use crate::api::{json::Fields, problem::Code};
use serde_json::Value;
use whence_schemas::token;

/// Touches of one lead, of whatever form.
pub const TOUCHES_MAX: usize = 20;
/// Bytes of the longest code: longer ones are refused unread.
const CODE_BYTES_MAX: usize = 64;
/// Bytes of a text that a token is looked for in, as long as an address may be.
const TOKEN_BYTES_MAX: usize = 4096;

/// One thing that names a referrer.
pub struct DraftTouch {
    /// The field it stands in, for errors.
    pub field: String,
    /// What it is.
    pub evidence: Named,
}

/// How a touch names a referrer.
pub enum Named {
    /// By what may be a click token; empty: it can't be one.
    Token(String),
    /// By the code of a link of the program.
    Code(String),
}

/// All that the lead names, oldest first.
pub(super) fn touches(fields: &mut Fields<'_>) -> Vec<DraftTouch> {
    let mut touches = Vec::new();
    let list = fields.list("touches");
    if list.len() > TOUCHES_MAX {
        fields.wrong("touches", Code::Invalid, format_args!("must have at most {TOUCHES_MAX} entries"));
        return touches;
    }
    for (index, item) in list.into_iter().enumerate() {
        let path = fields.path(&format!("touches[{index}]"));
        touches.extend(Fields::of(item, &path, fields.errors()).map(touch).into_iter().flatten());
    }
    // The short form: what the landing page carried is the newest.
    touches.extend(tokens(fields, "wclid"));
    touches
        .extend(code(fields, "code").map(|(field, code)| DraftTouch { field, evidence: Named::Code(code) }));
    touches
}

/// One of the two; none where what is there is empty.
fn touch(mut fields: Fields<'_>) -> Vec<DraftTouch> {
    let is_empty = |fields: &Fields<'_>, name| match fields.peek(name) {
        Some(Value::Null) => true,
        Some(Value::String(text)) if name == "token" && text.len() < TOKEN_BYTES_MAX => {
            token::repaired(text).is_empty()
        }
        Some(Value::String(text)) => is_blank(text),
        _ => false,
    };
    let is_there = |name| fields.peek(name).is_some();
    let (has_token, has_code) = (is_there("token"), is_there("code"));
    let is_named_empty = is_empty(&fields, "token") || is_empty(&fields, "code");
    let is_one = match (has_token, has_code) {
        (true, true) => is_named_empty,
        (one, other) => one || other,
    };
    if !is_one {
        fields.wrong("token", Code::Invalid, "or code must be given, one of the two");
    }
    let mut touches = tokens(&mut fields, "token");
    let code = code(&mut fields, "code");
    touches.extend(code.map(|(field, code)| DraftTouch { field, evidence: Named::Code(code) }));
    fields.finish("a touch");
    if is_one { touches } else { Vec::new() }
}

/// The tokens in this field, each as it was made as far as that can be told: one, or several where a page's address carried
/// several and the caller's library gives them as a list.
fn tokens(fields: &mut Fields<'_>, field: &str) -> Vec<DraftTouch> {
    let texts = match fields.peek(field) {
        Some(Value::Array(_)) => fields.texts_or_null(field),
        _ => fields.text(field).into_iter().collect(),
    };
    let path = fields.path(field);
    let token = |text: String| match text.len() {
        // It can't be one, whatever it is.
        TOKEN_BYTES_MAX.. => Some(String::new()),
        _ => Some(token::repaired(&text)).filter(|token| !token.is_empty()),
    };
    let tokens = texts.into_iter().filter_map(token).take(TOUCHES_MAX);
    tokens.map(|text| DraftTouch { field: path.clone(), evidence: Named::Token(text) }).collect()
}

/// The code in this field, without blanks around it, and the field's path; `None` if it is empty.
pub(super) fn code(fields: &mut Fields<'_>, field: &str) -> Option<(String, String)> {
    let text = fields.text(field)?;
    let code = text.trim_matches(is_blank_char);
    if code.len() > CODE_BYTES_MAX {
        let detail = format_args!("must have 1 to {CODE_BYTES_MAX} characters");
        fields.wrong(field, Code::UnknownCode, detail);
        return None;
    }
    (!code.is_empty()).then(|| (fields.path(field), code.to_owned()))
}

/// Whether nothing is written there.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(is_blank_char)
}

fn is_blank_char(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}
