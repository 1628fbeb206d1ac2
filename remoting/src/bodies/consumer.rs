//! Members of a consumer group and how they share queues: codes 38, 41, 42, 400 to 402.

use std::collections::BTreeMap;

use super::common::MessageQueue;
use super::heartbeat::MessageModel;
use super::{body, named};

body! {
    /// Response of GET_CONSUMER_LIST_BY_GROUP (38).
    pub struct ConsumerList {
        /// Client ids, in any order.
        pub consumer_id_list: Vec<String>,
    }
}

body! {
    /// Request of LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42).
    pub struct LockBatchRequest {
        /// Id of the client.
        pub client_id: String,
        /// Consumer group.
        pub consumer_group: String,
        /// Queues wanted or given back.
        pub mq_set: Vec<MessageQueue>,
        /// Don't ask other replicas.
        pub only_this_broker: bool,
    }
}

body! {
    /// Response of LOCK_BATCH_MQ (41).
    pub struct LockBatchResponse {
        /// Queues that the client holds now. A queue that lacks makes the client stop consuming it.
        #[serde(rename = "lockOKMQSet")]
        pub lock_ok_mq_set: Vec<MessageQueue>,
    }
}

body! {
    /// Request of QUERY_ASSIGNMENT (400).
    pub struct QueryAssignmentRequest {
        /// Id of the client.
        pub client_id: String,
        /// Consumer group.
        pub consumer_group: String,
        /// Who gets a message.
        pub message_model: MessageModel,
        /// `AVG`, `AVG_BY_CIRCLE`, ...
        pub strategy_name: String,
        /// Topic.
        pub topic: String,
    }
}

body! {
    /// Response of QUERY_ASSIGNMENT (400). Absent means that the client keeps what it has, empty that it has nothing.
    pub struct QueryAssignmentResponse {
        /// Queues of the client.
        pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
    }
}

body! {
    /// A queue given to a client.
    pub struct MessageQueueAssignment {
        /// The queue.
        pub message_queue: MessageQueue,
        /// How it is read.
        pub mode: MessageRequestMode,
    }
}

named! {
    /// How a client reads a queue.
    pub enum MessageRequestMode {
        /// Pull.
        #[default]
        Pull = "PULL",
        /// Pop.
        Pop = "POP",
    }
}

body! {
    /// Request of SET_MESSAGE_REQUEST_MODE (401).
    pub struct SetMessageRequestMode {
        /// Consumer group.
        pub consumer_group: String,
        /// How queues are read.
        pub mode: MessageRequestMode,
        /// How many other clients share a queue in pop mode.
        pub pop_share_queue_num: i32,
        /// Topic.
        pub topic: String,
    }
}

body! {
    /// Response of GET_ALL_MESSAGE_REQUEST_MODE (402).
    pub struct MessageRequestModes {
        /// By topic, then by group.
        pub message_request_mode_map: BTreeMap<String, BTreeMap<String, SetMessageRequestMode>>,
    }
}
