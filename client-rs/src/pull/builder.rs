//! Makes pull consumers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::PullConsumer;
use super::settings::Settings;
use crate::client::Client;
use crate::consume::allocate::Allocation;
use crate::consume::{ConsumeFrom, Expression, Model};
use crate::error::Result;

/// Makes a [`PullConsumer`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct PullConsumerBuilder {
    client: Client,
    settings: Settings,
}

impl PullConsumerBuilder {
    pub(super) fn new(client: &Client) -> PullConsumerBuilder {
        PullConsumerBuilder { client: client.clone(), settings: Settings::default() }
    }

    /// Group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = group.into();
        self
    }

    /// Adds a topic whose queues are shared out within the group; a second call for a topic replaces its expression. Without
    /// one, [`PullConsumer::assign`] or [`PullConsumer::subscribe`] decides later.
    pub fn subscribe(mut self, topic: impl Into<String>, expression: impl Into<Expression>) -> Self {
        let topic = topic.into();
        self.settings.subscriptions.retain(|(known, _)| *known != topic);
        self.settings.subscriptions.push((topic, expression.into()));
        self
    }

    /// Who of the group gets a message. Default: one member.
    pub fn model(mut self, model: Model) -> Self {
        self.settings.model = model;
        self
    }

    /// Where a queue begins for which the group has no offset. Default: at the end.
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.settings.consume_from = from;
        self
    }

    /// How the group shares queues; all members must use the same. Default: [`crate::allocate::Averagely`].
    pub fn strategy(mut self, strategy: impl Allocation) -> Self {
        self.settings.strategy = Arc::new(strategy);
        self
    }

    /// Whether polls commit what earlier polls have given. Default true.
    pub fn auto_commit(mut self, on: bool) -> Self {
        self.settings.auto_commit = on;
        self
    }

    /// Time between such commits, at least 100 ms. Default 5 s.
    pub fn auto_commit_interval(mut self, interval: Duration) -> Self {
        self.settings.auto_commit_interval = interval;
        self
    }

    /// Most messages of one pull and of one poll, 1 to 1024; brokers may give fewer. Default 32.
    pub fn pull_batch_size(mut self, messages: usize) -> Self {
        self.settings.pull_batch_size = messages;
        self
    }

    /// Messages of one queue that are fetched ahead; with more the queue is not pulled. Default 1000.
    pub fn queue_messages_max(mut self, messages: usize) -> Self {
        self.settings.queue_messages_max = messages;
        self
    }

    /// Bytes of bodies of one queue likewise. Default 100 MiB.
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.queue_bytes_max = bytes;
        self
    }

    /// Messages of all queues likewise. Default 10,000.
    pub fn messages_max(mut self, messages: usize) -> Self {
        self.settings.messages_max = messages;
        self
    }

    /// Folder for the offsets of a broadcasting consumer, see [`crate::PushConsumerBuilder::offsets_folder`].
    pub fn offsets_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.offsets_folder = Some(folder.into());
        self
    }

    /// Starts the consumer.
    ///
    /// # Errors
    /// As [`crate::PushConsumerBuilder::start`].
    ///
    /// # Cancellation
    /// Dropped half-way, the consumer is stopped in the background.
    pub async fn start(self) -> Result<PullConsumer> {
        PullConsumer::start(self.client, self.settings).await
    }
}
