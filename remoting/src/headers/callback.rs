//! Requests from broker to client besides 39 and 40: codes 220, 221, 307, 309, 326, and 222 which leads to 220.
//!
//! Source: RocketMQ 5.3 ResetOffsetRequestHeader and its neighbours.

use super::header;

header! {
    /// Request header of RESET_CONSUMER_CLIENT_OFFSET (220) and INVOKE_BROKER_TO_RESET_OFFSET (222).
    pub struct ResetOffsetRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Consumer group.
        group: &'a str => "group";
        /// Queue, -1 for all.
        queue_id: i32 => "queueId" = -1;
        /// Queue offset to set when a queue is named.
        offset: Option<i64> => "offset";
        /// Store time in ms to go to; -1 for the end.
        timestamp: i64 => "timestamp";
        /// Go also forward.
        is_force: bool => "isForce";
    }
}

header! {
    /// Request header of GET_CONSUMER_STATUS_FROM_CLIENT (221) and INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
    pub struct GetConsumerStatusRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Consumer group.
        group: &'a str => "group";
        /// Only this client.
        client_addr: Option<&'a str> => "clientAddr";
    }
}

header! {
    /// Request header of GET_CONSUMER_RUNNING_INFO (307).
    pub struct GetConsumerRunningInfoRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Id of the client.
        client_id: &'a str => "clientId";
        /// With stack traces.
        jstack_enable: bool => "jstackEnable";
    }
}

header! {
    /// Request header of CONSUME_MESSAGE_DIRECTLY (309); the body is the message.
    pub struct ConsumeMessageDirectlyRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Id of the client.
        client_id: Option<&'a str> => "clientId";
        /// Offset id of the message.
        message_id: Option<&'a str> => "msgId";
        /// Broker name.
        broker_name: Option<&'a str> => "brokerName";
        /// Topic.
        topic: Option<&'a str> => "topic";
        /// System flag of the topic.
        topic_sys_flag: Option<i32> => "topicSysFlag";
        /// System flag of the group.
        group_sys_flag: Option<i32> => "groupSysFlag";
    }
}

header! {
    /// Request header of PUSH_REPLY_MESSAGE_TO_CLIENT (326); the body is the reply.
    pub struct PushReplyMessageRequest<'a> {
        /// Producer group.
        producer_group: &'a str => "producerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Template topic.
        default_topic: &'a str => "defaultTopic";
        /// Queues of the template.
        default_topic_queue_nums: i32 => "defaultTopicQueueNums";
        /// Queue.
        queue_id: i32 => "queueId";
        /// Flags of the message.
        sys_flag: i32 => "sysFlag";
        /// When the reply was made, in ms.
        born_timestamp: i64 => "bornTimestamp";
        /// Opaque flag of the user.
        flag: i32 => "flag";
        /// Property text.
        properties: Option<&'a str> => "properties";
        /// Attempts.
        reconsume_times: Option<i32> => "reconsumeTimes";
        /// Unit mode.
        unit_mode: bool => "unitMode";
        /// Address of the replier, `ip:port`.
        born_host: &'a str => "bornHost";
        /// Address of the broker, `ip:port`.
        store_host: &'a str => "storeHost";
        /// When the broker got the reply, in ms.
        store_timestamp: i64 => "storeTimestamp";
    }
}
