//! What waits for the proposer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flotilla_core::{Answer, Command};
use flotilla_raft_store::raft::ProposeError;

use super::machine::EntryAnswer;
use crate::call::Call;
use crate::metrics::{DeadLetters, GroupMetrics, TopicMetrics};

/// One unit of work: it goes into one entry as a whole.
pub enum Work {
    Send(Box<SendWork>),
    Command(CommandWork),
    Entry(EntryWork),
}

impl Work {
    /// When a send came to this replica.
    pub fn since(&self) -> Option<Instant> {
        match self {
            Self::Send(send) => Some(send.call.reply.since()),
            Self::Command(_) | Self::Entry(_) => None,
        }
    }
}

/// The messages of one send, checked and ready to be encoded.
pub struct SendWork {
    pub call: Call,
    /// Where the messages are stored: for a delayed one the schedule topic.
    pub topic: Arc<str>,
    pub queue_id: u32,
    pub messages: Messages,
    pub answer: SendAnswer,
    /// Counters of the topic.
    pub series: Arc<TopicMetrics>,
    /// Counters of the dead letters of a group, when this is one.
    pub dead_letter: Option<Arc<DeadLetters>>,
}

/// What the caller of a send hears when its messages are stored.
pub enum SendAnswer {
    /// Where they are.
    Sent {
        /// The queue that was asked for: a delayed message waits in another one.
        queue_id: u32,
        /// Unique client id that the answer repeats as `transactionId`.
        unique_id: Option<String>,
    },
    /// That a message was taken back (CONSUMER_SEND_MSG_BACK).
    TakenBack {
        /// Counters of the group and the topic that the message came from.
        group: Arc<GroupMetrics>,
    },
}

/// One message or the members of a batch.
pub enum Messages {
    One(NewMessage),
    Batch(Vec<NewMessage>),
}

impl Messages {
    pub fn as_slice(&self) -> &[NewMessage] {
        match self {
            Self::One(message) => std::slice::from_ref(message),
            Self::Batch(messages) => messages,
        }
    }

    pub fn count(&self) -> usize {
        self.as_slice().len()
    }
}

/// A message before it has its place in the log. Offsets and store time are stamped when the entry is appended.
pub struct NewMessage {
    /// Bytes that it takes in the log.
    pub size: usize,
    pub flag: i32,
    /// As the client sent it; the bits of the address families are set when it is encoded.
    pub sys_flag: i32,
    pub born_timestamp: i64,
    pub born_host: SocketAddr,
    pub reconsume_times: i32,
    pub body: Bytes,
    /// Properties in their text form.
    pub properties: String,
    /// The text has already what the broker adds to every message: it was stored before.
    pub complete: bool,
}

/// A command and where its outcome goes.
pub struct CommandWork {
    pub command: Command,
    /// The command is not proposed after this moment.
    pub deadline: Instant,
    pub answer: Box<dyn FnOnce(Result<Answer, ProposeError>) + Send>,
}

/// An entry of a leader's duty, commands and messages together. It shares the entry with nobody and is appended in the term that
/// it was made for or not at all.
pub struct EntryWork {
    /// The payload with room for the record header in front.
    pub payload: Bytes,
    pub term: u64,
    pub answer: Box<dyn FnOnce(Result<EntryAnswer, ProposeError>) + Send>,
}
