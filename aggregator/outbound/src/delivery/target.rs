//! One endpoint: what it is sent, and how far it is.

use crate::{
    DeliverySettings, Directory,
    message::Message,
    metrics::bound_met,
    queue::{MessagePosition, Queue, Tried},
    reader::{Eras, Reader},
    sign::SigningKey,
    tables::{Logged, Tables, Wanted},
};
use clickhouse::error::Error;
use std::sync::Arc;
use tokio::time::Instant;
use whence_schemas::{event::WebhookEndpoint, time::UnixMs};

/// Messages of one read.
const PAGE: usize = 500;

/// An endpoint at work.
pub(super) struct Target {
    pub endpoint: WebhookEndpoint,
    pub keys: Arc<[SigningKey]>,
    pub queue: Queue<Arc<Message>>,
    pub reader: Reader,
    /// What the checkpoint says, and when it was saved.
    pub saved: (MessagePosition, Instant),
    /// Whether messages wait in ClickHouse because enough of them are here.
    is_full: bool,
}

/// Program and id.
pub(super) type Name = (String, String);

impl Target {
    pub fn new(
        endpoint: WebhookEndpoint,
        keys: Arc<[SigningKey]>,
        partition: u32,
        at: MessagePosition,
        settings: &DeliverySettings,
    ) -> Target {
        let queue = Queue::new(settings.endpoint_deliveries_max, settings.retry_policy());
        let reader = Reader::new(partition, wanted(&endpoint), at);
        Target { endpoint, keys, queue, reader, saved: (at, Instant::now()), is_full: false }
    }

    /// Its record has changed.
    pub fn change(&mut self, endpoint: WebhookEndpoint, keys: Arc<[SigningKey]>) {
        self.reader.wanted = wanted(&endpoint);
        (self.endpoint, self.keys) = (endpoint, keys);
    }

    /// Everything before this is delivered or dead.
    pub fn done_before(&self) -> MessagePosition {
        self.queue.first_place().unwrap_or_else(|| self.reader.at())
    }

    /// Fills the queue to `messages_max`, as far as there is anything to read.
    pub async fn read(&mut self, tables: &Tables, eras: &Eras, messages_max: usize) -> Result<(), Error> {
        // Not one by one: a read is two questions, however little it is for.
        let least = PAGE.min(messages_max.div_ceil(2));
        loop {
            let room = messages_max.saturating_sub(self.queue.len());
            let is_full = self.reader.is_behind && room < least;
            if is_full && !self.is_full {
                bound_met("messages");
            }
            self.is_full = is_full;
            if is_full || !self.reader.is_behind {
                return Ok(());
            }
            // What the log can't tell is read again.
            let mut reader = self.reader.clone();
            let page = reader.read(tables, eras, PAGE.min(room)).await?;
            if !page.is_empty() {
                let ids = page.iter().map(|(_, message)| message.message_id);
                let logged = tables.logged(&self.endpoint.program, &self.endpoint.id, ids).await?;
                for (place, message) in page {
                    let tried = match logged.get(&message.message_id) {
                        None => Tried::default(),
                        Some(Logged::Open(tried)) => *tried,
                        Some(Logged::Done) => continue,
                    };
                    self.queue.push(message.lead_id, Arc::new(message), place, tried);
                }
            }
            self.reader = reader;
        }
    }
}

fn wanted(endpoint: &WebhookEndpoint) -> Wanted {
    Wanted {
        program: endpoint.program.clone(),
        types: endpoint.types.clone(),
        since: UnixMs(endpoint.since_ms),
    }
}

/// The keys of an endpoint's secrets, as far as this process has them: one that is missing must not keep messages
/// from receivers that know another.
pub(super) fn keys(endpoint: &WebhookEndpoint, directory: &dyn Directory) -> Arc<[SigningKey]> {
    let key = |name: &String| {
        let (program, endpoint) = (&endpoint.program, &endpoint.id);
        let key = directory.secret(program, name).map(SigningKey::of);
        match &key {
            Some(Ok(_)) => {}
            Some(Err(error)) => tracing::warn!(program, endpoint, name, %error, "a secret can't sign"),
            None => tracing::warn!(program, endpoint, name, "this process was not given a secret"),
        }
        key.and_then(Result::ok)
    };
    endpoint.secrets.iter().filter_map(key).collect()
}
