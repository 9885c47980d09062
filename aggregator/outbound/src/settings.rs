//! The settings, and what they mean to the parts.

use crate::{client::CallLimits, retry::RetryPolicy};
use std::time::Duration;
use whence_schemas::outgoing::Reach;

/// Messages of all endpoints of a partition in memory, except for those that one record caused together.
const MESSAGES_MAX: usize = 200_000;

whence_runtime::settings! {
    /// Deliveries
    pub struct DeliverySettings {
        /// Time for one request to an endpoint.
        pub delivery_timeout: Duration = "15s" in Duration::from_millis(100)..=Duration::from_secs(120),
        /// Wait after the first failed try of a message; doubles with every further one.
        pub delivery_retry_first: Duration = "5s" in Duration::from_millis(10)..=Duration::from_secs(3600),
        /// The longest wait between two tries, and the longest that an endpoint may ask for.
        pub delivery_retry_max: Duration = "1h" in Duration::from_millis(10)..=Duration::from_secs(86_400),
        /// How long after its first try a message is given up.
        pub delivery_retry_for: Duration = "24h" in Duration::from_millis(10)..=Duration::from_secs(30 * 86_400),
        /// Requests at a time, for each partition.
        pub deliveries_max: usize = "64" in 1..=10_000,
        /// Requests at a time to one endpoint.
        pub endpoint_deliveries_max: usize = "4" in 1..=1000,
        /// Messages of one endpoint in memory; more wait in ClickHouse. A partition has 200,000 of all endpoints.
        pub endpoint_messages_max: usize = "2000" in 1..=1_000_000,
    }
}

whence_runtime::settings! {
    /// Endpoints
    pub struct ReachSettings {
        /// Endpoints may be in private networks and on this machine itself, there also without TLS.
        ///
        /// Asked for when an endpoint is saved and when it is called: the same for all processes of a deployment.
        pub delivery_private: bool = "false",
    }
}

impl ReachSettings {
    /// Which addresses endpoints may have.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach::of(self.delivery_private)
    }
}

impl DeliverySettings {
    /// When to try again.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            first: self.delivery_retry_first,
            max: self.delivery_retry_max,
            give_up_after: self.delivery_retry_for,
        }
    }

    /// Messages of one endpoint in memory, where there are so many endpoints: each has the same share, however
    /// many of the others fail.
    #[must_use]
    pub fn messages_share(&self, endpoints: usize) -> usize {
        self.endpoint_messages_max.min((MESSAGES_MAX / endpoints.max(1)).max(1))
    }

    /// Bounds of one request.
    #[must_use]
    pub fn call_limits(&self, reach: Reach) -> CallLimits {
        CallLimits { timeout: self.delivery_timeout, reach }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_endpoints_together_hold_no_more_than_the_memory_of_a_partition() {
        let settings = whence_runtime::settings::defaults::<DeliverySettings>().unwrap();
        let shares = [0, 1, 100, 101, 1000, 1_000_000].map(|endpoints| settings.messages_share(endpoints));
        assert_eq!(shares, [2000, 2000, 2000, 1980, 200, 1]);
    }
}
