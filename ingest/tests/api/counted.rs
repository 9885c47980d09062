//! Every outcome is counted under a bounded name.

use super::node::{Node, lead, qualification};
use serde_json::json;
use whence_runtime::telemetry::{BuildInfo, Metrics};

#[tokio::test]
async fn outcomes_are_counted_by_kind_and_reason() {
    let build = BuildInfo { version: "1", revision: "r", role: "test" };
    let (metrics, recorder) = Metrics::detached(build).unwrap();
    let recording = metrics::set_default_local_recorder(&recorder);
    let node = Node::start().await;
    let batch = json!([
        lead(json!({})),
        qualification(json!({})),
        lead(json!({"code": "nope"})),
        lead(json!({"type": "ann@shop.example"})),
        {"type": "erasure"},
    ]);
    assert_eq!(node.post("/v1/events", batch).await.status, 207);
    assert_eq!(node.send("POST", "/v1/events", "{").await.status, 400);
    node.stop().await;
    drop(recording);
    let text = metrics.render();
    for line in [
        r#"whence_api_events_total{kind="lead",outcome="accepted"} 1"#,
        r#"whence_api_events_total{kind="qualification",outcome="accepted"} 1"#,
        r#"whence_api_events_total{kind="lead",outcome="rejected"} 1"#,
        r#"whence_api_events_total{kind="unknown",outcome="rejected"} 1"#,
        r#"whence_api_events_total{kind="erasure",outcome="rejected"} 1"#,
        r#"whence_api_refused_events_total{code="unknown_code"} 1"#,
        r#"whence_api_refused_events_total{code="required"} 1"#,
        r#"whence_api_problems_total{code="json_malformed"} 1"#,
        "# HELP whence_api_events_total Events sent to the API by kind and outcome",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("shop.example"));
}
