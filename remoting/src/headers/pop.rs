//! Pop consumption: codes 200050 to 200055. They come in JSON headers only; binary ones cut the code.
//!
//! Source: RocketMQ 5.3 PopMessageRequestHeader and its neighbours.

use super::header;

header! {
    /// Request header of POP_MESSAGE (200050).
    pub struct PopMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue, -1 for all.
        queue_id: i32 => "queueId";
        /// Most messages wanted, at most 32.
        max_message_nums: i32 => "maxMsgNums";
        /// How long the messages are hidden, in ms.
        invisible_time_ms: i64 => "invisibleTime";
        /// How long the request may be held, in ms.
        poll_time_ms: i64 => "pollTime";
        /// When the client made the request, in ms since 1970.
        born_time: i64 => "bornTime";
        /// Where a new group starts: 0 first message, 1 last.
        init_mode: i32 => "initMode";
        /// `TAG` or `SQL92`.
        expression_type: Option<&'a str> => "expType";
        /// Subscription text.
        expression: Option<&'a str> => "exp";
        /// Ordered pop.
        order: bool => "order";
        /// Id of the attempt, so that a repeated ordered pop gets the same messages.
        attempt_id: Option<&'a str> => "attemptId";
    }
}

header! {
    /// Response header of POP_MESSAGE (200050).
    pub struct PopMessageResponse<'a> {
        /// When the messages were handed out, in ms since 1970.
        pop_time: i64 => "popTime";
        /// How long they are hidden, in ms.
        invisible_time_ms: i64 => "invisibleTime";
        /// Queue of the broker's revive topic.
        revive_queue_id: i32 => "reviveQid";
        /// Messages left.
        rest_num: i64 => "restNum";
        /// Start offset of each queue.
        start_offset_info: Option<&'a str> => "startOffsetInfo";
        /// Queue offsets of each queue.
        message_offset_info: Option<&'a str> => "msgOffsetInfo";
        /// Attempts of each queue, ordered pop only.
        order_count_info: Option<&'a str> => "orderCountInfo";
    }
}

header! {
    /// Request header of ACK_MESSAGE (200051).
    pub struct AckMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
        /// Receipt handle.
        extra_info: &'a str => "extraInfo";
        /// Queue offset of the message.
        offset: i64 => "offset";
    }
}

header! {
    /// Request header of CHANGE_MESSAGE_INVISIBLETIME (200053).
    pub struct ChangeInvisibleTimeRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
        /// Receipt handle.
        extra_info: &'a str => "extraInfo";
        /// Queue offset of the message.
        offset: i64 => "offset";
        /// How long the message is hidden from now on, in ms.
        invisible_time_ms: i64 => "invisibleTime";
    }
}

header! {
    /// Response header of CHANGE_MESSAGE_INVISIBLETIME (200053).
    pub struct ChangeInvisibleTimeResponse {
        /// Now, in ms since 1970.
        pop_time: i64 => "popTime";
        /// How long the message is hidden, in ms.
        invisible_time_ms: i64 => "invisibleTime";
        /// Queue of the broker's revive topic.
        revive_queue_id: i32 => "reviveQid";
    }
}

header! {
    /// Request header of PEEK_MESSAGE (200052).
    pub struct PeekMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue, -1 for all.
        queue_id: i32 => "queueId";
        /// Most messages wanted.
        max_message_nums: i32 => "maxMsgNums";
    }
}

header! {
    /// Request header of NOTIFICATION (200054).
    pub struct NotificationRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue, -1 for all.
        queue_id: i32 => "queueId";
        /// How long the request may be held, in ms.
        poll_time_ms: i64 => "pollTime";
        /// When the client made the request, in ms since 1970.
        born_time: i64 => "bornTime";
        /// Ordered pop.
        order: bool => "order";
        /// Id of the attempt.
        attempt_id: Option<&'a str> => "attemptId";
    }
}

header! {
    /// Response header of NOTIFICATION (200054).
    pub struct NotificationResponse {
        /// A message is there.
        has_message: bool => "hasMsg";
        /// Too many requests are held.
        polling_full: bool => "pollingFull";
    }
}

header! {
    /// Request header of POLLING_INFO (200055).
    pub struct PollingInfoRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
    }
}

header! {
    /// Response header of POLLING_INFO (200055).
    pub struct PollingInfoResponse {
        /// Number of requests held.
        polling_num: i32 => "pollingNum";
    }
}
