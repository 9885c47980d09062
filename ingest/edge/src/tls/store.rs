//! The certificates that clients are shown, by the name that they ask for. Read at every handshake, replaced as a
//! whole; knows nothing of where they come from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::Certificate;

whence_metrics::declare! {
    /// TLS handshakes for a name that no certificate is for.
    counter EDGE_CERTIFICATES_MISSING: "whence_edge_certificates_missing_total";
    /// Time until the first of all certificates ends; below 0 since then.
    gauge EDGE_CERTIFICATES_EXPIRE_IN_SECONDS: "whence_edge_certificates_expire_in_seconds";
}

/// What a client speaks that looks at a challenge of the certificate authority's (RFC 8737).
pub const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// All certificates.
#[derive(Debug, Default)]
pub struct CertificateStore {
    table: ArcSwap<Table>,
    /// What the table is made of.
    sources: Mutex<Sources>,
    /// Certificates that prove to an authority that a name is answered here.
    challenges: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
    /// What proves it to one that asks over plain http, by its tokens.
    answers: ArcSwap<HashMap<String, String>>,
}

#[derive(Debug, Default)]
struct Sources {
    /// From files, and the one of them for all names that no other is for.
    given: (Vec<Certificate>, Option<Certificate>),
    /// From an authority.
    ordered: Vec<Certificate>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
    ends_first_at: Option<SystemTime>,
}

impl CertificateStore {
    /// Replaces the certificates that were given as files; `default` is for names that no other is for.
    pub fn put_given(&self, certificates: Vec<Certificate>, default: Option<Certificate>) {
        self.change(|sources| sources.given = (certificates, default));
    }

    /// Replaces the certificates that an authority gave.
    pub fn put_ordered(&self, certificates: Vec<Certificate>) {
        self.change(|sources| sources.ordered = certificates);
    }

    /// Replaces the certificates that are shown to an authority.
    pub fn put_challenges(&self, challenges: HashMap<String, Arc<CertifiedKey>>) {
        self.challenges.store(Arc::new(challenges));
    }

    /// Replaces what an authority is answered over plain http.
    pub fn put_answers(&self, answers: HashMap<String, String>) {
        self.answers.store(Arc::new(answers));
    }

    /// What an authority is answered that asks for this token.
    #[must_use]
    pub fn answer(&self, token: &str) -> Option<String> {
        self.answers.load().get(token).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut Sources)) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sources);
        let Sources { given: (given, default), ordered } = &*sources;
        let all = || ordered.iter().chain(given).chain(default);
        // What is given as files outdoes what an authority gave.
        let by_name =
            all().flat_map(|one| one.names.iter().map(|name| (name.clone(), Arc::clone(&one.key)))).collect();
        let default = default.as_ref().map(|one| Arc::clone(&one.key));
        let ends_first_at = all().map(|one| one.ends_at).min();
        self.table.store(Arc::new(Table { by_name, default, ends_first_at }));
        self.show_expiry();
    }

    /// Shows when the first of all certificates ends; to be called now and then.
    pub fn show_expiry(&self) {
        if let Some(left) = self.left_seconds(SystemTime::now()) {
            metrics::gauge!(EDGE_CERTIFICATES_EXPIRE_IN_SECONDS).set(left);
        }
    }

    /// Seconds until the first of all certificates ends; below zero, it has.
    #[must_use]
    pub fn left_seconds(&self, now: SystemTime) -> Option<f64> {
        let at = self.table.load().ends_first_at?;
        Some(match at.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(since) => -since.duration().as_secs_f64(),
        })
    }

    /// The certificate for a name in lower case.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let found = name.and_then(|name| {
            let exact = table.by_name.get(name);
            exact.or_else(|| {
                let (_, parent) = name.split_once('.')?;
                table.by_name.get(&format!("*.{parent}"))
            })
        });
        found.or(table.default.as_ref()).cloned()
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // In lower case already (RFC 6066 names are compared so), without a dot at the end.
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(CHALLENGE_PROTOCOL) && protocols.next().is_none() {
            return self.challenges.load().get(name.as_deref()?).cloned();
        }
        let found = self.find(name.as_deref());
        if found.is_none() {
            metrics::counter!(EDGE_CERTIFICATES_MISSING).increment(1);
        }
        found
    }
}
