//! Servers over TLS: who is trusted, and what is said of who is not.

use crate::{
    certificates::{Authority, Leaf, acceptor},
    twin::{Manner, Twin, servers},
};
use whence_aggregator::servers::{Trouble, trouble};
use whence_runtime::tls::TlsFiles;

const FINE: Manner = Manner::Answer(200, "fine\n");

fn trusting(authority: &Authority) -> TlsFiles {
    TlsFiles { authorities: Some(authority.file()), identity: None }
}

/// What comes of a question to the server at this address: alone, and as one of two of which the other is as bad.
async fn outcomes(url: &str, files: &TlsFiles) -> [Result<(), Trouble>; 2] {
    let alone = servers(&[url.to_owned()], files).any();
    let twice = servers(&[url.to_owned(), url.to_owned()], files).any();
    let ask = async |client: clickhouse::Client| {
        client.query("SELECT 1").execute().await.map_err(|error| trouble(&error))
    };
    [ask(alone).await, ask(twice).await]
}

/// Of a server with this certificate, called by this name.
async fn called(
    leaf: Leaf,
    clients: Option<&Authority>,
    host: &str,
    files: &TlsFiles,
) -> [Result<(), Trouble>; 2] {
    let twin = Twin::with(FINE, Some(acceptor(leaf, clients))).await;
    outcomes(&format!("https://{host}:{}", twin.port), files).await
}

#[track_caller]
fn says(outcomes: [Result<(), Trouble>; 2], words: &[&str], is_final: bool) {
    let [alone, twice] = outcomes.map(Result::unwrap_err);
    for word in words {
        assert!(alone.text.contains(word), "{word}: {alone}");
        assert!(twice.text.contains(word), "{word}: {twice}");
    }
    assert_eq!(alone.is_final, is_final, "{alone}");
}

#[tokio::test]
async fn a_server_whose_certificate_an_own_authority_has_signed_is_trusted() {
    let own = Authority::new();
    for (name, host) in [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")] {
        let outcomes = called(own.leaf(&[name]), None, host, &trusting(&own)).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_with_the_setting_that_would_trust_it() {
    let (own, other) = (Authority::new(), Authority::new());
    let words = ["unknown issuer", "clickhouse-ca-file"];
    says(called(other.leaf(&["localhost"]), None, "localhost", &trusting(&own)).await, &words, true);
    says(called(own.leaf(&["localhost"]), None, "localhost", &TlsFiles::default()).await, &words, true);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_may_be_renewed() {
    let own = Authority::new();
    let outcomes = called(own.expired(&["localhost"]), None, "localhost", &trusting(&own)).await;
    says(outcomes, &["has expired", "renew"], false);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_with_both_names() {
    let own = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let outcomes = called(own.leaf(&["db.example"]), None, host, &trusting(&own)).await;
        says(outcomes, &[host, "db.example"], true);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_asked_for_where_it_is_missing_or_of_nobody() {
    let (own, stranger) = (Authority::new(), Authority::new());
    let with = |identity| TlsFiles { authorities: Some(own.file()), identity };
    let leaf = || own.leaf(&["localhost"]);
    let outcomes = called(leaf(), Some(&own), "localhost", &with(Some(own.identity()))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let missing = called(leaf(), Some(&own), "localhost", &with(None)).await;
    says(missing, &["client certificate", "clickhouse-certificate-file"], true);
    let strangers = called(leaf(), Some(&own), "localhost", &with(Some(stranger.identity()))).await;
    says(strangers, &["does not accept the client certificate"], true);
}

#[tokio::test]
async fn http_and_https_taken_for_each_other_are_told_apart() {
    let own = Authority::new();
    let plain = Twin::start(FINE).await;
    let https = format!("https://localhost:{}", plain.port);
    says(outcomes(&https, &trusting(&own)).await, &["speaks no TLS", "http://"], true);
    let secure = Twin::with(FINE, Some(acceptor(own.leaf(&["localhost"]), None))).await;
    let http = format!("http://localhost:{}", secure.port);
    let outcomes = outcomes(&http, &TlsFiles::default()).await;
    says(outcomes, &["https://"], true);
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_left_for_one_that_is() {
    let (own, other) = (Authority::new(), Authority::new());
    let bad = Twin::with(FINE, Some(acceptor(other.leaf(&["localhost"]), None))).await;
    let good = Twin::with(FINE, Some(acceptor(own.leaf(&["localhost"]), None))).await;
    let urls = [&bad, &good].map(|twin| format!("https://localhost:{}", twin.port));
    let client = servers(&urls, &trusting(&own)).any();
    for _ in 0..5 {
        client.query("SELECT 1").execute().await.unwrap();
    }
    assert_eq!((bad.connections(), bad.asked().len(), good.asked().len()), (1, 0, 5));
}
