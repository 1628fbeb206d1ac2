//! Dead-letter topics, and which messages go there without another try.

use flotilla_core::{Command, Perm, TopicConfig};

/// Queues of a dead-letter topic. Source: AbstractSendMessageProcessor.DLQ_NUMS_PER_GROUP 5.3.3.
const DLQ_QUEUES: u32 = 1;

/// The command that makes a group's dead-letter topic: it can be read and written, so that what ended there can be looked at.
/// Source: AbstractSendMessageProcessor.consumerSendMsgBack 5.3.3; releases before 4.8 made it write-only.
pub fn make_dlq(name: &str) -> Command {
    Command::CreateTopic(TopicConfig::new(name, DLQ_QUEUES, Perm::READ_WRITE))
}
