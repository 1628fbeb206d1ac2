//! Subscription groups: one (200, 352), several (225), all (201); who consumes a topic (300); one subscription (345); what is
//! forbidden to a group (353).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::common::DataVersion;
use super::heartbeat::SubscriptionData;
use super::{body, named};

/// Settings of a consumer group. Source of the defaults: RocketMQ 5.3 SubscriptionGroupConfig.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Attributes, without sign.
    pub attributes: BTreeMap<String, String>,
    /// Broker that the group reads from; 0 is the leader.
    pub broker_id: i64,
    /// Broadcasting is allowed.
    pub consume_broadcast_enable: bool,
    /// Consuming is allowed.
    pub consume_enable: bool,
    /// Starting at the beginning is allowed.
    pub consume_from_min_enable: bool,
    /// Ordered group.
    pub consume_message_orderly: bool,
    /// How long a message may be consumed, in minutes.
    pub consume_timeout_minute: i32,
    /// Group.
    pub group_name: String,
    /// When to retry.
    pub group_retry_policy: GroupRetryPolicy,
    /// System flag.
    pub group_sys_flag: i32,
    /// Members are told of changes at once.
    pub notify_consumer_ids_changed_enable: bool,
    /// Most attempts before a message is a dead letter.
    pub retry_max_times: i32,
    /// Queues of the retry topic; 0 drops what failed.
    pub retry_queue_nums: i32,
    /// Subscriptions fixed by the admin.
    pub subscription_data_set: Option<Vec<SimpleSubscriptionData>>,
    /// Broker to ask when the group lags far behind.
    pub which_broker_when_consume_slowly: i64,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}

named! {
    /// Kind of a retry policy.
    pub enum GroupRetryPolicyType {
        /// A list of delays.
        #[default]
        Customized = "CUSTOMIZED",
        /// Growing delays.
        Exponential = "EXPONENTIAL",
    }
}

body! {
    /// When a failed message is tried again.
    pub struct GroupRetryPolicy {
        /// Used by CUSTOMIZED; absent means the delay levels.
        pub customized_retry_policy: Option<CustomizedRetryPolicy>,
        /// Used by EXPONENTIAL.
        pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
        /// Kind.
        #[serde(rename = "type")]
        pub policy_type: GroupRetryPolicyType,
    }
}

body! {
    /// A list of delays.
    pub struct CustomizedRetryPolicy {
        /// Delay before each attempt, in ms.
        pub next: Vec<i64>,
    }
}

body! {
    /// Growing delays.
    pub struct ExponentialRetryPolicy {
        /// First delay, in ms.
        pub initial: i64,
        /// Longest delay, in ms.
        pub max: i64,
        /// Factor from one delay to the next.
        pub multiplier: i64,
    }
}

body! {
    /// A subscription fixed by the admin.
    pub struct SimpleSubscriptionData {
        /// The expression.
        pub expression: String,
        /// `TAG` or `SQL92`.
        pub expression_type: String,
        /// Topic.
        pub topic: String,
        /// Version.
        pub version: i64,
    }
}

body! {
    /// Response of GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
    pub struct SubscriptionGroupWrapper {
        /// Version of the table.
        pub data_version: DataVersion,
        /// Forbidden bits by group and topic.
        pub forbidden_table: Option<BTreeMap<String, BTreeMap<String, i32>>>,
        /// Groups by name.
        pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
    }
}

body! {
    /// Request of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225).
    pub struct SubscriptionGroupList {
        /// Groups to create or change.
        pub group_config_list: Vec<SubscriptionGroupConfig>,
    }
}

body! {
    /// Response of UPDATE_AND_GET_GROUP_FORBIDDEN (353).
    pub struct GroupForbidden {
        /// Group.
        pub group: String,
        /// The group may read the topic.
        pub readable: bool,
        /// Topic.
        pub topic: String,
        /// Always true; misspelt upstream.
        pub writeable: bool,
    }
}

body! {
    /// Response of QUERY_TOPIC_CONSUME_BY_WHO (300).
    pub struct GroupList {
        /// Groups.
        pub group_list: Vec<String>,
    }
}

body! {
    /// Response of QUERY_SUBSCRIPTION_BY_CONSUMER (345).
    pub struct QuerySubscriptionResponse {
        /// Group.
        pub group: String,
        /// Its subscription.
        pub subscription_data: Option<SubscriptionData>,
        /// Topic.
        pub topic: String,
    }
}
