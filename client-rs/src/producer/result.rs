//! What a send ends with.
//! Source: RocketMQ 5.3 MQClientAPIImpl.processSendResponse, SendResult, SendStatus.

use std::fmt;
use std::sync::Arc;

use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{SendMessageResponse, key};
use flotilla_remoting::{ExtFields, ResponseCode};

use super::job::Job;
use super::topics::Target;
use crate::error::{ClientError, Result};

/// How well a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As the broker promises: at Flotilla flushed by a majority of the replicas.
    Ok,
    /// Stored, but the broker could not flush it in time (10): lost if its machine fails now.
    FlushDiskTimeout,
    /// Stored, but there is no replica to copy it to (11): lost if the disk fails.
    SlaveNotAvailable,
    /// Stored, but the copy took too long (12): lost if the broker does not come back.
    FlushSlaveTimeout,
}

impl SendStatus {
    fn of(code: ResponseCode) -> Option<SendStatus> {
        match code {
            ResponseCode::Success => Some(SendStatus::Ok),
            ResponseCode::FlushDiskTimeout => Some(SendStatus::FlushDiskTimeout),
            ResponseCode::SlaveNotAvailable => Some(SendStatus::SlaveNotAvailable),
            ResponseCode::FlushSlaveTimeout => Some(SendStatus::FlushSlaveTimeout),
            _ => None,
        }
    }
}

/// A message that was stored, and where.
#[derive(Clone)]
pub struct SendResult {
    status: SendStatus,
    queue: Arc<MessageQueue>,
    queue_offset: i64,
    message_id: String,
    answer: Answer,
}

/// The fields of the broker's answer: of this message alone, or of the batch that it was part of.
#[derive(Clone, Debug)]
enum Answer {
    Own(ExtFields),
    Shared { fields: Arc<ExtFields>, index: usize },
}

impl SendResult {
    /// How well it is stored.
    pub fn status(&self) -> SendStatus {
        self.status
    }

    /// Queue that it was stored in. Of a delayed message: the one that it will come to.
    pub fn queue(&self) -> &Arc<MessageQueue> {
        &self.queue
    }

    /// Its number in the queue. Of a delayed message: a number of the broker's own, not one of the queue.
    pub fn queue_offset(&self) -> i64 {
        self.queue_offset
    }

    /// Unique id that the producer gave it.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// Id by store host and log position; empty when the broker gave none.
    pub fn offset_message_id(&self) -> &str {
        match &self.answer {
            Answer::Own(fields) => fields.get("msgId").unwrap_or_default(),
            // Of a batch the ids of all its messages, in order, with commas between.
            Answer::Shared { fields, index } => {
                fields.get("msgId").unwrap_or_default().split(',').nth(*index).unwrap_or_default()
            }
        }
    }

    /// Transaction id; RocketMQ's brokers repeat the unique id here.
    pub fn transaction_id(&self) -> Option<&str> {
        self.fields().get("transactionId")
    }

    /// Handle for [`recall`](super::Producer::recall), given for messages with a time of delivery by brokers that can
    /// take them back.
    pub fn recall_handle(&self) -> Option<&str> {
        self.fields().get("recallHandle")
    }

    /// Region of the broker.
    pub fn region(&self) -> Option<&str> {
        self.fields().get(key::MESSAGE_REGION)
    }

    fn fields(&self) -> &ExtFields {
        match &self.answer {
            Answer::Own(fields) => fields,
            Answer::Shared { fields, .. } => fields,
        }
    }

    /// Claims that an answer says that the message is stored.
    pub(super) fn is_stored(frame: &Frame) -> bool {
        SendStatus::of(frame.header.response_code()).is_some()
    }

    /// Reads the answer to a job. A success takes the ids of its message, which then can't be sent again.
    ///
    /// # Errors
    /// `Refused`; `Unknown` when the broker says so; `Malformed`.
    pub(super) fn read(frame: Frame, target: &Target, job: &mut Job) -> Result<SendResult> {
        let (address, queue) = (&*target.address, &target.queue);
        let Some(status) = SendStatus::of(frame.header.response_code()) else {
            return Err(crate::remote::refusal(address, &frame));
        };
        let fields = frame.header.ext;
        let (queue_id, queue_offset) = match SendMessageResponse::decode(&fields) {
            Ok(header) => (header.queue_id, header.queue_offset),
            Err(error) => return Err(ClientError::malformed(address, error)),
        };
        // The broker chooses a queue when it was asked to, and another one for retry topics.
        let queue = if queue_id == queue.queue_id {
            queue.clone()
        } else {
            Arc::new(MessageQueue { queue_id, ..MessageQueue::clone(queue) })
        };
        Ok(SendResult {
            status,
            queue,
            queue_offset,
            message_id: job.message_id(),
            answer: Answer::Own(fields),
        })
    }

    /// The results of a batch's messages, whose unique ids are given, from that of the batch.
    pub(super) fn of_messages(self, message_ids: Vec<String>) -> impl Iterator<Item = SendResult> {
        let fields = match self.answer {
            Answer::Own(fields) => Arc::new(fields),
            Answer::Shared { fields, .. } => fields,
        };
        let (status, queue, first) = (self.status, self.queue, self.queue_offset);
        message_ids.into_iter().zip(0_i64..).map(move |(message_id, number)| SendResult {
            status,
            queue: queue.clone(),
            queue_offset: first + number,
            message_id,
            answer: Answer::Shared { fields: fields.clone(), index: number as usize },
        })
    }
}

impl fmt::Debug for SendResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendResult")
            .field("status", &self.status)
            .field("queue", &self.queue)
            .field("queue_offset", &self.queue_offset)
            .field("message_id", &self.message_id)
            .field("offset_message_id", &self.offset_message_id())
            .finish_non_exhaustive()
    }
}

/// A batch of which not everything was stored. Its parts go one after the other, so that what was stored is its beginning.
#[derive(Clone, Debug, thiserror::Error)]
#[error("batch stopped after {} messages: {error}", stored.len())]
pub struct BatchError {
    /// Results of the messages that were stored, from the first on.
    pub stored: Vec<SendResult>,
    /// Why the part behind them was not, or perhaps not: see [`ClientError::outcome_is_unknown`].
    #[source]
    pub error: ClientError,
}

impl From<BatchError> for ClientError {
    fn from(batch: BatchError) -> ClientError {
        batch.error
    }
}
