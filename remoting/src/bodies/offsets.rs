//! Consumer offsets of a broker (43, 45, 308) and of clients (220 to 223).

use std::collections::BTreeMap;

use super::body;
use super::common::{DataVersion, MessageQueue};

body! {
    /// Response of GET_ALL_CONSUMER_OFFSET (43).
    pub struct AllConsumerOffset {
        /// Version of the table.
        pub data_version: DataVersion,
        /// Topics by group; for people.
        pub group_topic_map: Option<BTreeMap<String, Vec<String>>>,
        /// Queue offset by `topic@group`, then by queue.
        pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
    }
}

body! {
    /// Response of GET_ALL_DELAY_OFFSET (45).
    pub struct AllDelayOffset {
        /// Version of the table.
        pub data_version: DataVersion,
        /// Queue offset by delay level.
        pub offset_table: BTreeMap<i32, i64>,
    }
}

body! {
    /// Request of RESET_CONSUMER_CLIENT_OFFSET (220), response of INVOKE_BROKER_TO_RESET_OFFSET (222).
    pub struct ResetOffsetBody {
        /// New queue offset by queue.
        pub offset_table: BTreeMap<MessageQueue, i64>,
    }
}

body! {
    /// [`ResetOffsetBody`] for clients that can't read raw object keys.
    pub struct ResetOffsetBodyForC {
        /// Queues with their new offsets.
        pub offset_table: Vec<QueueForC>,
    }
}

body! {
    /// A queue and its offset.
    pub struct QueueForC {
        /// Broker name.
        pub broker_name: String,
        /// Queue offset.
        pub offset: i64,
        /// Queue.
        pub queue_id: i32,
        /// Topic.
        pub topic: String,
    }
}

body! {
    /// Response of GET_CONSUMER_STATUS_FROM_CLIENT (221) and INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
    pub struct ConsumerStatusBody {
        /// Queue offset by client, then by queue; not from clients.
        pub consumer_table: Option<BTreeMap<String, BTreeMap<MessageQueue, i64>>>,
        /// Queue offset by queue.
        pub message_queue_table: BTreeMap<MessageQueue, i64>,
    }
}

body! {
    /// Response of QUERY_CORRECTION_OFFSET (308).
    pub struct CorrectionOffsets {
        /// Queue offset by queue.
        pub correction_offsets: BTreeMap<i32, i64>,
    }
}
