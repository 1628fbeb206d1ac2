//! What push and pull consumers are told alike, its checks and the setters of their builders.

use std::path::PathBuf;
use std::sync::Arc;

use super::allocate::{Allocation, Averagely};
use super::{ConsumeFrom, Expression, Model};
use crate::error::{ClientError, Result};

/// See the methods of [`crate::PushConsumerBuilder`] and [`crate::PullConsumerBuilder`], which have the same names.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) group: String,
    pub(crate) subscriptions: Vec<(String, Expression)>,
    pub(crate) model: Model,
    pub(crate) consume_from: ConsumeFrom,
    pub(crate) strategy: Arc<dyn Allocation>,
    pub(crate) pull_batch_size: usize,
    pub(crate) queue_messages_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) messages_max: usize,
    pub(crate) offsets_folder: Option<PathBuf>,
}

impl Common {
    /// Defaults, but for the messages of all queues: what is held and what is fetched ahead are not the same.
    pub(crate) fn new(messages_max: usize) -> Common {
        Common {
            group: String::new(),
            subscriptions: Vec::new(),
            model: Model::Clustering,
            consume_from: ConsumeFrom::Last,
            strategy: Arc::new(Averagely),
            pull_batch_size: 32,
            queue_messages_max: 1_000,
            queue_bytes_max: 100 << 20,
            messages_max,
            offsets_folder: None,
        }
    }

    /// # Errors
    /// `Invalid`, with the first setting that is out of range. Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.checkConfig,
    /// DefaultLitePullConsumerImpl.checkConfig.
    pub(crate) fn check(&self) -> Result<()> {
        check_range("pull_batch_size", self.pull_batch_size, 1, 1_024)?;
        check_range("queue_messages_max", self.queue_messages_max, 1, 65_535)?;
        check_range("queue_bytes_max", self.queue_bytes_max, 1, 1 << 30)?;
        check_range("messages_max", self.messages_max, 1, 6_553_500)
    }
}

/// # Errors
/// `Invalid` unless `min <= value <= max`.
pub(crate) fn check_range<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    min: T,
    max: T,
) -> Result<()> {
    if min <= value && value <= max {
        return Ok(());
    }
    Err(ClientError::Invalid(format!("{name} is {value}, allowed are {min} to {max}")))
}

/// Setters of a builder whose `settings.common` is a [`Common`]. Their docs where the two kinds of consumers differ.
macro_rules! common_setters {
    (
        group: $group:literal,
        subscribe: $subscribe:literal,
        pull_batch_size: $pull_batch_size:literal,
        queue_messages_max: $queue_messages_max:literal,
        messages_max: $messages_max:literal,
        offsets_folder: $offsets_folder:literal $(,)?
    ) => {
        #[doc = $group]
        pub fn group(mut self, group: impl Into<String>) -> Self {
            self.settings.common.group = group.into();
            self
        }

        #[doc = $subscribe]
        pub fn subscribe(mut self, topic: impl Into<String>, expression: impl Into<Expression>) -> Self {
            let (topic, subscriptions) = (topic.into(), &mut self.settings.common.subscriptions);
            subscriptions.retain(|(known, _)| *known != topic);
            subscriptions.push((topic, expression.into()));
            self
        }

        /// Who of the group gets a message. Default: one member.
        pub fn model(mut self, model: Model) -> Self {
            self.settings.common.model = model;
            self
        }

        /// Where a queue begins for which the group has no offset. Default: at the end.
        pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
            self.settings.common.consume_from = from;
            self
        }

        /// How the group shares queues; all members must use the same. Default: [`crate::allocate::Averagely`].
        pub fn strategy(mut self, strategy: impl Allocation) -> Self {
            self.settings.common.strategy = Arc::new(strategy);
            self
        }

        #[doc = $pull_batch_size]
        pub fn pull_batch_size(mut self, messages: usize) -> Self {
            self.settings.common.pull_batch_size = messages;
            self
        }

        #[doc = $queue_messages_max]
        pub fn queue_messages_max(mut self, messages: usize) -> Self {
            self.settings.common.queue_messages_max = messages;
            self
        }

        /// Bytes of bodies of one queue likewise. Default 100 MiB.
        pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
            self.settings.common.queue_bytes_max = bytes;
            self
        }

        #[doc = $messages_max]
        pub fn messages_max(mut self, messages: usize) -> Self {
            self.settings.common.messages_max = messages;
            self
        }

        #[doc = $offsets_folder]
        pub fn offsets_folder(mut self, folder: impl Into<PathBuf>) -> Self {
            self.settings.common.offsets_folder = Some(folder.into());
            self
        }
    };
}
pub(crate) use common_setters;
