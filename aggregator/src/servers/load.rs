//! A request's body that can be sent again as long as it is small, or as nothing of it was sent.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

/// A body of at most this size is kept until it is answered, and can be sent to several servers.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// The first words of statements that change nothing.
const QUESTIONS: [&str; 7] = ["select", "with", "show", "describe", "desc", "exists", "explain"];

/// What of a body is not kept; `None` once somebody has begun to send it.
type Rest = Arc<Mutex<Option<Incoming>>>;

/// A body: whole where it is small, else its beginning and the rest, which can be sent once.
pub(super) struct Kept {
    beginning: Bytes,
    rest: Option<Rest>,
}

impl Kept {
    /// Takes a small body in, or the beginning of a large one.
    ///
    /// # Errors
    /// Whoever sends it has gone.
    pub(super) async fn of(mut body: Incoming) -> hyper::Result<Kept> {
        let mut beginning = Vec::new();
        while beginning.len() <= KEPT_BYTES_MAX {
            match body.frame().await {
                Some(frame) => frame?.into_data().iter().for_each(|data| beginning.extend_from_slice(data)),
                None => return Ok(Kept { beginning: beginning.into(), rest: None }),
            }
        }
        Ok(Kept { beginning: beginning.into(), rest: Some(Arc::new(Mutex::new(Some(body)))) })
    }

    /// Whether it is a statement that changes nothing.
    pub(super) fn is_question(&self) -> bool {
        let text = self.beginning.trim_ascii_start();
        let word = text.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
        QUESTIONS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    }

    /// The body for one more try; `None` if it can't be sent again.
    pub(super) fn load(&self) -> Option<Load> {
        if self.rest.as_ref().is_some_and(|rest| lock(rest).is_none()) {
            return None;
        }
        Some(Load {
            beginning: Some(self.beginning.clone()),
            rest: self.rest.clone(),
            taken: None,
            begun: Arc::default(),
            frames: Arc::default(),
        })
    }
}

/// One try's body.
pub(super) struct Load {
    beginning: Option<Bytes>,
    rest: Option<Rest>,
    taken: Option<Incoming>,
    /// Whether somebody has asked for any of it: then it may have arrived.
    pub(super) begun: Arc<AtomicBool>,
    /// How often somebody has asked for more of it.
    pub(super) frames: Arc<AtomicU64>,
}

impl Body for Load {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.begun.store(true, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
        if let Some(beginning) = self.beginning.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        if let Some(rest) = self.rest.take() {
            self.taken = lock(&rest).take();
        }
        match &mut self.taken {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
            && self.beginning.as_ref().is_none_or(Bytes::is_empty)
            && self.taken.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let beginning = self.beginning.as_ref().map_or(0, Bytes::len) as u64;
        match (&self.rest, &self.taken) {
            (None, None) => SizeHint::with_exact(beginning),
            _ => SizeHint::default(),
        }
    }
}

fn lock(rest: &Rest) -> MutexGuard<'_, Option<Incoming>> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}
