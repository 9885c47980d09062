//! The read side: report queries.
