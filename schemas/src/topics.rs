//! Topic names and record keys.

/// Clicks, keyed by click id (16 bytes).
pub const CLICKS: &str = "whence.clicks";
/// Leads, qualifications and all else but clicks, keyed by program.
pub const CONVERSIONS: &str = "whence.conversions";
/// What is announced about leads, rewards and conflicts, for others to consume; keyed by the event id of the lead, or of the events that
/// share it (16 bytes).
pub const FACTS: &str = "whence.facts";
/// Programs, referrers, links and API keys; compacted; one partition, so that it has one order.
pub const REGISTRY: &str = "whence.registry";
/// What each edge says of itself, keyed by its name; compacted; one partition.
pub const EDGES: &str = "whence.edges";

/// The two streams that the aggregator consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// [`CLICKS`]
    Clicks,
    /// [`CONVERSIONS`]
    Conversions,
}

impl Stream {
    /// Both, in the order in which they are listed everywhere.
    pub const ALL: [Stream; 2] = [Stream::Clicks, Stream::Conversions];

    /// The stream's Kafka topic.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Stream::Clicks => CLICKS,
            Stream::Conversions => CONVERSIONS,
        }
    }

    /// The stream's short name in tables, tokens and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Stream::Clicks => "clicks",
            Stream::Conversions => "conversions",
        }
    }
}
