//! Pulling: codes 11 and 361.
//!
//! Source: RocketMQ 5.3 PullMessageRequestHeader, PullMessageResponseHeader, PullSysFlag.

use super::header;

header! {
    /// Request header of a pull.
    pub struct PullMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic to read.
        topic: &'a str => "topic";
        /// Queue to read.
        queue_id: i32 => "queueId";
        /// Queue offset of the first message wanted.
        queue_offset: i64 => "queueOffset";
        /// Most messages wanted; 32 from Java.
        max_message_nums: i32 => "maxMsgNums";
        /// Bits, see [`PullSysFlag`].
        sys_flag: i32 => "sysFlag";
        /// Queue offset to store as consumed when the flag says so.
        commit_offset: i64 => "commitOffset";
        /// How long the request may be held, in ms.
        suspend_timeout_ms: i64 => "suspendTimeoutMillis";
        /// Subscription text when the flag says that it is included.
        subscription: Option<&'a str> => "subscription";
        /// Version of the subscription: the time in ms at which the client made it.
        subscription_version: i64 => "subVersion";
        /// `TAG` (also when absent or empty) or `SQL92`, compared with case.
        expression_type: Option<&'a str> => "expressionType";
        /// Most bytes wanted.
        max_message_bytes: Option<i32> => "maxMsgBytes";
        /// Who asks: a proxy or a client.
        request_source: Option<i32> => "requestSource";
        /// Client behind a proxy; the key is misspelt upstream.
        proxy_forward_client_id: Option<&'a str> => "proxyFrowardClientId";
        /// Broker name that the client believes to address.
        broker_name: Option<&'a str> => "bname";
    }
}

impl<'a> PullMessageRequest<'a> {
    /// A pull of at most `max` messages of a queue, whatever their tags, that waits for nothing and commits nothing.
    pub fn plain(
        consumer_group: &'a str,
        topic: &'a str,
        queue_id: i32,
        queue_offset: i64,
        max: i32,
    ) -> PullMessageRequest<'a> {
        PullMessageRequest {
            consumer_group,
            topic,
            queue_id,
            queue_offset,
            max_message_nums: max,
            sys_flag: PullSysFlag::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_ms: 0,
            subscription: Some("*"),
            subscription_version: 0,
            expression_type: Some("TAG"),
            max_message_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: None,
        }
    }

    /// The bits of the request's `sysFlag`.
    pub fn flags(&self) -> PullSysFlag {
        PullSysFlag(self.sys_flag)
    }
}

/// Bits of a pull's `sysFlag`. Source: RocketMQ 5.3 PullSysFlag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullSysFlag(pub i32);

impl PullSysFlag {
    /// Bit of [`PullSysFlag::commits_offset`].
    pub const COMMIT_OFFSET: i32 = 1;
    /// Bit of [`PullSysFlag::may_suspend`].
    pub const SUSPEND: i32 = 2;
    /// Bit of [`PullSysFlag::has_subscription`].
    pub const SUBSCRIPTION: i32 = 4;
    /// Bit for class filters, which no released client uses any more.
    pub const CLASS_FILTER: i32 = 8;
    /// Bit of a lite pull consumer.
    pub const LITE_PULL: i32 = 16;

    /// The request's `commitOffset` is to be stored.
    pub fn commits_offset(self) -> bool {
        self.0 & Self::COMMIT_OFFSET != 0
    }

    /// The request may be held until a message comes (long polling).
    pub fn may_suspend(self) -> bool {
        self.0 & Self::SUSPEND != 0
    }

    /// The request carries the subscription text.
    pub fn has_subscription(self) -> bool {
        self.0 & Self::SUBSCRIPTION != 0
    }

    /// The request comes from a lite pull consumer.
    pub fn is_lite_pull(self) -> bool {
        self.0 & Self::LITE_PULL != 0
    }
}

header! {
    /// Response header of a pull. The four offset fields are needed for the codes 0, 19, 20 and 21: Java crashes without.
    pub struct PullMessageResponse {
        /// Broker id to ask next; 0 is the leader.
        suggest_which_broker_id: i64 => "suggestWhichBrokerId";
        /// Queue offset to ask for next.
        next_begin_offset: i64 => "nextBeginOffset";
        /// First queue offset that is available.
        min_offset: i64 => "minOffset";
        /// Queue offset of the next message to be written.
        max_offset: i64 => "maxOffset";
        /// Difference of logical and physical queue offsets of a static topic.
        offset_delta: Option<i64> => "offsetDelta";
        /// System flag of the topic.
        topic_sys_flag: Option<i32> => "topicSysFlag";
        /// System flag of the group.
        group_sys_flag: Option<i32> => "groupSysFlag";
        /// Why NO_PERMISSION was answered: 1 broker, 2 group, 3 topic, 4 broadcast, 5 subscription.
        forbidden_type: Option<i32> => "forbiddenType";
    }
}
