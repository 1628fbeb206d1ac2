//! Settings of a push consumer, after their checks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::consume::allocate::{Allocation, Averagely};
use crate::consume::{ConsumeFrom, Expression, Model};
use crate::error::{ClientError, Result};
use crate::limits;

/// See the methods of [`super::PushConsumerBuilder`], which have the same names.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) group: String,
    pub(crate) subscriptions: Vec<(String, Expression)>,
    pub(crate) model: Model,
    pub(crate) consume_from: ConsumeFrom,
    pub(crate) strategy: Arc<dyn Allocation>,
    pub(crate) concurrency: usize,
    pub(crate) consume_batch_size: usize,
    pub(crate) pull_batch_size: usize,
    pub(crate) pull_interval: Duration,
    pub(crate) queue_messages_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) span_max: i64,
    pub(crate) max_reconsume_times: Option<u32>,
    pub(crate) consume_timeout: Duration,
    pub(crate) suspend: Duration,
    pub(crate) persist_interval: Duration,
    pub(crate) stop_wait: Duration,
    pub(crate) offsets_folder: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            group: String::new(),
            subscriptions: Vec::new(),
            model: Model::Clustering,
            consume_from: ConsumeFrom::Last,
            strategy: Arc::new(Averagely),
            concurrency: 20,
            consume_batch_size: 1,
            pull_batch_size: 32,
            pull_interval: Duration::ZERO,
            queue_messages_max: 1_000,
            queue_bytes_max: 100 << 20,
            messages_max: 100_000,
            bytes_max: 512 << 20,
            span_max: 2_000,
            max_reconsume_times: None,
            consume_timeout: Duration::from_secs(15 * 60),
            suspend: Duration::from_secs(1),
            persist_interval: Duration::from_secs(5),
            stop_wait: Duration::from_secs(10),
            offsets_folder: None,
        }
    }
}

impl Settings {
    /// # Errors
    /// `Invalid`, with the first setting that is out of range. Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.checkConfig.
    pub(crate) fn check(&self) -> Result<()> {
        let ranges = [
            ("concurrency", self.concurrency, 1, limits::CONCURRENCY_MAX),
            ("consume_batch_size", self.consume_batch_size, 1, 1_024),
            ("pull_batch_size", self.pull_batch_size, 1, 1_024),
            ("queue_messages_max", self.queue_messages_max, 1, 65_535),
            ("queue_bytes_max", self.queue_bytes_max, 1, 1 << 30),
            ("messages_max", self.messages_max, 1, 6_553_500),
            ("bytes_max", self.bytes_max, 1, 100 << 30),
        ];
        for (name, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(ClientError::Invalid(format!("{name} is {value}, allowed are {min} to {max}")));
            }
        }
        if !(1..=65_535).contains(&self.span_max) {
            return Err(ClientError::Invalid(format!(
                "span_max is {}, allowed are 1 to 65535",
                self.span_max
            )));
        }
        if self.consume_timeout.is_zero() || self.persist_interval.is_zero() {
            return Err(ClientError::Invalid("consume_timeout and persist_interval must not be 0".into()));
        }
        if self.subscriptions.is_empty() {
            return Err(ClientError::Invalid(format!(
                "consumer of group {} subscribes to nothing",
                self.group
            )));
        }
        Ok(())
    }
}
