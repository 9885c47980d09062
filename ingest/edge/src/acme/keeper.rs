//! Keeps a certificate for each host: which are due, and when to try again after a failure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::sleep;
use whence_runtime::health::Component;

use super::{AcmeConfig, AcmeError, order, state::AcmeStore};
use crate::{
    links::LinkTable,
    tls::{CertificateStore, certificate::Certificate},
};

whence_metrics::declare! {
    /// Hosts of programs that no certificate is ordered for, as they are too many.
    gauge EDGE_ACME_HOSTS_BEYOND: "whence_edge_acme_hosts_beyond";
    /// Orders of certificates, by outcome.
    counter EDGE_ACME_ORDERS: "whence_edge_acme_orders_total" { outcome: ["issued", "failed"] };
}

/// Hosts that certificates are ordered for; authorities count them, too.
pub const HOSTS_MAX: usize = 100;
/// How often is looked what is due: a new host of the registry waits at most so long.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a failure; authorities allow about five an hour and host.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_FACTOR: u32 = 4;
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);

/// Keeps certificates.
#[derive(Debug)]
pub struct Keeper {
    config: AcmeConfig,
    state: AcmeStore,
    store: Arc<CertificateStore>,
    links: Arc<LinkTable>,
    health: Option<Component>,
    held: HashMap<String, Certificate>,
    failed: HashMap<String, Failed>,
    /// Hosts beyond the bound, when that was last said.
    beyond: usize,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    next: Instant,
    pause: Duration,
}

impl Keeper {
    /// A keeper; the certificates that are kept already are shown from now on.
    ///
    /// # Errors
    /// The folder cannot be had.
    pub fn new(
        config: AcmeConfig,
        store: Arc<CertificateStore>,
        links: Arc<LinkTable>,
        health: Option<Component>,
    ) -> Result<Keeper, AcmeError> {
        let state = AcmeStore::open(&config.dir, &config.directory)?;
        if let Some(health) = &health {
            health.ready();
        }
        let (held, failed) = (HashMap::new(), HashMap::new());
        Ok(Keeper { config, state, store, links, health, held, failed, beyond: 0 })
    }

    /// Orders what is due, again and again; for a task of its own, which is dropped to stop it.
    pub async fn run(mut self) {
        loop {
            self.look().await;
            sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&mut self) {
        let (hosts, beyond) = hosts_to_order(&self.config.hosts, || self.links.listed_hosts());
        if beyond > self.beyond {
            tracing::warn!(beyond, "more hosts than certificates are ordered for, give them as files");
        }
        self.beyond = beyond;
        metrics::gauge!(EDGE_ACME_HOSTS_BEYOND).set(beyond as f64);
        self.store.show_expiry();
        let before = self.held.len();
        self.held.retain(|host, _| hosts.contains(host));
        self.failed.retain(|host, _| hosts.contains(host));
        let mut is_changed = self.held.len() != before;
        for host in &hosts {
            if !self.held.contains_key(host)
                && let Some(kept) = self.state.certificate(host)
            {
                self.held.insert(host.clone(), kept);
                is_changed = true;
            }
        }
        if is_changed {
            self.show();
        }
        let now = SystemTime::now();
        for host in hosts {
            let is_due = self.held.get(&host).is_none_or(|held| held.is_due(now));
            let may_try = self.failed.get(&host).is_none_or(|failed| failed.next <= Instant::now());
            if is_due && may_try {
                self.order(&host).await;
            }
        }
    }

    async fn order(&mut self, host: &str) {
        match order::order(&self.config, &self.state, &self.store, host).await {
            Ok(certificate) => {
                tracing::info!(host, "certificate issued");
                count("issued");
                self.failed.remove(host);
                self.held.insert(host.to_owned(), certificate);
                self.show();
            }
            Err(error) => {
                let pause = self.failed.get(host).map_or(RETRY_FIRST, |failed| failed.pause * RETRY_FACTOR);
                let pause = pause.min(RETRY_MAX);
                let error = &error as &dyn std::error::Error;
                tracing::error!(host, error, retry_in = ?pause, "no certificate");
                count("failed");
                self.failed.insert(host.to_owned(), Failed { next: Instant::now() + pause, pause });
            }
        }
        let Some(health) = &self.health else { return };
        match self.failed.keys().min() {
            None => health.ready(),
            Some(host) => health.not_ready(format!("no new certificate for {host}: see the log")),
        }
    }

    fn show(&self) {
        self.store.put_ordered(self.held.values().cloned().collect());
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(EDGE_ACME_ORDERS, "outcome" => outcome).increment(1);
}

/// The hosts that certificates are ordered for: the ones that are listed or else those of the registry, as far as an
/// authority could give one; and how many are beyond the bound.
pub fn hosts_to_order(
    listed: &[String],
    registered: impl FnOnce() -> Vec<String>,
) -> (BTreeSet<String>, usize) {
    let named = if listed.is_empty() { registered() } else { listed.to_vec() };
    let mut hosts: BTreeSet<String> = named.into_iter().filter(|host| is_public_name(host)).collect();
    let beyond = hosts.len().saturating_sub(HOSTS_MAX);
    while hosts.len() > HOSTS_MAX {
        hosts.pop_last();
    }
    (hosts, beyond)
}

/// Whether a host has the form of a name that an authority could prove: no address, no port, no single label.
fn is_public_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let has_form = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        has_form && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let top = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253
        && host.contains('.')
        && host.split('.').all(is_label)
        && !top.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listed: &[&str], registered: &[&str]) -> (Vec<String>, usize) {
        let owned = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
        let (hosts, beyond) = hosts_to_order(&owned(listed), || owned(registered));
        (hosts.into_iter().collect(), beyond)
    }

    #[test]
    fn certificates_are_ordered_for_hosts_that_are_named_and_can_be_proved() {
        let registered = [
            "go.example",
            "go.example:8080",
            "127.0.0.1",
            "[::1]",
            "localhost",
            "-a.example",
            "a-.example",
            "a..example",
            ".example",
            "example.",
            "xn--bcher-kva.example",
        ];
        assert_eq!(hosts(&[], &registered).0, ["go.example", "xn--bcher-kva.example"]);
        assert_eq!(hosts(&["a.example"], &registered).0, ["a.example"], "a list is the whole list");
        assert_eq!(hosts(&[], &[]).0, [""; 0]);
    }

    #[test]
    fn there_are_only_so_many_hosts() {
        let names: Vec<String> = (0..HOSTS_MAX + 7).map(|index| format!("h{index:03}.example")).collect();
        let (hosts, beyond) = hosts_to_order(&names, Vec::new);
        assert_eq!((hosts.len(), beyond), (HOSTS_MAX, 7));
    }
}
