//! Topics at the broker: codes 17, 21, 202, 215, 300, 321 and 351. Code 18 carries a body only.
//!
//! Source: RocketMQ 5.3 CreateTopicRequestHeader, GetTopicStatsInfoRequestHeader, DeleteTopicRequestHeader,
//! GetTopicConfigRequestHeader.

use super::header;

header! {
    /// Request header of UPDATE_AND_CREATE_TOPIC (17).
    pub struct CreateTopicRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Topic used as template by old tools; `TBW102` usually.
        default_topic: Option<&'a str> => "defaultTopic";
        /// Number of queues to read.
        read_queue_nums: i32 => "readQueueNums";
        /// Number of queues to write.
        write_queue_nums: i32 => "writeQueueNums";
        /// Permission bits: 4 read, 2 write, 1 inherit.
        perm: i32 => "perm";
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Option<&'a str> => "topicFilterType";
        /// System flag: 1 unit, 2 unit subscription; 0 when absent.
        topic_sys_flag: Option<i32> => "topicSysFlag";
        /// Ordered topic.
        order: bool => "order";
        /// Attributes as text: `+message.type=FIFO,-other`.
        attributes: Option<&'a str> => "attributes";
        /// Replace a topic that exists with other settings.
        force: Option<bool> => "force";
    }
}

header! {
    /// Request header of the codes that name a topic only: GET_TOPIC_STATS_INFO (202), DELETE_TOPIC_IN_BROKER (215),
    /// QUERY_TOPIC_CONSUME_BY_WHO (300), GET_TOPIC_CONFIG (351).
    pub struct TopicRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
    }
}

header! {
    /// Request header of GET_ALL_TOPIC_CONFIG (21); clients of the 4.9 line send none of it.
    pub struct GetAllTopicConfigRequest<'a> {
        /// First topic of the page.
        topic_seq: Option<i32> => "topicSeq";
        /// Data version of the first page, as JSON text.
        data_version: Option<&'a str> => "dataVersion";
        /// Most topics wanted.
        max_topic_num: Option<i32> => "maxTopicNum";
    }
}

header! {
    /// Request header of QUERY_CONSUME_QUEUE (321).
    pub struct QueryConsumeQueueRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
        /// First queue offset.
        index: i64 => "index";
        /// Most units wanted.
        count: i32 => "count";
        /// Group whose subscription is shown along.
        consumer_group: Option<&'a str> => "consumerGroup";
    }
}
