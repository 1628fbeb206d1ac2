//! Settings of a pull consumer, after their checks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::consume::allocate::{Allocation, Averagely};
use crate::consume::{ConsumeFrom, Expression, Model};
use crate::error::{ClientError, Result};

/// See the methods of [`super::PullConsumerBuilder`], which have the same names.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) group: String,
    pub(crate) subscriptions: Vec<(String, Expression)>,
    pub(crate) model: Model,
    pub(crate) consume_from: ConsumeFrom,
    pub(crate) strategy: Arc<dyn Allocation>,
    pub(crate) auto_commit: bool,
    pub(crate) auto_commit_interval: Duration,
    pub(crate) pull_batch_size: usize,
    pub(crate) queue_messages_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) messages_max: usize,
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
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            pull_batch_size: 32,
            queue_messages_max: 1_000,
            queue_bytes_max: 100 << 20,
            messages_max: 10_000,
            offsets_folder: None,
        }
    }
}

impl Settings {
    /// # Errors
    /// `Invalid`, with the first setting that is out of range. Source: RocketMQ 5.3 DefaultLitePullConsumerImpl.checkConfig.
    pub(crate) fn check(&self) -> Result<()> {
        let ranges = [
            ("pull_batch_size", self.pull_batch_size, 1, 1_024),
            ("queue_messages_max", self.queue_messages_max, 1, 65_535),
            ("queue_bytes_max", self.queue_bytes_max, 1, 1 << 30),
            ("messages_max", self.messages_max, 1, 6_553_500),
        ];
        for (name, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(ClientError::Invalid(format!("{name} is {value}, allowed are {min} to {max}")));
            }
        }
        if self.auto_commit_interval < Duration::from_millis(100) {
            return Err(ClientError::Invalid("auto_commit_interval must be at least 100 ms".into()));
        }
        Ok(())
    }
}
