//! What led to a lead: tokens and codes, as the caller names them.

use crate::api::{json::Fields, problem::Code};

/// Touches of one lead, of whatever form.
pub const TOUCHES_MAX: usize = 20;
/// Bytes of the longest token or code: longer ones are refused unread.
const TOUCH_BYTES_MAX: usize = 64;

/// One thing that names a referrer.
pub struct DraftTouch {
    /// The field it stands in, for errors.
    pub field: String,
    /// What it is.
    pub evidence: Named,
}

/// How a touch names a referrer.
pub enum Named {
    /// By a click token.
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
        touches.extend(Fields::of(item, &path, fields.errors()).and_then(touch));
    }
    // The short form: what the landing page carried is the newest.
    touches.extend(named(fields, "wclid", Named::Token));
    touches.extend(named(fields, "code", Named::Code));
    touches
}

fn touch(mut fields: Fields<'_>) -> Option<DraftTouch> {
    let is_one = fields.has("token") != fields.has("code");
    if !is_one {
        fields.wrong("token", Code::Invalid, "or code must be given, one of the two");
    }
    let token = named(&mut fields, "token", Named::Token);
    let code = named(&mut fields, "code", Named::Code);
    fields.finish("a touch");
    token.or(code).filter(|_| is_one)
}

/// The token or code in this field.
pub(super) fn named(fields: &mut Fields<'_>, field: &str, form: fn(String) -> Named) -> Option<DraftTouch> {
    let text = fields.text(field)?;
    if text.is_empty() || text.len() > TOUCH_BYTES_MAX {
        let code = match form(String::new()) {
            Named::Token(_) => Code::TokenMalformed,
            Named::Code(_) => Code::UnknownCode,
        };
        fields.wrong(field, code, format_args!("must have 1 to {TOUCH_BYTES_MAX} characters"));
        return None;
    }
    Some(DraftTouch { field: fields.path(field), evidence: form(text) })
}
