//! A worker's clicks: started when due, written down when answered.

use super::{DueClick, Worker, WorkerState, unix_ms};
use crate::{
    drive::{agenda::Task, clicks, lanes::Lane},
    ledger::{ClickEntry, ClickOutcome},
    plan::{clicks::PlannedClick, visitors::Held},
    wire::{Answer, Failure},
};
use std::{rc::Rc, time::Duration};
use tokio::time::Instant;

/// A click that starts later than this although there was room is a late start.
const LATE: Duration = Duration::from_millis(5);

impl Worker {
    pub(super) fn start_click(&self, due: Duration, now: Duration, is_held_back: bool) {
        let mut state = self.state.borrow_mut();
        let WorkerState { planner, visitors, measured, .. } = &mut *state;
        let is_held_back = is_held_back && now - due > LATE;
        measured.held_back += u64::from(is_held_back);
        self.open_clicks.set(self.open_clicks.get() + 1);
        self.clicks.add(DueClick { due, is_held_back, click: planner.next(visitors) });
    }

    pub(super) async fn click_lane(self: Rc<Self>) {
        let mut lane = Lane::to(&self.targets.edge);
        loop {
            let due = self.clicks.next().await;
            self.click(&mut lane, due).await;
            self.open_clicks.set(self.open_clicks.get() - 1);
            self.freed.notify_one();
        }
    }

    async fn click(&self, lane: &mut Lane<'_>, DueClick { due, is_held_back, click }: DueClick) {
        let cookie = click.visitor.and_then(|visitor| self.state.borrow().visitors.cookie(visitor));
        let host = &self.hosts[click.link as usize];
        let sent = self.now();
        let sent_at_ms = unix_ms();
        let deadline = Instant::now() + self.settings.timeout;
        let request = || clicks::request(&click, host, cookie.as_deref());
        let answer = match click.is_fresh {
            true => lane.exchange_fresh(request(), deadline).await,
            false => lane.exchange(request, deadline).await,
        };
        let answered = self.now();
        {
            let mut state = self.state.borrow_mut();
            let measured = &mut state.measured;
            measured.clicks += 1;
            measured.took = measured.took.max(answered);
            measured.unanswered += u64::from(answer.is_err());
            measured.late_starts += u64::from(sent - due > LATE && !is_held_back);
            let latency = if click.is_fresh { &mut measured.fresh } else { &mut measured.kept };
            latency.record(answered - due);
        }
        self.progress.clicked(answer.is_ok());
        self.clicked(&click, sent_at_ms, answered - sent, &answer);
    }

    fn clicked(
        &self,
        click: &PlannedClick,
        sent_at_ms: i64,
        took: Duration,
        answer: &Result<Answer, Failure>,
    ) {
        let link = &self.world.links[click.link as usize];
        let outcome = clicks::outcome(link, click.class, answer);
        let mut state = self.state.borrow_mut();
        let WorkerState { teller, visitors, agenda, book, measured, .. } = &mut *state;
        book.click(ClickEntry {
            link: click.link,
            channel: click.channel,
            class: click.class,
            sent_at_ms,
            took_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status: outcome.status,
            outcome: outcome.outcome,
        });
        let Some(visitor) = click.visitor else { return };
        if let Some(cookie) = answer.as_ref().ok().and_then(|answer| clicks::cookie(&answer.headers)) {
            visitors.keep_cookie(visitor, cookie);
        }
        let (ClickOutcome::Redirected(id), Some(token)) = (outcome.outcome, outcome.token) else { return };
        // A test click's token is as good as any, but its lead would be a live one.
        if link.test {
            return;
        }
        let held = Held { text: token.as_ref().into(), click: id, link: click.link, channel: click.channel };
        visitors.keep_token(visitor, held);
        if let Some(step) = teller.tell(link.program, unix_ms(), visitors.tokens(visitor)) {
            let at = self.now() + Duration::from_millis(step.after_ms.into());
            let is_added = agenda.add(at, Task::Compose(Box::new(step)));
            measured.stories_dropped += u64::from(!is_added);
        }
    }
}
