//! A real SIGTERM to this process. Alone in its file: the signal is the whole process's.

use std::process::Command;
use std::time::Duration;

use whence_runtime::shutdown::on_signals;

#[tokio::test]
async fn sigterm_cancels_the_token() {
    let token = on_signals().unwrap();
    assert!(!token.is_cancelled());
    let sent = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(sent.success());
    tokio::time::timeout(Duration::from_secs(120), token.cancelled()).await.expect("the signal arrives");
}
