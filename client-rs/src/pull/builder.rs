//! Makes pull consumers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::PullConsumer;
use super::settings::Settings;
use crate::client::Client;
use crate::consume::allocate::Allocation;
use crate::consume::settings::common_setters;
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

    common_setters! {
        group: "Group.",
        subscribe: "Adds a topic whose queues are shared out within the group; a second call for a topic replaces its \
            expression. Without one, [`PullConsumer::assign`] or [`PullConsumer::subscribe`] decides later.",
        pull_batch_size: "Most messages of one pull and of one poll, 1 to 1024; brokers may give fewer. Default 32.",
        queue_messages_max: "Messages of one queue that are fetched ahead; with more the queue is not pulled. Default 1000.",
        messages_max: "Messages of all queues likewise. Default 10,000.",
        offsets_folder: "Folder for the offsets of a broadcasting consumer, see \
            [`crate::PushConsumerBuilder::offsets_folder`].",
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
