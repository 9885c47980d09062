//! The pieces of a story.

use super::super::visitors::Held;
use crate::ledger::{Body, Subject};

/// An event to be sent, and what follows once it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds after what came before.
    pub after_ms: u32,
    /// The event.
    pub event: Draft,
    /// How often it is sent, at least once.
    pub sends: u8,
    /// All at the same moment; otherwise each after the answer to the one before.
    pub is_at_once: bool,
    /// What follows.
    pub then: Vec<Step>,
}

/// An event as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Index of the program.
    pub program: u16,
    /// The idempotency key.
    pub key: String,
    /// When it says that it happened, Unix milliseconds.
    pub occurred_at_ms: i64,
    /// Who it is about, in the normal form of aliases.
    pub subject: Subject,
    /// What it says.
    pub body: DraftBody,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
    /// The email address is written in capitals: the same person.
    pub shouts: bool,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftBody {
    /// A lead with its touches.
    Lead(Vec<DraftTouch>),
    /// Anything else, as the ledger has it.
    Other(Body),
}

/// Something that names a referrer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftTouch {
    /// A token.
    Token(Held),
    /// The same with another character: it proves nothing, and costs no lead.
    Damaged(Held),
    /// The code of the link of this index.
    Code(u32),
}

/// What is wrong with an event that must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Sent with a key that nobody has.
    WrongKey,
    /// Not JSON.
    Malformed,
    /// Without its idempotency key.
    NoKey,
    /// The code of another program's link.
    ForeignCode,
    /// The code of a disabled link.
    InactiveCode,
    /// Of a program that nobody made.
    UnknownProgram,
    /// With an unknown field.
    UnknownField,
    /// It happens tomorrow.
    Tomorrow,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Flaw; 8] = [
        Flaw::WrongKey,
        Flaw::Malformed,
        Flaw::NoKey,
        Flaw::ForeignCode,
        Flaw::InactiveCode,
        Flaw::UnknownProgram,
        Flaw::UnknownField,
        Flaw::Tomorrow,
    ];

    /// The HTTP status of the refusal.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Flaw::WrongKey => 401,
            Flaw::Malformed => 400,
            _ => 422,
        }
    }

    /// Whether the whole request is at fault, so that no other event may share it.
    #[must_use]
    pub fn spoils_request(self) -> bool {
        matches!(self, Flaw::WrongKey | Flaw::Malformed)
    }
}
