//! Consumer offsets and queue offsets: codes 14, 15 and 29 to 32.
//!
//! Source: RocketMQ 5.3 QueryConsumerOffsetRequestHeader and its neighbours.

use super::base::BoundaryType;
use super::header;

header! {
    /// Request header of QUERY_CONSUMER_OFFSET (14).
    pub struct QueryConsumerOffsetRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
        /// Whether a group without stored offset may be answered with 0; true when absent.
        set_zero_if_not_found: Option<bool> => "setZeroIfNotFound";
    }
}

header! {
    /// Request header of UPDATE_CONSUMER_OFFSET (15), usually one-way.
    pub struct UpdateConsumerOffsetRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
        /// Queue offset of the next message to consume.
        commit_offset: i64 => "commitOffset";
    }
}

header! {
    /// Request header of SEARCH_OFFSET_BY_TIMESTAMP (29).
    pub struct SearchOffsetRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
        /// Store time in ms since 1970.
        timestamp: i64 => "timestamp";
        /// Which end is meant; lower when absent.
        boundary_type: BoundaryType => "boundaryType";
    }
}

header! {
    /// Request header of GET_MAX_OFFSET (30).
    pub struct GetMaxOffsetRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
        /// Whether only committed messages count; true when absent.
        committed: bool => "committed" = true;
    }
}

header! {
    /// Request header of GET_MIN_OFFSET (31) and GET_EARLIEST_MSG_STORETIME (32).
    pub struct QueueRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Queue.
        queue_id: i32 => "queueId";
    }
}

header! {
    /// Response header of 14, 29, 30 and 31.
    pub struct OffsetResponse {
        /// Queue offset.
        offset: i64 => "offset";
    }
}

header! {
    /// Response header of GET_EARLIEST_MSG_STORETIME (32).
    pub struct TimestampResponse {
        /// Store time in ms since 1970; -1 when the queue is empty.
        timestamp: i64 => "timestamp";
    }
}
