//! How long an answer is waited for, and that whoever waits is told.

use super::url::ServerUrl;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep};

/// Silence after which it is told, and after which it is told again.
const TELL_AFTER: Duration = Duration::from_secs(2);
const TELL_EVERY: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Is told of a server and for how long it has been silent.
pub type Tell = Arc<dyn Fn(&ServerUrl, Duration) + Send + Sync>;

/// Bounds a server's silence.
#[derive(Clone)]
pub struct AnswerTimeout {
    /// A server that says nothing, and takes nothing of a request's body, for longer than this has failed.
    pub after: Duration,
    /// Called after 2 s of silence, then every 30 s.
    pub tell: Tell,
}

impl std::fmt::Debug for AnswerTimeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerTimeout").field("after", &self.after).finish_non_exhaustive()
    }
}

impl AnswerTimeout {
    /// The answer, or `None` when its time is over. `sent` grows while the server takes the request.
    pub(super) async fn watch<A>(
        &self,
        url: &ServerUrl,
        sent: &AtomicU64,
        answer: impl Future<Output = A>,
    ) -> Option<A> {
        let (mut silent_since, mut seen) = (Instant::now(), 0);
        let mut tell_at = TELL_AFTER;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                _ = looks.tick() => {}
            }
            let frames = sent.load(Ordering::Relaxed);
            if frames != seen {
                (silent_since, seen, tell_at) = (Instant::now(), frames, TELL_AFTER);
            }
            let silent = silent_since.elapsed();
            if silent >= self.after {
                return None;
            }
            if silent >= tell_at {
                (self.tell)(url, silent);
                tell_at = silent + TELL_EVERY;
            }
        }
    }
}

/// An answer's body, which breaks off when nothing more of it comes in time.
pub(super) struct Timed {
    body: Incoming,
    silence: Option<Silence>,
}

struct Silence {
    url: ServerUrl,
    timeout: AnswerTimeout,
    ends: Pin<Box<Sleep>>,
}

impl Timed {
    pub(super) fn new(body: Incoming, url: &ServerUrl, timeout: Option<&AnswerTimeout>) -> Timed {
        let silence = timeout.map(|timeout| Silence {
            url: url.clone(),
            timeout: timeout.clone(),
            ends: Box::pin(sleep(timeout.after)),
        });
        Timed { body, silence }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Body for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let Some(Silence { url, timeout, ends }) = &mut self.silence else {
            return frame.map_err(Into::into);
        };
        if let Poll::Ready(frame) = frame {
            ends.as_mut().reset(Instant::now() + timeout.after);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(ends.as_mut().poll(cx));
        // The client within the process only sees that its connection breaks.
        (timeout.tell)(url, timeout.after);
        Poll::Ready(Some(Err("nothing more of the answer came".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
