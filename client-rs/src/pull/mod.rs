//! Consumers that ask for messages: the application polls and decides what is consumed.
//!
//! | file           | subject                                                                |
//! |----------------|------------------------------------------------------------------------|
//! | `builder.rs`   | makes consumers; `settings.rs` checks what it was told                 |
//! | `core.rs`      | what the tasks share; start, farewell, the queues                      |
//! | `assigned.rs`  | a queue: what was fetched ahead, and the positions; pure               |
//! | `fetch.rs`     | the task of a queue: fetches ahead                                     |
//! | `polling.rs`   | polls, seeks and commits                                               |
//! | `member.rs`    | what brokers ask                                                       |

mod assigned;
mod builder;
mod core;
mod fetch;
mod member;
mod polling;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;

pub use builder::PullConsumerBuilder;

use crate::client::Client;
use crate::consume::Expression;
use crate::error::Result;
use crate::received::ReceivedMessage;

/// A consumer that the application polls; what Java calls a lite pull consumer.
///
/// Its queues are either shared out within the group ([`PullConsumer::subscribe`]) or chosen by the application
/// ([`PullConsumer::assign`]). Dropped, it stops in the background as [`PullConsumer::shutdown`] does, but commits only what
/// polls before the latest one gave: the messages of that one may not be worked on yet, and come again.
///
/// ```no_run
/// # async fn example() -> flotilla_client::Result<()> {
/// use std::time::Duration;
/// use flotilla_client::{Client, PullConsumer};
/// let client = Client::connect("127.0.0.1:9876")?;
/// let consumer = PullConsumer::builder(&client).group("audit").subscribe("orders", "*").start().await?;
/// for message in consumer.poll(Duration::from_secs(5)).await? {
///     println!("{}", message.message_id());
/// }
/// consumer.commit().await?;
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct PullConsumer {
    core: Arc<core::Core>,
}

impl PullConsumer {
    /// Begins a consumer of a client.
    pub fn builder(client: &Client) -> PullConsumerBuilder {
        PullConsumerBuilder::new(client)
    }

    pub(crate) async fn start(client: Client, settings: settings::Settings) -> Result<PullConsumer> {
        Ok(PullConsumer { core: core::Core::start(client, settings).await? })
    }

    /// Group.
    pub fn group(&self) -> &str {
        &self.core.settings.common.group
    }

    /// Adds a topic, or replaces its expression; the group shares out its queues soon.
    ///
    /// # Errors
    /// `Invalid` for an expression that selects nothing, and after [`PullConsumer::assign`]; `Refused` for a condition that a
    /// broker does not take; what kept name servers or brokers from answering.
    ///
    /// # Cancellation
    /// Dropped half-way, the topic may or may not be subscribed.
    pub async fn subscribe(&self, topic: &str, expression: impl Into<Expression>) -> Result<()> {
        self.core.subscribe(topic, &expression.into()).await
    }

    /// Takes exactly these queues, whatever other members do; those that it had and are not named are given up. Messages are
    /// not selected by any expression.
    ///
    /// # Errors
    /// `Invalid` after [`PullConsumer::subscribe`]; `Stopped`.
    ///
    /// # Cancellation
    /// Does not wait for anything.
    pub async fn assign(&self, queues: Vec<MessageQueue>) -> Result<()> {
        self.core.assign(queues)
    }

    /// Queues that it has now, sorted.
    pub fn assignment(&self) -> Vec<MessageQueue> {
        self.core.queues.lock().keys().cloned().collect()
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
        self.core.poll(timeout).await
    }

    /// Goes on at an offset: the next poll of the queue gives messages from there.
    ///
    /// # Errors
    /// `Invalid` when the queue is not of this consumer, or the offset is not within the queue; what kept the broker from
    /// answering.
    ///
    /// # Cancellation
    /// Dropped half-way, nothing has changed.
    pub async fn seek(&self, queue: &MessageQueue, offset: i64) -> Result<()> {
        self.core.seek(queue, offset).await
    }

    /// Goes to the oldest message.
    ///
    /// # Errors
    /// As [`PullConsumer::seek`].
    ///
    /// # Cancellation
    /// As [`PullConsumer::seek`].
    pub async fn seek_to_begin(&self, queue: &MessageQueue) -> Result<()> {
        let offset = self.core.member.calls.min_offset(queue).await?;
        self.core.set_position(queue, offset)
    }

    /// Goes behind the newest message.
    ///
    /// # Errors
    /// As [`PullConsumer::seek`].
    ///
    /// # Cancellation
    /// As [`PullConsumer::seek`].
    pub async fn seek_to_end(&self, queue: &MessageQueue) -> Result<()> {
        let offset = self.core.member.calls.max_offset(queue).await?;
        self.core.set_position(queue, offset)
    }

    /// Offset of the first message stored at or after a time, in ms since 1970; behind the last message when all are older.
    ///
    /// # Errors
    /// What kept the broker from answering.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn offset_for_timestamp(&self, queue: &MessageQueue, timestamp_ms: i64) -> Result<i64> {
        self.core.member.calls.offset_at(queue, timestamp_ms).await
    }

    /// Offset that the group has committed for a queue, `None` without one.
    ///
    /// # Errors
    /// What kept the broker from answering.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>> {
        self.core.member.offsets.stored(queue).await
    }

    /// Offset behind the last message that a poll gave; `None` for a queue that is not of this consumer or was not begun.
    pub fn position(&self, queue: &MessageQueue) -> Option<i64> {
        self.core.queue(queue)?.state.lock().position()
    }

    /// Commits everything that polls have given, and positions that were sought.
    ///
    /// # Errors
    /// The first failure; the other queues are committed all the same. Commit again.
    ///
    /// # Cancellation
    /// Dropped half-way, some queues may be committed.
    pub async fn commit(&self) -> Result<()> {
        self.core.commit_positions().await
    }

    /// Pulls these queues no more, and polls give none of their messages.
    pub fn pause(&self, queues: &[MessageQueue]) {
        self.core.set_paused(queues, true);
    }

    /// Pulls these queues again.
    pub fn resume(&self, queues: &[MessageQueue]) {
        self.core.set_paused(queues, false);
    }

    /// All queues of a topic that can be read.
    ///
    /// # Errors
    /// `NoRoute` when there is no such topic; what kept the name servers from answering.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn fetch_message_queues(&self, topic: &str) -> Result<Vec<MessageQueue>> {
        Ok(self.core.member.calls.client.routes.refresh(topic).await?.read_queues().to_vec())
    }

    /// Stops: with auto-commit, commits everything that polls have given; then leaves the group. To be called when all of that
    /// is consumed; else drop the consumer. A shutdown of the client is like a drop.
    ///
    /// # Cancellation
    /// Dropped, the rest happens in the background.
    pub async fn shutdown(self) {
        self.core.all_consumed.store(true, std::sync::atomic::Ordering::SeqCst);
        self.core.member.stop.cancel();
        self.core.member.stopped.cancelled().await;
    }
}

impl Drop for PullConsumer {
    fn drop(&mut self) {
        self.core.member.stop.cancel();
    }
}

impl std::fmt::Debug for PullConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullConsumer").field("group", &self.group()).finish_non_exhaustive()
    }
}
