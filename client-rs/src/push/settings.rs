//! Settings of a push consumer, after their checks.

use std::time::Duration;

use crate::consume::settings::{Common, check_range};
use crate::error::{ClientError, Result};
use crate::limits;

/// See the methods of [`super::PushConsumerBuilder`], which have the same names.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) common: Common,
    pub(crate) concurrency: usize,
    pub(crate) consume_batch_size: usize,
    pub(crate) pull_interval: Duration,
    pub(crate) bytes_max: usize,
    pub(crate) span_max: i64,
    pub(crate) max_reconsume_times: Option<u32>,
    pub(crate) consume_timeout: Duration,
    pub(crate) suspend: Duration,
    pub(crate) persist_interval: Duration,
    pub(crate) stop_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            common: Common::new(100_000),
            concurrency: 20,
            consume_batch_size: 1,
            pull_interval: Duration::ZERO,
            bytes_max: 512 << 20,
            span_max: 2_000,
            max_reconsume_times: None,
            consume_timeout: Duration::from_secs(15 * 60),
            suspend: Duration::from_secs(1),
            persist_interval: Duration::from_secs(5),
            stop_wait: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// # Errors
    /// `Invalid`, with the first setting that is out of range. Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.checkConfig.
    pub(crate) fn check(&self) -> Result<()> {
        self.common.check()?;
        check_range("concurrency", self.concurrency, 1, limits::CONCURRENCY_MAX)?;
        check_range("consume_batch_size", self.consume_batch_size, 1, 1_024)?;
        check_range("bytes_max", self.bytes_max, 1, 100 << 30)?;
        check_range("span_max", self.span_max, 1, 65_535)?;
        if self.consume_timeout.is_zero() || self.persist_interval.is_zero() {
            return Err(ClientError::Invalid("consume_timeout and persist_interval must not be 0".into()));
        }
        if self.common.subscriptions.is_empty() {
            return Err(ClientError::Invalid(format!(
                "consumer of group {} subscribes to nothing",
                self.common.group
            )));
        }
        Ok(())
    }
}
