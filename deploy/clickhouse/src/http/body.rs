//! Reads request bodies whole, within bounds.
//!
//! Nothing is acted upon before a body has arrived to its last byte: an insert that is opened and
//! then cut short would be stored as far as it went, and would use up its deduplication token. The
//! price is memory, so the memory of all bodies together has a bound as well.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use metrics::{counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::reply::Failure;
use crate::codec::{CodecError, RequestCoding, decode};
use crate::engine::Exception;
use crate::metrics::{BODY_BYTES, BROKEN_BODIES, REFUSED};

const KIB: usize = 1024;
/// A body of unknown length asks for memory in steps of this size.
const STEP_BYTES: usize = 1 << 20;
/// How long a body waits for others to release memory. Bodies that each hold a part and wait for the
/// rest would wait for each other; this is what ends that.
const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// The memory of all bodies together.
#[derive(Debug, Clone)]
pub struct Budget {
    kib: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let kib = (bytes / KIB).min(Semaphore::MAX_PERMITS);
        Self { kib: Arc::new(Semaphore::new(kib)) }
    }

    /// A share of it, of no bytes yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), permit: None }
    }
}

/// What one body holds of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) * KIB
    }

    /// Takes `bytes` more.
    async fn grow(&mut self, bytes: usize) -> Result<(), CodecError> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).map_err(|_| CodecError::NoMemory)?;
        let more = timeout(MEMORY_WAIT, self.budget.kib.clone().acquire_many_owned(kib)).await;
        let Ok(Ok(more)) = more else {
            return Err(CodecError::NoMemory);
        };
        gauge!(BODY_BYTES).increment((more.num_permits() * KIB) as f64);
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        gauge!(BODY_BYTES).decrement(self.bytes() as f64);
    }
}

/// A body that arrived whole and is decoded.
#[derive(Debug)]
pub struct Whole {
    /// Its bytes, in pieces.
    pub chunks: Vec<Bytes>,
    /// How many bytes that is.
    pub bytes: usize,
    /// The memory it holds.
    pub share: Share,
}

/// What holds for one body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits<'server> {
    /// Its size, packed or unpacked.
    pub bytes_max: usize,
    /// How long its client may pause.
    pub idle_max: Duration,
    /// How long it may take, if that is bounded.
    pub time_max: Option<Duration>,
    /// Where its memory comes from.
    pub budget: &'server Budget,
}

/// Reads `body` to its end and decodes it.
///
/// # Errors
/// The body is too large (413), there is no memory for it (503), it is damaged, or the client went
/// away or paused for too long in the middle of it.
pub async fn read(body: Incoming, coding: RequestCoding, limits: BodyLimits<'_>) -> Result<Whole, Failure> {
    let mut share = limits.budget.share();
    let collecting = collect(body, limits, &mut share);
    let chunks = match limits.time_max {
        None => collecting.await?,
        Some(time_max) => {
            timeout(time_max, collecting).await.unwrap_or_else(|_| Err(broken("it took too long")))?
        }
    };
    if coding.is_plain() {
        let bytes = chunks.iter().map(Bytes::len).sum();
        return Ok(Whole { chunks, bytes, share });
    }
    let bytes_max = limits.bytes_max;
    let runtime = tokio::runtime::Handle::current();
    let decoding = tokio::task::spawn_blocking(move || {
        let mut reserve = |bytes| runtime.block_on(share.grow(bytes));
        let chunks = decode(chunks, coding, bytes_max, &mut reserve)?;
        Ok((chunks, share))
    });
    let (chunks, share) =
        decoding.await.expect("decoding does not panic").map_err(|error| refused(&error))?;
    let bytes = chunks.iter().map(Bytes::len).sum();
    Ok(Whole { chunks, bytes, share })
}

async fn collect(
    mut body: Incoming,
    limits: BodyLimits<'_>,
    share: &mut Share,
) -> Result<Vec<Bytes>, Failure> {
    let bytes_max = limits.bytes_max;
    let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(refused(&CodecError::TooLarge { bytes_max }));
    }
    let mut reserved = announced.unwrap_or(0);
    if reserved > 0 {
        share.grow(reserved).await.map_err(|error| refused(&error))?;
    }
    let (mut chunks, mut bytes) = (Vec::new(), 0_usize);
    loop {
        let frame = match timeout(limits.idle_max, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(chunks),
            Ok(Some(Err(_))) => return Err(broken("the connection ended in the middle of it")),
            Err(_) => return Err(broken("the client paused for too long")),
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        if bytes > bytes_max {
            return Err(refused(&CodecError::TooLarge { bytes_max }));
        }
        while reserved < bytes {
            share.grow(STEP_BYTES).await.map_err(|error| refused(&error))?;
            reserved += STEP_BYTES;
        }
        chunks.push(data);
    }
}

fn refused(error: &CodecError) -> Failure {
    match error {
        CodecError::NoMemory => {
            counter!(REFUSED, "bound" => "bodies_bytes").increment(1);
            Failure { exception: error.exception(), status: StatusCode::SERVICE_UNAVAILABLE }
        }
        CodecError::TooLarge { .. } => {
            counter!(REFUSED, "bound" => "body_bytes").increment(1);
            error.exception().into()
        }
        _ => {
            counter!(BROKEN_BODIES).increment(1);
            Failure { exception: error.exception(), status: StatusCode::BAD_REQUEST }
        }
    }
}

fn broken(reason: &str) -> Failure {
    counter!(BROKEN_BODIES).increment(1);
    let message = format!("The request body did not arrive whole: {reason}");
    let exception = Exception::new(210, "NETWORK_ERROR", &message);
    Failure { exception, status: StatusCode::BAD_REQUEST }
}
