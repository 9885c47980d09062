//! Why the parser refused a request, which no handler has then seen.

/// Why; the label `reason` of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More bytes or lines than a head may have: 431, or 414 where the target alone has them.
    HeadTooLarge,
    /// Not the form of a request: 400.
    Malformed,
    /// HTTP/2 where it is not spoken.
    Http2Preface,
    /// The client ended before its request.
    Incomplete,
    /// The head did not come in time.
    TooSlow,
}

impl Refusal {
    /// All of them, each at the place of its value.
    pub const ALL: [Refusal; 5] = [
        Refusal::HeadTooLarge,
        Refusal::Malformed,
        Refusal::Http2Preface,
        Refusal::Incomplete,
        Refusal::TooSlow,
    ];

    /// The label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Refusal::HeadTooLarge => "head_too_large",
            Refusal::Malformed => "malformed",
            Refusal::Http2Preface => "http2_preface",
            Refusal::Incomplete => "incomplete",
            Refusal::TooSlow => "too_slow",
        }
    }

    /// What the end of a connection says of its last request; `None` for ends that are not a refusal.
    #[must_use]
    pub fn of(error: &hyper::Error) -> Option<Refusal> {
        if error.is_parse_too_large() {
            Some(Refusal::HeadTooLarge)
        } else if error.is_parse_version_h2() {
            Some(Refusal::Http2Preface)
        } else if error.is_parse() {
            Some(Refusal::Malformed)
        } else if error.is_incomplete_message() {
            Some(Refusal::Incomplete)
        } else if error.is_timeout() {
            Some(Refusal::TooSlow)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_the_place_of_their_value() {
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, index);
        }
    }
}
