//! Sending: codes 10, 310, 320 (and 324, 325), with long or short keys by the code; taking back: 370.
//!
//! Code 10 and 324 use the long names, 310, 320 and 325 the short ones; there is no fall-back between them. Whether the
//! body is a batch is told by the `batch` field, not by the code. The Go client sends singles with 10 and batches with 320.
//! Source: RocketMQ 5.3 SendMessageRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader.

use super::field::{HeaderError, parse_bool, parse_i32, parse_i64};
use super::header;
use crate::code::RequestCode;
use crate::ext::ExtFields;

header! {
    /// Request header of a send with long keys: codes 10 and 324.
    pub struct SendMessageRequest<'a> {
        /// Group of the producer.
        producer_group: &'a str => "producerGroup";
        /// Topic to send to.
        topic: &'a str => "topic";
        /// Topic whose settings serve as template when the topic must be created, usually `TBW102`.
        default_topic: &'a str => "defaultTopic";
        /// Number of queues that the client asks for when the topic must be created.
        default_topic_queue_nums: i32 => "defaultTopicQueueNums";
        /// Queue to append to; negative lets the broker choose.
        queue_id: i32 => "queueId";
        /// Flags of the message, see [`crate::message::SysFlag`].
        sys_flag: i32 => "sysFlag";
        /// When the producer made the message, in ms since 1970.
        born_timestamp: i64 => "bornTimestamp";
        /// Opaque flag of the user.
        flag: i32 => "flag";
        /// Property text, see [`crate::message::properties`].
        properties: Option<&'a str> => "properties";
        /// How often the message was consumed in vain.
        reconsume_times: Option<i32> => "reconsumeTimes";
        /// Unit mode.
        unit_mode: bool => "unitMode";
        /// Whether the body is a batch, see [`crate::message::batch`].
        batch: bool => "batch";
        /// Most attempts before the message is a dead letter; honoured for versions from 3.4.9 on.
        max_reconsume_times: Option<i32> => "maxReconsumeTimes";
        /// Broker name that the client believes to address.
        broker_name: Option<&'a str> => "bname";
    }
}

impl<'a> SendMessageRequest<'a> {
    /// Reads the header by the code of the request: short keys for 310, 320 and 325, long ones otherwise.
    ///
    /// # Errors
    /// As [`SendMessageRequest::decode`].
    pub fn decode_for(code: RequestCode, ext: &'a ExtFields) -> Result<SendMessageRequest<'a>, HeaderError> {
        match code {
            RequestCode::SendMessageV2 | RequestCode::SendBatchMessage | RequestCode::SendReplyMessageV2 => {
                SendMessageRequest::decode_short(ext)
            }
            _ => SendMessageRequest::decode(ext),
        }
    }

    /// Reads the header with short keys (`a` to `n`) in one walk over the fields. Errors name the short key.
    ///
    /// # Errors
    /// As [`SendMessageRequest::decode`].
    pub fn decode_short(ext: &'a ExtFields) -> Result<SendMessageRequest<'a>, HeaderError> {
        let (mut producer_group, mut topic, mut default_topic) = (None, None, None);
        let (mut default_topic_queue_nums, mut queue_id, mut sys_flag) = (None, None, None);
        let (mut born_timestamp, mut flag, mut properties) = (None, None, None);
        let (mut reconsume_times, mut max_reconsume_times, mut broker_name) = (None, None, None);
        let (mut unit_mode, mut batch) = (false, false);
        for (key, value) in ext.iter() {
            match key {
                "a" => producer_group = Some(value),
                "b" => topic = Some(value),
                "c" => default_topic = Some(value),
                "d" => default_topic_queue_nums = Some(parse_i32(value, "d")?),
                "e" => queue_id = Some(parse_i32(value, "e")?),
                "f" => sys_flag = Some(parse_i32(value, "f")?),
                "g" => born_timestamp = Some(parse_i64(value, "g")?),
                "h" => flag = Some(parse_i32(value, "h")?),
                "i" => properties = Some(value),
                "j" => reconsume_times = Some(parse_i32(value, "j")?),
                "k" => unit_mode = parse_bool(value),
                "l" => max_reconsume_times = Some(parse_i32(value, "l")?),
                "m" => batch = parse_bool(value),
                "n" => broker_name = Some(value),
                _ => {}
            }
        }
        let missing = HeaderError::missing;
        Ok(SendMessageRequest {
            producer_group: producer_group.ok_or(missing("a"))?,
            topic: topic.ok_or(missing("b"))?,
            default_topic: default_topic.ok_or(missing("c"))?,
            default_topic_queue_nums: default_topic_queue_nums.ok_or(missing("d"))?,
            queue_id: queue_id.ok_or(missing("e"))?,
            sys_flag: sys_flag.ok_or(missing("f"))?,
            born_timestamp: born_timestamp.ok_or(missing("g"))?,
            flag: flag.ok_or(missing("h"))?,
            properties,
            reconsume_times,
            unit_mode,
            batch,
            max_reconsume_times,
            broker_name,
        })
    }

    /// Writes the header with short keys, in the order of Java's fast writer.
    pub fn encode_short(&self) -> ExtFields {
        let mut ext = ExtFields::with_capacity(16, 256);
        let flag_text = |value| if value { "true" } else { "false" };
        ext.insert("a", self.producer_group);
        ext.insert("b", self.topic);
        ext.insert("c", self.default_topic);
        ext.insert_display("d", self.default_topic_queue_nums);
        ext.insert_display("e", self.queue_id);
        ext.insert_display("f", self.sys_flag);
        ext.insert_display("g", self.born_timestamp);
        ext.insert_display("h", self.flag);
        if let Some(properties) = self.properties {
            ext.insert("i", properties);
        }
        if let Some(times) = self.reconsume_times {
            ext.insert_display("j", times);
        }
        ext.insert("k", flag_text(self.unit_mode));
        if let Some(times) = self.max_reconsume_times {
            ext.insert_display("l", times);
        }
        ext.insert("m", flag_text(self.batch));
        if let Some(name) = self.broker_name {
            ext.insert("n", name);
        }
        ext
    }
}

header! {
    /// Response header of a send. It must be there for the codes 0, 10, 11 and 12: Java reads it without asking.
    pub struct SendMessageResponse<'a> {
        /// Offset id of the stored message; of a batch the ids joined by `,`. See [`crate::message::OffsetMessageId`].
        message_id: &'a str => "msgId";
        /// Queue of the message.
        queue_id: i32 => "queueId";
        /// Queue offset of the message, of a batch that of its first.
        queue_offset: i64 => "queueOffset";
        /// Unique id given by the client.
        transaction_id: Option<&'a str> => "transactionId";
        /// Unique id of an inner batch; never given for ordinary topics.
        batch_unique_id: Option<&'a str> => "batchUniqId";
        /// Handle to recall a timer message.
        recall_handle: Option<&'a str> => "recallHandle";
    }
}

header! {
    /// Request header of RECALL_MESSAGE (370). Source: RocketMQ 5.3 RecallMessageRequestHeader.
    pub struct RecallMessageRequest<'a> {
        /// Group of the producer.
        producer_group: Option<&'a str> => "producerGroup";
        /// Topic of the message.
        topic: &'a str => "topic";
        /// Handle from the answer to its send.
        recall_handle: &'a str => "recallHandle";
        /// Broker name that the client believes to address.
        broker_name: Option<&'a str> => "bname";
    }
}

header! {
    /// Response header of RECALL_MESSAGE (370).
    pub struct RecallMessageResponse<'a> {
        /// Unique id of the message that won't be delivered.
        message_id: &'a str => "msgId";
    }
}
