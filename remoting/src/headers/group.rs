//! Consumer and producer groups at the broker: codes 203, 204, 207, 208 and 352.
//!
//! Source: RocketMQ 5.3 GetConsumerConnectionListRequestHeader and its neighbours.

use super::header;

header! {
    /// Request header of GET_CONSUMER_CONNECTION_LIST (203).
    pub struct GetConsumerConnectionListRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
    }
}

header! {
    /// Request header of GET_PRODUCER_CONNECTION_LIST (204).
    pub struct GetProducerConnectionListRequest<'a> {
        /// Producer group.
        producer_group: &'a str => "producerGroup";
    }
}

header! {
    /// Request header of DELETE_SUBSCRIPTIONGROUP (207).
    pub struct DeleteSubscriptionGroupRequest<'a> {
        /// Consumer group.
        group_name: &'a str => "groupName";
        /// Forget its consumer offsets too.
        clean_offset: bool => "cleanOffset";
    }
}

header! {
    /// Request header of GET_CONSUME_STATS (208).
    pub struct GetConsumeStatsRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Only this topic.
        topic: Option<&'a str> => "topic";
        /// Only these topics, separated by `;`.
        topic_list: Option<&'a str> => "topicList";
    }
}

header! {
    /// Request header of GET_SUBSCRIPTIONGROUP_CONFIG (352).
    pub struct GetSubscriptionGroupConfigRequest<'a> {
        /// Consumer group.
        group: &'a str => "group";
    }
}
