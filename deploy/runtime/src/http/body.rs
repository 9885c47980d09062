//! Request bodies under a size and a time limit; whole response bodies.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::time::timeout;

/// A response body that is complete in memory.
pub type Full = http_body_util::Full<Bytes>;

/// A response body from bytes.
pub fn full(bytes: impl Into<Bytes>) -> Full {
    Full::new(bytes.into())
}

/// No body.
pub fn empty() -> Full {
    Full::default()
}

/// Why a request's body could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than allowed: 413.
    #[error("body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It did not arrive in time: 408.
    #[error("body did not arrive within {limit:?}")]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The connection broke or the framing is wrong: nobody is left to answer, or 400.
    #[error("body could not be read")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The whole body, if it is at most `bytes_max` long and arrives within `limit`. A declared length above
/// the limit is refused before a byte is read.
///
/// # Errors
/// See [`BodyError`]. After an error the rest of the body is unread; hyper closes the connection.
pub async fn read_body<B>(body: B, bytes_max: usize, limit: Duration) -> Result<Bytes, BodyError>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge { bytes_max });
    }
    match timeout(limit, Limited::new(body, bytes_max).collect()).await {
        Err(_) => Err(BodyError::TooSlow { limit }),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { bytes_max }),
        Ok(Err(error)) => Err(BodyError::Broken(error)),
    }
}
