//! Makes push consumers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::listener::{Listener, OrderlyListener, Verdict};
use super::settings::Settings;
use super::stream::MessageStream;
use super::{OrderlyOutcome, Outcome, PushConsumer, listener};
use crate::client::Client;
use crate::consume::allocate::Allocation;
use crate::consume::settings::common_setters;
use crate::consume::{ConsumeFrom, Expression, Model};
use crate::error::Result;
use crate::received::ReceivedMessage;

/// Makes a [`PushConsumer`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct PushConsumerBuilder {
    client: Client,
    settings: Settings,
}

impl PushConsumerBuilder {
    pub(super) fn new(client: &Client) -> PushConsumerBuilder {
        PushConsumerBuilder { client: client.clone(), settings: Settings::default() }
    }

    common_setters! {
        group: "Group. All members of a group must subscribe to the same topics by the same expressions.",
        subscribe: "Adds a topic; a second call for a topic replaces its expression.",
        pull_batch_size: "Most messages of one pull, 1 to 1024; brokers may give fewer. Default 32.",
        queue_messages_max: "Messages of one queue that are held and not consumed yet; with more the queue is not pulled. \
            Default 1000.",
        messages_max: "Messages of all queues likewise. Default 100,000.",
        offsets_folder: "Folder for the offsets of a broadcasting consumer. Default: `.rocketmq_offsets` in the home folder, \
            as the Java client. The file is `<folder>/<address>@<instance name or DEFAULT>/<group>/offsets.json`: two \
            consumers of one group on one machine need instance names.",
    }

    /// Listener calls that run at once. Default 20.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.settings.concurrency = calls;
        self
    }

    /// Most messages of one listener call, 1 to 1024. Default 1.
    pub fn consume_batch_size(mut self, messages: usize) -> Self {
        self.settings.consume_batch_size = messages;
        self
    }

    /// Pause of a queue after a pull that brought messages. Default none.
    pub fn pull_interval(mut self, pause: Duration) -> Self {
        self.settings.pull_interval = pause;
        self
    }

    /// Bytes of bodies of all queues that are held and not consumed yet; with more no queue is pulled. Default 512 MiB.
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.settings.bytes_max = bytes;
        self
    }

    /// Offsets between the oldest message of a queue that is not consumed and the newest; with more the queue is not pulled:
    /// that is how much is repeated after a crash. Concurrent listeners only. Default 2000.
    pub fn span_max(mut self, offsets: i64) -> Self {
        self.settings.span_max = offsets;
        self
    }

    /// Deliveries of a message after the first before it is a dead letter. Default: 16 for concurrent listeners, no end for
    /// orderly ones.
    pub fn max_reconsume_times(mut self, times: u32) -> Self {
        self.settings.max_reconsume_times = Some(times);
        self
    }

    /// A listener call that takes longer is given up: its messages are delivered again. Concurrent listeners only, and calls
    /// that an administrator asks for. Default 15 minutes.
    pub fn consume_timeout(mut self, limit: Duration) -> Self {
        self.settings.consume_timeout = limit;
        self
    }

    /// Pause of a queue after [`OrderlyOutcome::Suspend`], 10 ms to 30 s. Default 1 s.
    pub fn suspend(mut self, pause: Duration) -> Self {
        self.settings.suspend = pause;
        self
    }

    /// How often offsets are told to the broker or written to the file. Default 5 s.
    pub fn persist_interval(mut self, interval: Duration) -> Self {
        self.settings.persist_interval = interval;
        self
    }

    /// How long [`PushConsumer::shutdown`] waits for listener calls. Default 10 s.
    pub fn stop_wait(mut self, wait: Duration) -> Self {
        self.settings.stop_wait = wait;
        self
    }

    /// Starts a consumer that calls `listener` for several batches of messages at once, in no particular order.
    ///
    /// A topic that does not exist yet is consumed as soon as it does.
    ///
    /// ```no_run
    /// # async fn example() -> flotilla_client::Result<()> {
    /// use flotilla_client::{Client, Outcome, PushConsumer};
    /// let client = Client::connect("127.0.0.1:9876")?;
    /// let consumer = PushConsumer::builder(&client)
    ///     .group("billing")
    ///     .subscribe("orders", "paid || sent")
    ///     .start(|messages| async move {
    ///         for message in &messages {
    ///             println!("{}: {} bytes", message.message_id(), message.body().len());
    ///         }
    ///         Outcome::Success
    ///     })
    ///     .await?;
    /// // ...
    /// consumer.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for settings that make no sense and for a group that the client has already; `Refused` when a broker does not
    /// take the subscription (SQL92 needs `enablePropertyFilter`), and with NO_PERMISSION when no broker lets this client consume
    /// (wrong [credentials](crate::ClientOptions::credentials), or none, or an account without the right); what kept name servers
    /// or brokers from answering. Nothing is left behind; try again.
    ///
    /// # Cancellation
    /// Dropped half-way, the consumer is stopped in the background.
    pub async fn start<F, Fut>(self, listener: F) -> Result<PushConsumer>
    where
        F: Fn(Vec<ReceivedMessage>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let listener: Arc<Listener> = Arc::new(move |messages| {
            let call = listener(messages);
            Box::pin(async move { Verdict::Decided(call.await) })
        });
        PushConsumer::start(self.client, self.settings, listener::Kind::Concurrent(listener)).await
    }

    /// Starts a consumer that calls `listener` for one batch of a queue at a time, in the order of the queue. Queues are locked
    /// at their broker, so that no two members work on one.
    ///
    /// # Errors
    /// As [`PushConsumerBuilder::start`].
    ///
    /// # Cancellation
    /// As [`PushConsumerBuilder::start`].
    pub async fn start_orderly<F, Fut>(self, listener: F) -> Result<PushConsumer>
    where
        F: Fn(Vec<ReceivedMessage>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = OrderlyOutcome> + Send + 'static,
    {
        let listener: Arc<OrderlyListener> = Arc::new(move |messages| Box::pin(listener(messages)));
        PushConsumer::start(self.client, self.settings, listener::Kind::Orderly(listener)).await
    }

    /// Starts a consumer whose messages are taken from a stream and acknowledged one by one. At most `unacked_max` (1 to 4096)
    /// are handed out and not acknowledged; this takes the place of `concurrency` and `consume_batch_size`.
    ///
    /// # Errors
    /// As [`PushConsumerBuilder::start`].
    ///
    /// # Cancellation
    /// As [`PushConsumerBuilder::start`].
    pub async fn stream(self, unacked_max: usize) -> Result<MessageStream> {
        MessageStream::start(self.client, self.settings, unacked_max).await
    }
}
