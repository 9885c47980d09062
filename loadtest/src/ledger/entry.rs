//! The entries of the ledger: clicks, events and the sendings of events.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// A click's or an event's id: a UUID's 16 bytes, big endian.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u128);

impl Id {
    /// No id.
    pub const NIL: Id = Id(0);

    /// The Unix millisecond in a UUIDv7 (RFC 9562, section 5.7).
    #[must_use]
    pub fn at_ms(self) -> i64 {
        i64::try_from(self.0 >> 80).expect("48 bits fit 63")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Id {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Id, uuid::Error> {
        Ok(Id(uuid::Uuid::try_parse(text)?.as_u128()))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        serializer.serialize_str(uuid::Uuid::from_u128(self.0).hyphenated().encode_lower(&mut text))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// What the generator knows a request to be, because it made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A person in a browser.
    Human,
    /// A crawler or a script.
    Bot,
    /// A messenger or network drawing a preview.
    Preview,
    /// A browser fetching ahead.
    Prefetch,
    /// A HEAD request.
    Head,
    /// Anything, to a code that leads nowhere.
    Inactive,
}

impl Class {
    /// The word of the column `verdict`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Class::Human => "human",
            Class::Bot => "bot",
            Class::Preview => "preview",
            Class::Prefetch => "prefetch",
            Class::Head => "head",
            Class::Inactive => "inactive",
        }
    }
}

/// What became of a click's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClickOutcome {
    /// A redirect with a click token: the click has this id and must be stored.
    Redirected(Id),
    /// A complete answer without a token, right for codes that lead nowhere.
    Answered,
    /// An answer that no such request should get.
    Wrong,
    /// The connection died after the request may have left: the click may be stored or not.
    Unanswered,
    /// The request never left.
    NotSent,
}

/// One redirect asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickEntry {
    /// Index of the link.
    #[serde(rename = "l")]
    pub link: u32,
    /// Index of the channel that the click counts for, among its program's.
    #[serde(rename = "c")]
    pub channel: u16,
    /// What it was.
    #[serde(rename = "k")]
    pub class: Class,
    /// Unix milliseconds when it was sent.
    #[serde(rename = "t")]
    pub sent_at_ms: i64,
    /// Milliseconds until it was answered or given up.
    #[serde(rename = "d")]
    pub took_ms: u32,
    /// HTTP status, 0 where there was no answer.
    #[serde(rename = "s")]
    pub status: u16,
    /// What became of it.
    #[serde(rename = "o")]
    pub outcome: ClickOutcome,
}

/// Something that names a referrer for a lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Touch {
    /// The token of a click.
    Token {
        /// The click, its millisecond in it.
        click: Id,
        /// Index of its link.
        link: u32,
        /// Index of the channel it counted for.
        channel: u16,
    },
    /// A link's code.
    Code {
        /// Index of the link.
        link: u32,
    },
}

/// Who an event is about, in the words that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The caller's lead id.
    pub lead: Option<String>,
    /// An email address.
    pub email: Option<String>,
}

impl Subject {
    /// Whether both name one person: they share a lead id or an alias.
    #[must_use]
    pub fn shares_name_with(&self, other: &Subject) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        same(&self.lead, &other.lead) || same(&self.email, &other.email)
    }
}

/// An amount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// In minor units.
    pub minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A lead with the touches it carries.
    Lead(Vec<Touch>),
    /// A qualification.
    Qualification {
        /// What was reached.
        name: String,
        /// What it is worth.
        value: Option<Money>,
        /// What its payment is called.
        payment: Option<String>,
    },
    /// A refund.
    Disqualification {
        /// The qualification; neither: all of the person's so far.
        named: Named,
        /// What is taken back; `None`: all.
        value: Option<Money>,
    },
    /// What was taken back is given again.
    Reinstatement {
        /// The refund, or the payment.
        named: Named,
        /// What is given again; `None`: all.
        value: Option<Money>,
    },
    /// The subject's names are one person's.
    Identify,
    /// A referrer joined; the subject is the referrer.
    Participant {
        /// Index of the referrer among the program's.
        referrer: u32,
    },
    /// A referrer shared a link.
    Share {
        /// Index of the link.
        link: u32,
    },
    /// Somebody approves the reward for a lead.
    Approval {
        /// The lead's idempotency key.
        lead: String,
    },
}

impl Body {
    /// The word for its kind in the events API.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Lead(_) => "lead",
            Body::Qualification { .. } => "qualification",
            Body::Disqualification { .. } => "disqualification",
            Body::Reinstatement { .. } => "reinstatement",
            Body::Identify => "identify",
            Body::Participant { .. } => "participant",
            Body::Share { .. } => "share",
            Body::Approval { .. } => "reward_decision",
        }
    }
}

/// How an event names another one, in one of two ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its idempotency key.
    pub event: Option<String>,
    /// The name of its payment.
    pub payment: Option<String>,
}

/// One event, however often it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventEntry {
    /// Its number in this ledger.
    pub number: u64,
    /// Index of its program.
    pub program: u16,
    /// Its idempotency key.
    pub key: String,
    /// Unix milliseconds at which it happened, as it says itself.
    pub occurred_at_ms: i64,
    /// Who it is about.
    pub subject: Subject,
    /// What it says.
    pub body: Body,
    /// The status that it must be refused with, where it is made to be refused.
    pub refusal: Option<u16>,
}

/// What was answered to one sending of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Accepted under this id: it is on disk there.
    Accepted(Id),
    /// Refused for good.
    Refused,
    /// No answer, or one that says to come again: it may have been taken or not.
    Unknown,
    /// The request never left.
    NotSent,
}

/// One sending of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendEntry {
    /// The event's number.
    #[serde(rename = "n")]
    pub number: u64,
    /// HTTP status of the event, 0 where there was no answer.
    #[serde(rename = "s")]
    pub status: u16,
    /// What was answered.
    #[serde(rename = "r")]
    pub reply: Reply,
}

/// One line of a ledger file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A redirect was asked for.
    Click(ClickEntry),
    /// An event was composed.
    Event(Box<EventEntry>),
    /// An event was sent.
    Send(SendEntry),
    /// The run came to its end.
    End,
}
