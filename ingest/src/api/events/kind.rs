//! The kinds of events that callers send: their words, their scopes, their short forms.

use crate::api::auth::Scope;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $word:literal, $plural:literal, $called:literal, $scope:ident;)+) => {
        /// A kind of event. Timers are whence's own and come in nowhere.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// All, in the order of the documentation.
            pub const ALL: [Kind; [$($word),+].len()] = [$(Kind::$kind),+];

            /// The word in `type`, in event ids and in metrics.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Kind::$kind => $word,)+ }
            }

            /// The last part of its short form's path.
            #[must_use]
            pub fn plural(self) -> &'static str {
                match self { $(Kind::$kind => $plural,)+ }
            }

            /// What it is called in a sentence.
            #[must_use]
            pub fn called(self) -> &'static str {
                match self { $(Kind::$kind => $called,)+ }
            }

            /// What a key needs to send it. Who may report a lead may not approve what is paid for it, nor
            /// have a person forgotten.
            #[must_use]
            pub fn scope(self) -> Scope {
                match self { $(Kind::$kind => Scope::$scope,)+ }
            }
        }
    };
}

kinds! {
    /// Somebody became a lead.
    Lead = "lead", "leads", "a lead", EventsWrite;
    /// A lead reached something.
    Qualification = "qualification", "qualifications", "a qualification", EventsWrite;
    /// What a lead reached is taken back, whole or in part.
    Disqualification = "disqualification", "disqualifications", "a disqualification", EventsWrite;
    /// What was taken back is given again.
    Reinstatement = "reinstatement", "reinstatements", "a reinstatement", EventsWrite;
    /// A referrer joined.
    Participant = "participant", "participants", "a participant", EventsWrite;
    /// A referrer shared.
    Share = "share", "shares", "a share", EventsWrite;
    /// Several aliases are one person's.
    Identify = "identify", "identities", "an identify event", EventsWrite;
    /// Somebody decided about a reward.
    RewardDecision = "reward_decision", "reward_decisions", "a reward decision", RewardsDecide;
    /// A person is to be forgotten.
    Erasure = "erasure", "erasures", "an erasure", PersonsErase;
}

impl Kind {
    /// The kind of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// All words, for a sentence.
    #[must_use]
    pub fn words() -> String {
        Kind::ALL.map(|kind| format!("{:?}", kind.word())).join(", ")
    }
}
