//! Single messages: query (12), view by id (33), send back (36).
//!
//! Source: RocketMQ 5.3 QueryMessageRequestHeader, ViewMessageRequestHeader, ConsumerSendMsgBackRequestHeader.

use super::header;

header! {
    /// Request header of QUERY_MESSAGE (12). Ext key `_UNIQUE_KEY_QUERY` tells whether the key is a unique id.
    pub struct QueryMessageRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Key or unique id.
        key: &'a str => "key";
        /// Most messages wanted.
        max_num: i32 => "maxNum";
        /// First store time wanted, in ms.
        begin_timestamp: i64 => "beginTimestamp";
        /// Last store time wanted, in ms.
        end_timestamp: i64 => "endTimestamp";
    }
}

header! {
    /// Response header of QUERY_MESSAGE (12), needed also when nothing was found.
    pub struct QueryMessageResponse {
        /// Store time of the newest indexed message, in ms.
        index_last_update_timestamp: i64 => "indexLastUpdateTimestamp";
        /// Log position of the newest indexed message.
        index_last_update_physical_offset: i64 => "indexLastUpdatePhyoffset";
    }
}

header! {
    /// Request header of VIEW_MESSAGE_BY_ID (33).
    pub struct ViewMessageRequest<'a> {
        /// Log position of the message.
        offset: i64 => "offset";
        /// Topic, sent by newer clients only.
        topic: Option<&'a str> => "topic";
    }
}

header! {
    /// Request header of CONSUMER_SEND_MSG_BACK (36).
    pub struct ConsumerSendMessageBackRequest<'a> {
        /// Log position of the message.
        offset: i64 => "offset";
        /// Consumer group.
        group: &'a str => "group";
        /// Delay level: 0 by the number of attempts, negative for a dead letter.
        delay_level: i32 => "delayLevel";
        /// Offset id of the message.
        origin_message_id: Option<&'a str> => "originMsgId";
        /// Topic of the message.
        origin_topic: Option<&'a str> => "originTopic";
        /// Unit mode.
        unit_mode: bool => "unitMode";
        /// Most attempts; absent or -1 means the group's.
        max_reconsume_times: Option<i32> => "maxReconsumeTimes";
        /// Broker name that the client believes to address.
        broker_name: Option<&'a str> => "bname";
    }
}
