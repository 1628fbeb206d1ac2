//! Where a group without an offset starts, and who of a group gets a message.

use flotilla_remoting::bodies::{ConsumeFromWhere, MessageModel};

/// Where a queue is begun for which the group has no offset yet.
///
/// Brokers answer offset 0 for a queue whose first message is still young, whatever is set here; a new group on a new topic
/// gets everything. Source: RocketMQ 5.3 ConsumerManageProcessor.queryConsumerOffset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumeFrom {
    /// At the end: only messages sent from now on.
    #[default]
    Last,
    /// At the oldest message that there is.
    First,
    /// At the first message stored at or after this time, in ms since 1970.
    TimestampMs(i64),
}

impl ConsumeFrom {
    /// The name that heartbeats tell.
    pub(crate) fn wire(self) -> ConsumeFromWhere {
        match self {
            ConsumeFrom::Last => ConsumeFromWhere::LastOffset,
            ConsumeFrom::First => ConsumeFromWhere::FirstOffset,
            ConsumeFrom::TimestampMs(_) => ConsumeFromWhere::Timestamp,
        }
    }
}

/// Who of a group gets a message. All members of a group must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// One member; the broker keeps the offsets.
    #[default]
    Clustering,
    /// Every member; each keeps its own offsets in a file.
    Broadcasting,
}

impl Model {
    /// The name that heartbeats tell.
    pub(crate) fn wire(self) -> MessageModel {
        match self {
            Model::Clustering => MessageModel::Clustering,
            Model::Broadcasting => MessageModel::Broadcasting,
        }
    }
}
