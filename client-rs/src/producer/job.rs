//! What one request carries: a message or a batch, checked, compressed and given its ids.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::headers::SendMessageRequest;
use flotilla_remoting::message::properties;
use flotilla_remoting::names::{self, AUTO_CREATE_TOPIC};
use flotilla_remoting::{ExtFields, RequestCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::batch::Batch;
use super::options::Options;
use super::selector;
use crate::compression::Codec;
use crate::error::{ClientError, Result};
use crate::limits::INLINE_COMPRESSION_SIZE_MAX;
use crate::message::Message;
use crate::unique_id::now_ms;

/// One request to be.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) payload: Payload,
    pub(super) place: Place,
    /// When the caller called.
    pub(super) began: Instant,
    pub(super) deadline: Instant,
    code: RequestCode,
    sys_flag: i32,
    born_ms: i64,
    /// Bytes as sent.
    pub(super) body: Bytes,
    /// The body has yet to be compressed, on a thread that may block.
    compress_by: Option<Codec>,
}

#[derive(Debug)]
pub(super) enum Payload {
    One(Message),
    Many { topic: String, message_ids: Vec<String> },
}

/// A function of the caller; in a lock that nobody contends for, so that futures that hold it may move between threads.
pub(super) type Choice = Mutex<Box<dyn FnOnce(&[Arc<MessageQueue>]) -> usize + Send>>;

/// Who chooses the queue.
pub(super) enum Place {
    /// The producer, by turns; anew for each attempt.
    Any,
    /// The caller, or an earlier attempt.
    Queue(Arc<MessageQueue>),
    /// A function of the queues that there are; asked once.
    Chosen(Choice),
    /// The hash of a key over the queues that there are; looked at once.
    Hashed(i32),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Any => f.write_str("Any"),
            Place::Queue(queue) => f.debug_tuple("Queue").field(queue).finish(),
            Place::Chosen(_) => f.write_str("Chosen"),
            Place::Hashed(hash) => f.debug_tuple("Hashed").field(hash).finish(),
        }
    }
}

impl Place {
    /// Turns a choice into a queue, once and for all. Nothing to do without queues.
    ///
    /// # Errors
    /// `Invalid` when the caller's function chose what there is not.
    pub(super) fn settle(&mut self, queues: &[Arc<MessageQueue>]) -> Result<()> {
        if queues.is_empty() {
            return Ok(());
        }
        let index = match self {
            Place::Any | Place::Queue(_) => return Ok(()),
            Place::Hashed(hash) => selector::index(*hash, queues.len()),
            Place::Chosen(_) => {
                let Place::Chosen(choose) = std::mem::replace(self, Place::Any) else { return Ok(()) };
                choose.into_inner()(queues)
            }
        };
        let Some(queue) = queues.get(index) else {
            let count = queues.len();
            return Err(ClientError::Invalid(format!("the selector chose queue {index} of {count}")));
        };
        *self = Place::Queue(queue.clone());
        Ok(())
    }
}

impl Job {
    /// A message as an application sends it.
    ///
    /// # Errors
    /// `Invalid`.
    pub(super) fn message(message: Message, place: Place, options: &Options) -> Result<Job> {
        message.check_reserved()?;
        Job::of(message, place, options, RequestCode::SendMessageV2, 0)
    }

    /// A message of the client's own making, with flags.
    ///
    /// # Errors
    /// `Invalid`.
    pub(super) fn of(
        mut message: Message,
        place: Place,
        options: &Options,
        code: RequestCode,
        sys_flag: i32,
    ) -> Result<Job> {
        // First, because it takes room among the properties.
        message.ensure_unique_id();
        message.check(options.body_size_max)?;
        let mut job = Job::new(Payload::One(message), place, options, code);
        job.sys_flag = sys_flag;
        if let Payload::One(message) = &job.payload {
            job.body = message.body().clone();
        }
        if let Some(codec) = codec_for(job.body.len(), options) {
            if job.body.len() > INLINE_COMPRESSION_SIZE_MAX {
                job.compress_by = Some(codec);
            } else {
                job.take_compressed(codec, codec.compress(&job.body)?);
            }
        }
        Ok(job)
    }

    /// A batch, which began with its first message.
    pub(super) fn batch(topic: String, batch: Batch, place: Place, options: &Options) -> Job {
        let payload = Payload::Many { topic, message_ids: batch.message_ids };
        let mut job = Job::new(payload, place, options, RequestCode::SendBatchMessage);
        job.body = batch.records.freeze();
        job.began = batch.began;
        job.deadline = batch.began + options.send_timeout;
        job
    }

    fn new(payload: Payload, place: Place, options: &Options, code: RequestCode) -> Job {
        let began = Instant::now();
        Job {
            payload,
            place,
            began,
            deadline: began + options.send_timeout,
            code,
            sys_flag: 0,
            born_ms: now_ms(),
            body: Bytes::new(),
            compress_by: None,
        }
    }

    /// Claims that the body must be compressed before it can be sent.
    pub(super) fn must_be_compressed(&self) -> bool {
        self.compress_by.is_some()
    }

    /// Compresses a large body on a thread that may block. Safe to drop; the thread then works in vain.
    ///
    /// # Errors
    /// `Invalid` for a level that the codec does not have.
    pub(super) async fn compress(&mut self) -> Result<()> {
        let Some(codec) = self.compress_by else { return Ok(()) };
        let body = self.body.clone();
        let compressed = tokio::task::spawn_blocking(move || codec.compress(&body)).await;
        // Fails when the runtime ends.
        self.take_compressed(codec, compressed.map_err(|_| ClientError::Stopped)??);
        self.compress_by = None;
        Ok(())
    }

    fn take_compressed(&mut self, codec: Codec, compressed: Bytes) {
        // What does not get smaller is sent as it is.
        if compressed.len() < self.body.len() {
            self.body = compressed;
            self.sys_flag |= codec.flag_bits();
        }
    }

    pub(super) fn topic(&self) -> &str {
        match &self.payload {
            Payload::One(message) => message.topic(),
            Payload::Many { topic, .. } => topic,
        }
    }

    /// Number of messages.
    pub(super) fn count(&self) -> usize {
        match &self.payload {
            Payload::One(_) => 1,
            Payload::Many { message_ids, .. } => message_ids.len(),
        }
    }

    /// Bytes that it takes of the room in flight.
    pub(super) fn size(&self) -> usize {
        match &self.payload {
            Payload::One(message) => self.body.len() + message.properties_size(),
            Payload::Many { .. } => self.body.len(),
        }
    }

    pub(super) fn code(&self) -> RequestCode {
        self.code
    }

    /// Takes the unique id out; of a batch nothing, see [`Job::message_ids`].
    pub(super) fn message_id(&mut self) -> String {
        match &mut self.payload {
            Payload::One(message) => message.take_unique_id(),
            Payload::Many { .. } => String::new(),
        }
    }

    /// Takes the ids of a batch's messages out, in order.
    pub(super) fn message_ids(&mut self) -> Vec<String> {
        match &mut self.payload {
            Payload::One(message) => vec![message.take_unique_id()],
            Payload::Many { message_ids, .. } => std::mem::take(message_ids),
        }
    }

    /// The fields of the request. Source: RocketMQ 5.3 DefaultMQProducerImpl.sendKernelImpl.
    pub(super) fn header(&self, queue: &MessageQueue, options: &Options) -> ExtFields {
        let (flag, text) = match &self.payload {
            Payload::One(message) => (message.get_flag(), Some(message.properties_text())),
            Payload::Many { .. } => (0, None),
        };
        let topic = self.topic();
        // A consumer that sends a message back by itself tells how often it has failed in two fields of their own.
        let number = |name: &str| properties::get(text.as_deref()?, name)?.parse().ok();
        let is_retry = names::is_retry_topic(topic);
        let header = SendMessageRequest {
            producer_group: &options.group,
            topic,
            default_topic: AUTO_CREATE_TOPIC,
            default_topic_queue_nums: options.topic_queue_count,
            queue_id: queue.queue_id,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_ms,
            flag,
            properties: text.as_deref(),
            reconsume_times: Some(
                is_retry.then(|| number(properties::RECONSUME_TIME)).flatten().unwrap_or(0),
            ),
            unit_mode: false,
            batch: matches!(self.payload, Payload::Many { .. }),
            max_reconsume_times: is_retry.then(|| number(properties::MAX_RECONSUME_TIMES)).flatten(),
            broker_name: Some(&queue.broker_name),
        };
        header.encode_short()
    }
}

/// The codec for a body of so many bytes. Source: RocketMQ 5.3 DefaultMQProducerImpl.tryToCompressMessage
/// (`compressMsgBodyOverHowmuch`, reached is over).
pub(super) fn codec_for(body_size: usize, options: &Options) -> Option<Codec> {
    options.codec.filter(|_| body_size >= options.compress_above)
}
