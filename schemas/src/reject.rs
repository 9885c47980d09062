//! Why a record becomes no fact: the words in `rejects.reason`, each with what it means.

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $word:literal, $sentence:literal;)+) => {
        /// Why a record becomes no fact.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum RejectReason {
            $($(#[$doc])* $reason,)+
        }

        impl RejectReason {
            /// All of them.
            pub const ALL: &[RejectReason] = &[$(RejectReason::$reason,)+];

            /// The word in the table and in metrics.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(RejectReason::$reason => $word,)+ }
            }

            /// What it means; completes "… counts for nothing: ".
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(RejectReason::$reason => $sentence,)+ }
            }
        }
    };
}

reasons! {
    /// The same event is stored already.
    Duplicate = "duplicate", "the same event had been stored before";
    /// Another event is stored under its id.
    ConflictingBody = "conflicting_body", "an event with its id had been stored before and says something else; a change is an event of its own, with another id";
    /// It does not say what a record must.
    #[default]
    Malformed = "malformed", "it does not say what it must";
    /// Its bytes were damaged.
    Damaged = "damaged", "its bytes were damaged on the way";
    /// Its person was erased.
    Suppressed = "suppressed", "the person it names has asked to be forgotten";
    /// Its person has too many events.
    PersonTooLarge = "person_too_large", "more events name this person than a person has";
    /// A dead letter for a reason that this version does not know.
    DeadLetter = "dead_letter", "what its source sent can't be used, for a reason that this version does not know";
    /// No rule of the source maps it.
    Unmapped = "unmapped", "no rule of its source says what it means";
    /// The payload could not be read.
    Unreadable = "unreadable", "its source's payload could not be read";
    /// The delivery had no signature.
    Unsigned = "unsigned", "the delivery carried no signature";
    /// The signature is not of the provider's form.
    SignatureMalformed = "signature_malformed", "the delivery's signature does not have its provider's form";
    /// The signature is of another secret or body.
    SignatureWrong = "signature_wrong", "the delivery's signature was made with another secret, or for another body";
    /// The signature is too old.
    Stale = "stale", "the delivery's signature was too old when it came";
    /// It is another organization's.
    OrganizationWrong = "organization_wrong", "the delivery is another organization's";
    /// The secret has no form that this provider's signatures can be checked with.
    SecretUnusable = "secret_unusable", "the source's secret does not have the form that its provider's secrets have";
    /// It names neither a person nor a payment.
    NoSubject = "no_subject", "it names neither a person nor a payment";
    /// It links names, and has one.
    OneNameOnly = "one_name_only", "it is to link names, and has one only";
    /// It names an amount that is not there.
    AmountMissing = "amount_missing", "the amount that its rule names is not there";
    /// The amount is no number.
    AmountUnreadable = "amount_unreadable", "its amount is no number";
    /// The amount has separators.
    AmountWithSeparators = "amount_with_separators", "its amount has separators of thousands, or a comma before the decimals";
    /// The amount is below 0.
    AmountNegative = "amount_negative", "its amount is below 0";
    /// The amount has more decimals than its currency.
    AmountTooPrecise = "amount_too_precise", "its amount has more decimals than its currency";
    /// The amount is too large.
    AmountTooLarge = "amount_too_large", "its amount is too large";
    /// There is no currency.
    CurrencyMissing = "currency_missing", "it has an amount and no currency, and its source has no default";
    /// The currency is none.
    CurrencyUnknown = "currency_unknown", "its currency is not one of ISO 4217";
    /// The time can't be read.
    OccurredAtUnreadable = "occurred_at_unreadable", "the time at which it happened can't be read";
    /// The time is in the future.
    OccurredAtInFuture = "occurred_at_in_future", "the time at which it happened lies in the future";
    /// It takes back, and does not say what.
    NoQualification = "no_qualification", "it takes something back and does not say what";
    /// It gives again, and does not say what.
    NoDisqualification = "no_disqualification", "it gives something again and does not say what";
    /// The source may not send this kind of event.
    Forbidden = "forbidden", "its source may not send events of its kind";
    /// It is too large.
    TooLarge = "too_large", "it is too large";
    /// A field is missing.
    Required = "required", "a field that it must have is missing";
    /// A field has another type.
    WrongType = "wrong_type", "a field of it has the wrong type";
    /// A field has an impossible value.
    Invalid = "invalid", "a field of it has an impossible value";
    /// It has a field that there is not.
    UnknownField = "unknown_field", "it has a field that there is not";
    /// There is no such program.
    UnknownProgram = "unknown_program", "there is no such program";
    /// There is no such referrer.
    UnknownReferrer = "unknown_referrer", "the program has no such referrer";
    /// There is no such code.
    UnknownCode = "unknown_code", "the program has no link with such a code";
    /// The code is disabled or has expired.
    InactiveCode = "inactive_code", "the code's link, referrer or program is disabled, or the link has expired";
    /// The token is none.
    TokenMalformed = "token_malformed", "its click token is not one";
    /// The token is forged.
    TokenForged = "token_forged", "its click token has a wrong signature";
    /// The token has expired.
    TokenExpired = "token_expired", "its click token has expired";
    /// The token's click is later.
    TokenFuture = "token_from_the_future", "its click is later than itself";
    /// The token is another program's.
    TokenForeign = "token_foreign", "its click token is another program's";
}

impl RejectReason {
    /// The reason of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<RejectReason> {
        Self::ALL.iter().copied().find(|reason| reason.word() == word)
    }

    /// The reason that a dead letter gives. Reasons are few, and never text from a record.
    #[must_use]
    pub fn of_dead_letter(word: &str) -> RejectReason {
        let own = [Self::Duplicate, Self::ConflictingBody, Self::Malformed, Self::Damaged, Self::Suppressed];
        Self::of(word).filter(|reason| !own.contains(reason)).unwrap_or(RejectReason::DeadLetter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_are_words_and_each_reason_has_its_own() {
        let words: BTreeSet<&str> = RejectReason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), RejectReason::ALL.len());
        for reason in RejectReason::ALL {
            assert!(reason.word().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(reason.sentence().len() > 10 && !reason.sentence().ends_with('.'));
            assert_eq!(RejectReason::of(reason.word()), Some(*reason));
        }
        assert_eq!(RejectReason::of("a@b.example"), None);
    }

    #[test]
    fn a_dead_letter_says_no_reason_of_somebody_else() {
        for (word, reason) in [
            ("stale", RejectReason::Stale),
            ("unknown_program", RejectReason::UnknownProgram),
            ("duplicate", RejectReason::DeadLetter),
            ("a@b.example", RejectReason::DeadLetter),
        ] {
            assert_eq!(RejectReason::of_dead_letter(word), reason);
        }
    }

    #[test]
    fn the_document_has_every_reason() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rejects.md");
        let mut text = String::from(
            "# Why a record becomes no fact\n\nThe words of `rejects.reason`. A record that becomes no fact is one row of `rejects`; \
             `whence lineage` tells those of a person.\n\n| reason | meaning |\n|---|---|\n",
        );
        for reason in RejectReason::ALL {
            text.push_str(&format!("| `{}` | {} |\n", reason.word(), reason.sentence()));
        }
        if std::env::var_os("WHENCE_UPDATE_DOCS").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            written == text,
            "docs/rejects.md is not what the reasons are: WHENCE_UPDATE_DOCS=1 writes it"
        );
    }
}
