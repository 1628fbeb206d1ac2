//! Consumer and producer groups at the broker: codes 201, 203, 204, 207, 208, 303, 308, 314, 317, 343, 345, 352 and 353.
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
    /// Request header of GET_SUBSCRIPTIONGROUP_CONFIG (352) and QUERY_TOPICS_BY_CONSUMER (343).
    pub struct GetSubscriptionGroupConfigRequest<'a> {
        /// Consumer group.
        group: &'a str => "group";
    }
}

header! {
    /// Request header of GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201); clients of the 4.9 line send none of it.
    pub struct GetAllSubscriptionGroupRequest<'a> {
        /// First group of the page.
        group_seq: Option<i32> => "groupSeq";
        /// Data version of the first page, as JSON text.
        data_version: Option<&'a str> => "dataVersion";
        /// Most groups wanted.
        max_group_num: Option<i32> => "maxGroupNum";
    }
}

header! {
    /// Request header of UPDATE_AND_GET_GROUP_FORBIDDEN (353).
    pub struct UpdateGroupForbiddenRequest<'a> {
        /// Consumer group.
        group: &'a str => "group";
        /// Topic.
        topic: &'a str => "topic";
        /// Whether the group may read the topic from now on; absent only asks.
        readable: Option<bool> => "readable";
    }
}

header! {
    /// Request header of QUERY_SUBSCRIPTION_BY_CONSUMER (345) and QUERY_CONSUME_TIME_SPAN (303).
    pub struct GroupTopicRequest<'a> {
        /// Consumer group.
        group: &'a str => "group";
        /// Topic.
        topic: &'a str => "topic";
    }
}

header! {
    /// Request header of GET_BROKER_CONSUME_STATS (317).
    pub struct GetBrokerConsumeStatsRequest {
        /// Only topics that are ordered.
        is_order: bool => "isOrder";
    }
}

header! {
    /// Request header of QUERY_CORRECTION_OFFSET (308).
    pub struct CorrectionOffsetRequest<'a> {
        /// Groups to leave out, separated by `,`.
        filter_groups: Option<&'a str> => "filterGroups";
        /// Group to compare with.
        compare_group: &'a str => "compareGroup";
        /// Topic.
        topic: &'a str => "topic";
    }
}

header! {
    /// Request header of CLONE_GROUP_OFFSET (314).
    pub struct CloneGroupOffsetRequest<'a> {
        /// Group to copy from.
        source_group: &'a str => "srcGroup";
        /// Group to copy to.
        target_group: &'a str => "destGroup";
        /// Only this topic; all with offsets when absent.
        topic: Option<&'a str> => "topic";
        /// Also topics that the group's members do not subscribe.
        offline: bool => "offline";
    }
}
