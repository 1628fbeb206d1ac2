//! Consumers that ask for messages: the application polls and decides what is consumed.

mod builder;
mod settings;

use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;

pub use builder::PullConsumerBuilder;

use crate::client::Client;
use crate::consume::Expression;
use crate::error::{ClientError, Result};
use crate::received::ReceivedMessage;

/// A consumer that the application polls; what Java calls a lite pull consumer.
///
/// Its queues are either shared out within the group ([`PullConsumer::subscribe`]) or chosen by the application
/// ([`PullConsumer::assign`]). Dropped, it stops as [`PullConsumer::shutdown`] does, in the background.
#[derive(Debug)]
pub struct PullConsumer {
    settings: settings::Settings,
}

impl PullConsumer {
    /// Begins a consumer of a client.
    pub fn builder(client: &Client) -> PullConsumerBuilder {
        PullConsumerBuilder::new(client)
    }

    pub(crate) async fn start(client: Client, settings: settings::Settings) -> Result<PullConsumer> {
        settings.check()?;
        let _ = client;
        Err(ClientError::Invalid("pull consumers are not there yet".into()))
    }

    /// Group.
    pub fn group(&self) -> &str {
        &self.settings.group
    }

    /// Adds a topic, or replaces its expression; the group shares out its queues soon.
    ///
    /// # Errors
    /// `Invalid` for an expression that selects nothing, and after [`PullConsumer::assign`].
    pub async fn subscribe(&self, topic: &str, expression: impl Into<Expression>) -> Result<()> {
        let _ = (topic, expression.into());
        Err(ClientError::Stopped)
    }

    /// Takes exactly these queues, whatever other members do; those that it had and are not named are given up.
    ///
    /// # Errors
    /// `Invalid` after [`PullConsumer::subscribe`].
    pub async fn assign(&self, queues: Vec<MessageQueue>) -> Result<()> {
        let _ = queues;
        Err(ClientError::Stopped)
    }

    /// Queues that it has now, sorted.
    pub fn assignment(&self) -> Vec<MessageQueue> {
        Vec::new()
    }

    /// Messages of one queue, as soon as there are some; empty when the time is up. With auto-commit, messages of earlier
    /// polls count as consumed from now on.
    ///
    /// # Errors
    /// `Stopped` after a shutdown of the client.
    ///
    /// # Cancellation
    /// Safe to drop: no message is lost.
    pub async fn poll(&self, timeout: Duration) -> Result<Vec<ReceivedMessage>> {
        let _ = timeout;
        Err(ClientError::Stopped)
    }

    /// Goes on at an offset: the next poll of the queue gives messages from there.
    ///
    /// # Errors
    /// `Invalid` when the queue is not of this consumer, or the offset is not within the queue.
    pub async fn seek(&self, queue: &MessageQueue, offset: i64) -> Result<()> {
        let _ = (queue, offset);
        Err(ClientError::Stopped)
    }

    /// Goes to the oldest message.
    ///
    /// # Errors
    /// As [`PullConsumer::seek`], and what kept the broker from answering.
    pub async fn seek_to_begin(&self, queue: &MessageQueue) -> Result<()> {
        let _ = queue;
        Err(ClientError::Stopped)
    }

    /// Goes behind the newest message.
    ///
    /// # Errors
    /// As [`PullConsumer::seek_to_begin`].
    pub async fn seek_to_end(&self, queue: &MessageQueue) -> Result<()> {
        let _ = queue;
        Err(ClientError::Stopped)
    }

    /// Offset of the first message stored at or after a time, in ms since 1970.
    ///
    /// # Errors
    /// What kept the broker from answering.
    pub async fn offset_for_timestamp(&self, queue: &MessageQueue, timestamp_ms: i64) -> Result<i64> {
        let _ = (queue, timestamp_ms);
        Err(ClientError::Stopped)
    }

    /// Offset that the group has committed for a queue, `None` without one.
    ///
    /// # Errors
    /// What kept the broker from answering.
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>> {
        let _ = queue;
        Err(ClientError::Stopped)
    }

    /// Offset behind the last message that a poll gave; `None` for a queue that is not of this consumer or was not begun.
    pub fn position(&self, queue: &MessageQueue) -> Option<i64> {
        let _ = queue;
        None
    }

    /// Commits everything that polls have given.
    ///
    /// # Errors
    /// The first failure; the other queues are committed all the same. Commit again.
    pub async fn commit(&self) -> Result<()> {
        Err(ClientError::Stopped)
    }

    /// Pulls these queues no more, and polls give none of their messages.
    pub fn pause(&self, queues: &[MessageQueue]) {
        let _ = queues;
    }

    /// Pulls these queues again.
    pub fn resume(&self, queues: &[MessageQueue]) {
        let _ = queues;
    }

    /// All queues of a topic that can be read.
    ///
    /// # Errors
    /// `NoRoute` when there is no such topic; what kept the name servers from answering.
    pub async fn fetch_message_queues(&self, topic: &str) -> Result<Vec<MessageQueue>> {
        let _ = topic;
        Err(ClientError::Stopped)
    }

    /// Stops: with auto-commit, commits everything that polls have given; then leaves the group.
    ///
    /// # Cancellation
    /// Dropped, the rest happens in the background.
    pub async fn shutdown(self) {}
}
