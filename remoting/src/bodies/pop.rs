//! Pop consumption: batch acknowledgement (200151) and the check point that RocketMQ keeps in its revive topic.

use super::body;
use crate::base64;
use crate::limits::ACK_BIT_SET_SIZE_MAX;

body! {
    /// Request of BATCH_ACK_MESSAGE (200151). Long names are read too.
    pub struct BatchAckRequest {
        /// Acknowledgements.
        pub acks: Vec<BatchAck>,
        /// Broker name.
        pub broker_name: String,
    }
}

body! {
    /// Acknowledgement of several messages of one pop and queue.
    pub struct BatchAck {
        /// Bit `i` acknowledges queue offset `start_offset + i`: base64 of little-endian bytes.
        #[serde(rename = "b", alias = "bitSet")]
        pub bit_set: String,
        /// Consumer group.
        #[serde(rename = "c", alias = "consumerGroup")]
        pub consumer_group: String,
        /// How long the messages are hidden, in ms.
        #[serde(rename = "it", alias = "invisibleTime")]
        pub invisible_time_ms: i64,
        /// When they were handed out, in ms since 1970.
        #[serde(rename = "pt", alias = "popTime")]
        pub pop_time: i64,
        /// Queue.
        #[serde(rename = "q", alias = "queueId")]
        pub queue_id: i32,
        /// Mark of the topic: 0 normal, 1 retry, 2 retry in its second form.
        #[serde(rename = "r", alias = "retry")]
        pub retry: String,
        /// Queue of the revive topic.
        #[serde(rename = "rq", alias = "reviveQueueId")]
        pub revive_queue_id: i32,
        /// Queue offset of bit 0.
        #[serde(rename = "so", alias = "startOffset")]
        pub start_offset: i64,
        /// Normal topic.
        #[serde(rename = "t", alias = "topic")]
        pub topic: String,
    }
}

impl BatchAck {
    /// Queue offsets that are acknowledged, ascending; `None` when the bit set is no base64 or larger than
    /// [`ACK_BIT_SET_SIZE_MAX`], or an offset overflows.
    pub fn offsets(&self) -> Option<Vec<i64>> {
        let bytes = base64::decode(&self.bit_set).filter(|bytes| bytes.len() <= ACK_BIT_SET_SIZE_MAX)?;
        let mut offsets = Vec::new();
        for (index, byte) in bytes.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                offsets.push(self.start_offset.checked_add(i64::try_from(index * 8 + bit).ok()?)?);
            }
        }
        Some(offsets)
    }

    /// The bit set for queue offsets given relative to the start offset. Trailing zero bytes are left out, as by Java.
    pub fn bit_set_of(differences: &[u16]) -> String {
        let size = differences.iter().max().map_or(0, |last| usize::from(*last) / 8 + 1);
        let mut bytes = vec![0_u8; size];
        for difference in differences {
            bytes[usize::from(difference / 8)] |= 1 << (difference % 8);
        }
        base64::encode(&bytes)
    }
}

body! {
    /// Check point of a pop in RocketMQ's revive topic; Flotilla does not write any.
    pub struct PopCheckPoint {
        /// Bits of the messages acknowledged.
        #[serde(rename = "bm")]
        pub bit_map: i32,
        /// Broker name.
        #[serde(rename = "bn")]
        pub broker_name: Option<String>,
        /// Consumer group.
        #[serde(rename = "c")]
        pub consumer_group: String,
        /// Differences of the queue offsets to the start offset.
        #[serde(rename = "d")]
        pub queue_offset_diff: Option<Vec<i32>>,
        /// How long the messages are hidden, in ms.
        #[serde(rename = "it")]
        pub invisible_time_ms: i64,
        /// Number of messages.
        #[serde(rename = "n")]
        pub message_count: i32,
        /// When they were handed out, in ms since 1970.
        #[serde(rename = "pt")]
        pub pop_time: i64,
        /// Queue.
        #[serde(rename = "q")]
        pub queue_id: i32,
        /// When they are due again, in ms since 1970.
        pub revive_time: i64,
        /// Queue offset in the revive topic.
        #[serde(rename = "ro")]
        pub revive_offset: i64,
        /// First queue offset.
        #[serde(rename = "so")]
        pub start_offset: i64,
        /// Topic.
        #[serde(rename = "t")]
        pub topic: String,
    }
}
