//! A request as those who answer it need it.

use tokio::sync::OwnedSemaphorePermit;

use super::request::Ask;
use crate::rights::Identity;

/// The question, who asks it, and their slot, where one is taken already.
pub struct Asked<'request> {
    /// The request.
    pub ask: &'request Ask,
    /// Who asks.
    pub identity: Identity,
    /// The reader's place.
    pub taken: Option<OwnedSemaphorePermit>,
}
