//! Parts of several bodies: message queue, data version.

use serde::{Deserialize, Serialize};

use super::body;

/// A queue of a topic at a broker. As a map key it is written as a raw object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    /// Broker name.
    pub broker_name: String,
    /// Number of the queue, -1 for all of a broker.
    pub queue_id: i32,
    /// Topic.
    pub topic: String,
}

impl Ord for MessageQueue {
    /// By topic, broker name, queue: the order in which clients sort queues before they share them out.
    /// Source: RocketMQ 5.3 MessageQueue.compareTo.
    fn cmp(&self, other: &MessageQueue) -> std::cmp::Ordering {
        (&self.topic, &self.broker_name, self.queue_id).cmp(&(
            &other.topic,
            &other.broker_name,
            other.queue_id,
        ))
    }
}

impl PartialOrd for MessageQueue {
    fn partial_cmp(&self, other: &MessageQueue) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

body! {
    /// Version of a table. Two are the same when all three numbers are.
    #[derive(Copy, Eq, Hash)]
    pub struct DataVersion {
        /// Number of changes.
        pub counter: i64,
        /// Version of the state behind the table: Flotilla puts the Raft term here, so that a deposed leader can't win.
        pub state_version: i64,
        /// Time of the last change, in ms since 1970.
        pub timestamp: i64,
    }
}
