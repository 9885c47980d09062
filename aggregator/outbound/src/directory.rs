//! Where endpoints and secrets come from: the registry and the secrets that the process was given.

use tokio::sync::watch;
use whence_schemas::event::WebhookEndpoint;

/// The endpoints of all programs as they are now, and the secrets that they name.
pub trait Directory: Send + Sync + 'static {
    /// All endpoints, disabled ones too.
    fn endpoints(&self) -> Vec<WebhookEndpoint>;

    /// The program's secret of this name, if this process was given it. A program has no other's.
    fn secret(&self, program: &str, name: &str) -> Option<&[u8]>;

    /// Changes whenever endpoints may have.
    fn versions(&self) -> watch::Receiver<u64>;
}
