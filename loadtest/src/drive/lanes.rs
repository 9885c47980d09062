//! Lanes: tasks that each keep one connection and take requests as they come. There are as many requests
//! open as there are lanes, never more.

use crate::wire::{Answer, Connection, Failure, Target};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use std::{cell::RefCell, collections::VecDeque};
use tokio::{sync::Notify, time::Instant};

/// Jobs waiting for a lane. Whoever adds them keeps their number bounded.
#[derive(Debug)]
pub(super) struct Queue<J> {
    jobs: RefCell<VecDeque<J>>,
    added: Notify,
}

impl<J> Default for Queue<J> {
    fn default() -> Queue<J> {
        Queue { jobs: RefCell::default(), added: Notify::new() }
    }
}

impl<J> Queue<J> {
    /// Adds a job. The lane that was used last takes it: few connections are warm rather than many cold.
    pub fn add(&self, job: J) {
        self.jobs.borrow_mut().push_back(job);
        self.added.notify_last();
    }

    /// The next job.
    pub async fn next(&self) -> J {
        loop {
            let job = self.jobs.borrow_mut().pop_front();
            match job {
                Some(job) => return job,
                None => self.added.notified().await,
            }
        }
    }
}

/// One lane's connection.
#[derive(Debug)]
pub(super) struct Lane<'t> {
    target: &'t Target,
    kept: Option<Connection>,
}

impl<'t> Lane<'t> {
    pub fn to(target: &'t Target) -> Lane<'t> {
        Lane { target, kept: None }
    }

    /// Sends a request on the lane's connection, opening one if there is none. A connection that turns out
    /// to be closed before anything was sent is replaced once.
    pub async fn exchange(
        &mut self,
        request: impl Fn() -> Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.is_usable()) {
            match kept.exchange(request(), deadline).await {
                Err(Failure::NotSent(_)) => {}
                answer => return answer,
            }
        }
        let fresh = self.kept.insert(Connection::open(self.target, deadline).await?);
        fresh.exchange(request(), deadline).await
    }

    /// Sends a request on a connection of its own.
    pub async fn exchange_fresh(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        Connection::open(self.target, deadline).await?.exchange(request, deadline).await
    }
}
