//! Heartbeat of a client (34), its subscriptions, and the check of a subscription (46).

use super::{body, named};

named! {
    /// How a consumer gets its messages.
    pub enum ConsumeType {
        /// The application pulls.
        Actively = "CONSUME_ACTIVELY",
        /// The library pulls and pushes.
        #[default]
        Passively = "CONSUME_PASSIVELY",
        /// Pop.
        Pop = "CONSUME_POP",
    }
}

named! {
    /// Who of a group gets a message.
    pub enum MessageModel {
        /// Every member.
        Broadcasting = "BROADCASTING",
        /// One member.
        #[default]
        Clustering = "CLUSTERING",
    }
}

named! {
    /// Where a group without stored offset starts.
    pub enum ConsumeFromWhere {
        /// At the end.
        #[default]
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// At the beginning.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a time.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
        /// Deprecated.
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated.
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
    }
}

body! {
    /// Heartbeat of a client: its groups and subscriptions.
    pub struct HeartbeatData {
        /// Id of the client; empty when absent, which no client may be.
        #[serde(rename = "clientID")]
        pub client_id: String,
        /// Its consumers.
        pub consumer_data_set: Vec<ConsumerData>,
        /// Fingerprint of the subscriptions; 0 in the first form of heartbeats.
        pub heartbeat_fingerprint: i32,
        /// Its producers.
        pub producer_data_set: Vec<ProducerData>,
        /// The subscriptions are left out and must not be forgotten.
        pub without_sub: bool,
    }
}

body! {
    /// A producer of a client.
    pub struct ProducerData {
        /// Group.
        pub group_name: String,
    }
}

body! {
    /// A consumer of a client.
    pub struct ConsumerData {
        /// Where to start.
        pub consume_from_where: ConsumeFromWhere,
        /// How it gets messages.
        pub consume_type: ConsumeType,
        /// Group.
        pub group_name: String,
        /// Who gets a message.
        pub message_model: MessageModel,
        /// Subscriptions, one per topic.
        pub subscription_data_set: Vec<SubscriptionData>,
        /// Unit mode.
        pub unit_mode: bool,
    }
}

body! {
    /// Subscription to a topic.
    #[derive(Eq)]
    pub struct SubscriptionData {
        /// Filter class, used no more.
        pub class_filter_mode: bool,
        /// Codes of the tags. The Go client writes them as texts.
        pub code_set: Vec<i32>,
        /// `TAG` or `SQL92`; absent or empty means TAG.
        pub expression_type: Option<String>,
        /// The expression.
        pub sub_string: String,
        /// Version: the time in ms at which the client made it.
        pub sub_version: i64,
        /// Tags.
        pub tags_set: Vec<String>,
        /// Topic.
        pub topic: String,
    }
}

impl SubscriptionData {
    /// Claims that messages are selected by tag, not by SQL.
    pub fn is_tag(&self) -> bool {
        is_tag_type(self.expression_type.as_deref())
    }
}

/// Claims that an expression type means tags: absent, empty or `TAG`, with regard to case.
/// Source: RocketMQ 5.3 ExpressionType.isTagType.
pub fn is_tag_type(expression_type: Option<&str>) -> bool {
    matches!(expression_type, None | Some("" | "TAG"))
}

body! {
    /// Body of CHECK_CLIENT_CONFIG (46).
    pub struct CheckClientConfig {
        /// Id of the client.
        pub client_id: String,
        /// Consumer group.
        pub group: String,
        /// Namespace.
        pub namespace: Option<String>,
        /// The subscription to check.
        pub subscription_data: SubscriptionData,
    }
}
