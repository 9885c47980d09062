//! A node whose registry has not caught up says "come again", not "you are wrong".

use super::node::{NOW, Node, lead, problem};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use whence_ingest::registry::{
    Change, Outcomes, Registry, RegistryError, Shared, embedded::EmbeddedRegistry,
};

/// A registry that follows another, and says whether it has caught up.
pub struct Following {
    pub inner: Arc<EmbeddedRegistry>,
    pub is_current: Arc<AtomicBool>,
}

impl Registry for Following {
    fn write(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<Outcomes, RegistryError>> {
        if self.is_current() {
            return self.inner.write(changes);
        }
        Box::pin(async { Err(RegistryError::NotReady("kafka is away")) })
    }

    fn shared(&self) -> &Arc<Shared> {
        self.inner.shared()
    }

    fn is_current(&self) -> bool {
        self.is_current.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn what_is_not_found_may_only_not_have_arrived() {
    let node = Node::start().await;
    node.is_current.store(false, Ordering::Relaxed);
    let unknown_key = "authorization: Bearer whk_0011223344556677_00";
    let code = lead(json!({"code": "new"})).to_string();
    let program = lead(json!({"program": "new"})).to_string();
    let admin = format!("authorization: Bearer {}", node.admin);
    for (method, path, key, body, field) in [
        ("POST", "/v1/events", unknown_key, code.clone(), ""),
        ("POST", "/v1/events", &admin, code, "code"),
        ("POST", "/v1/events", &admin, program, "program"),
        ("POST", "/v1/programs/new/leads", &admin, String::new(), ""),
        ("GET", "/v1/programs/new", &admin, String::new(), ""),
    ] {
        let answer = node.send_as(method, path, &[key], body).await;
        assert_eq!(answer.problem(), (503, "registry_behind".into(), field.into()), "{path}");
        assert_eq!(answer.headers["retry-after"], "5");
    }
    let written = node.send("PUT", "/v1/programs/new/referrers/x", "{}").await;
    assert_eq!(written.problem(), (503, "registry_unavailable".into(), String::new()));
    let wrong = format!("authorization: Bearer {}x", node.admin);
    assert_eq!(node.send_as("GET", "/v1/programs", &["authorization: Basic x"], "").await.status, 401);
    assert_eq!(node.send_as("GET", "/v1/programs", &[&wrong], "").await.status, 503);
    let known = json!([lead(json!({"code": "abc"})), lead(json!({"id": "b", "code": "new"}))]);
    let answer = node.post("/v1/events", known).await;
    assert_eq!(answer.status, 207, "what is known is taken: {}", answer.text);
    assert_eq!(problem(&answer.json()["results"][1]["error"], None).0, 503);
    assert_eq!(node.events().len(), 1);
    assert_eq!(node.events()[0].received_at_ms, NOW.0);
}
