//! What can be set for a producer.

use std::time::Duration;

use flotilla_remoting::names;

use super::Producer;
use super::transaction::{TransactionProducer, TransactionState};
use crate::client::Client;
use crate::compression::Codec;
use crate::error::{ClientError, Result};
use crate::limits;
use crate::received::ReceivedMessage;

/// Settings of a producer, as set.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) group: String,
    pub(super) send_timeout: Duration,
    pub(super) retries_max: u32,
    pub(super) retry_unknown: bool,
    pub(super) in_flight_max: u32,
    pub(super) in_flight_bytes_max: u32,
    pub(super) codec: Option<Codec>,
    pub(super) compress_above: usize,
    pub(super) body_size_max: usize,
    pub(super) linger: Duration,
    pub(super) batch_size_max: usize,
    pub(super) batch_count_max: usize,
    pub(super) topic_queue_count: i32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            group: "flotilla_producer".to_owned(),
            send_timeout: Duration::from_secs(3),
            retries_max: u32::MAX,
            retry_unknown: false,
            in_flight_max: limits::IN_FLIGHT_MAX,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            codec: Some(Codec::Zlib(5)),
            compress_above: 4096,
            body_size_max: 4 * 1024 * 1024,
            linger: Duration::ZERO,
            batch_size_max: 256 * 1024,
            batch_count_max: 1_000,
            topic_queue_count: 4,
        }
    }
}

/// Settings of a producer that is about to be started.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct ProducerBuilder {
    client: Client,
    options: Options,
}

impl ProducerBuilder {
    pub(super) fn new(client: &Client) -> ProducerBuilder {
        ProducerBuilder { client: client.clone(), options: Options::default() }
    }

    /// Name of the group, at most 120 of the characters `% | a-z A-Z 0-9 _ -`. Producers that answer for each other's
    /// transactions share one; a client has one producer a group. Default `flotilla_producer`.
    pub fn group(mut self, group: impl Into<String>) -> ProducerBuilder {
        self.options.group = group.into();
        self
    }

    /// Time for a send altogether: waiting for room, route and connection, all attempts, and the answer. Default 3 s.
    pub fn send_timeout(mut self, timeout: Duration) -> ProducerBuilder {
        self.options.send_timeout = timeout;
        self
    }

    /// Attempts after the first one. Default: as many as the time allows; they are spaced 20 to 200 ms.
    pub fn retries_max(mut self, retries: u32) -> ProducerBuilder {
        self.options.retries_max = retries;
        self
    }

    /// Sends again also when the outcome of an attempt is unknown, so that a message is stored at least once, and perhaps
    /// twice or in another order. Default off: the caller gets the error and decides.
    pub fn retry_unknown(mut self, retry: bool) -> ProducerBuilder {
        self.options.retry_unknown = retry;
        self
    }

    /// Messages sent and not answered yet, at least 1. Further ones wait for room until their time is up and end with
    /// [`ClientError::Busy`]. Default 10,000.
    pub fn in_flight_max(mut self, count: u32) -> ProducerBuilder {
        self.options.in_flight_max = count;
        self
    }

    /// Likewise in bytes of bodies and properties, at least 1; a message that is larger goes alone. Default 64 MiB.
    pub fn in_flight_bytes_max(mut self, bytes: u32) -> ProducerBuilder {
        self.options.in_flight_bytes_max = bytes;
        self
    }

    /// How bodies are compressed; `None` leaves them as they are. Default zlib at level 5, which every client reads.
    pub fn compression(mut self, codec: Option<Codec>) -> ProducerBuilder {
        self.options.codec = codec;
        self
    }

    /// Bodies of so many bytes or more are compressed. Default 4,096.
    pub fn compress_above(mut self, bytes: usize) -> ProducerBuilder {
        self.options.compress_above = bytes;
        self
    }

    /// Largest body taken, in bytes before compression. Default 4 MiB, what brokers take by default; at most 64 MiB, what
    /// consumers decompress. One that a frame of 16 MiB does not hold as it is sent is refused with [`ClientError::Invalid`].
    pub fn body_size_max(mut self, bytes: usize) -> ProducerBuilder {
        self.options.body_size_max = bytes.min(limits::DECOMPRESSED_SIZE_MAX);
        self
    }

    /// Collects messages for up to this time and sends them as batches. Default 0: each message goes at once.
    ///
    /// Messages that a batch can't hold (delayed, to be compressed, transactional, of request-reply) go alone, and so may
    /// overtake those that wait.
    pub fn linger(mut self, linger: Duration) -> ProducerBuilder {
        self.options.linger = linger;
        self
    }

    /// Largest body of a batch, in bytes: one that is fuller goes at once, one that is sent explicitly is split. Default
    /// 256 KiB; at most what the broker takes as a body, and what a frame of 16 MiB holds beside its header.
    pub fn batch_size_max(mut self, bytes: usize) -> ProducerBuilder {
        self.options.batch_size_max = bytes.min(limits::BATCH_SIZE_MAX);
        self
    }

    /// Most messages of a batch, at least 1. Default 1,000.
    pub fn batch_count_max(mut self, count: usize) -> ProducerBuilder {
        self.options.batch_count_max = count;
        self
    }

    /// Queues asked for when a broker makes a topic on the first send. Default 4.
    pub fn topic_queue_count(mut self, count: i32) -> ProducerBuilder {
        self.options.topic_queue_count = count;
        self
    }

    /// Starts the producer. Nothing is sent yet: brokers hear of it when the first topic is used.
    ///
    /// # Errors
    /// `Invalid` for a value out of range, or a group that the client has a producer of already; `Stopped` when the client
    /// was shut down.
    pub async fn start(self) -> Result<Producer> {
        self.check()?;
        Producer::start(self.client, self.options, None)
    }

    /// Starts a producer that can also send in transactions. `check` decides about messages whose outcome the broker asks
    /// for, because this or another producer of the group did not say: it looks at what the local transaction left.
    ///
    /// # Errors
    /// As [`ProducerBuilder::start`].
    pub async fn start_transactional<F, D>(self, check: F) -> Result<TransactionProducer>
    where
        F: Fn(ReceivedMessage) -> D + Send + Sync + 'static,
        D: Future<Output = TransactionState> + Send + 'static,
    {
        self.check()?;
        TransactionProducer::start(self.client, self.options, check)
    }

    fn check(&self) -> Result<()> {
        let options = &self.options;
        let invalid = |what: &str| Err(ClientError::Invalid(what.to_owned()));
        if let Err(error) = names::check_group(&options.group) {
            return Err(ClientError::Invalid(format!("group: {error}")));
        }
        if options.send_timeout.is_zero() {
            return invalid("send_timeout must be more than nothing");
        }
        if options.in_flight_max == 0 || options.in_flight_bytes_max == 0 {
            return invalid("in_flight_max and in_flight_bytes_max must be at least 1");
        }
        if options.batch_count_max == 0 || options.batch_size_max == 0 {
            return invalid("batch_count_max and batch_size_max must be at least 1");
        }
        if options.linger >= options.send_timeout {
            return invalid("linger must be below send_timeout");
        }
        if options.topic_queue_count < 1 {
            return invalid("topic_queue_count must be at least 1");
        }
        if self.client.inner.stop.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        Ok(())
    }
}
