//! Figures: of a topic (202), of a group (208, 317), of a broker (315), times of consumption (303).

use std::collections::BTreeMap;

use super::body;
use super::common::MessageQueue;

body! {
    /// Response of GET_TOPIC_STATS_INFO (202).
    pub struct TopicStatsTable {
        /// Offsets by queue.
        pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
        /// Messages written per second.
        pub topic_put_tps: f64,
    }
}

body! {
    /// Offsets of a queue.
    pub struct TopicOffset {
        /// Store time of the newest message, in ms since 1970; 0 without one.
        pub last_update_timestamp: i64,
        /// Queue offset of the next message to be written.
        pub max_offset: i64,
        /// First queue offset that is available.
        pub min_offset: i64,
    }
}

body! {
    /// Response of GET_CONSUME_STATS (208).
    pub struct ConsumeStats {
        /// Messages consumed per second.
        pub consume_tps: f64,
        /// Offsets by queue.
        pub offset_table: BTreeMap<MessageQueue, OffsetWrapper>,
    }
}

body! {
    /// Progress of a group in a queue.
    pub struct OffsetWrapper {
        /// Queue offset of the next message to be written.
        pub broker_offset: i64,
        /// Queue offset that the group has committed.
        pub consumer_offset: i64,
        /// Store time of the last message consumed, in ms since 1970; 0 when unknown.
        pub last_timestamp: i64,
        /// Queue offset that the group has pulled.
        pub pull_offset: i64,
    }
}

body! {
    /// Response of GET_BROKER_CONSUME_STATS (317).
    pub struct ConsumeStatsList {
        /// Address of the broker.
        pub broker_addr: String,
        /// Per group its figures.
        pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
        /// Messages not consumed yet.
        pub total_diff: i64,
        /// Messages pulled and not committed yet.
        pub total_inflight_diff: i64,
    }
}

body! {
    /// Response of VIEW_BROKER_STATS_DATA (315).
    pub struct BrokerStatsData {
        /// The last day.
        pub stats_day: BrokerStatsItem,
        /// The last hour.
        pub stats_hour: BrokerStatsItem,
        /// The last minute.
        pub stats_minute: BrokerStatsItem,
    }
}

body! {
    /// Figures of a span of time.
    pub struct BrokerStatsItem {
        /// Average per call.
        pub avgpt: f64,
        /// Sum.
        pub sum: i64,
        /// Per second.
        pub tps: f64,
    }
}

body! {
    /// Response of QUERY_CONSUME_TIME_SPAN (303).
    pub struct ConsumeTimeSpans {
        /// One entry per queue.
        pub consume_time_span_set: Vec<QueueTimeSpan>,
    }
}

body! {
    /// Times of a queue, each in ms since 1970 and as text.
    pub struct QueueTimeSpan {
        /// Store time of the last message consumed.
        pub consume_time_stamp: i64,
        /// The same as text.
        pub consume_time_stamp_str: String,
        /// How far the group is behind, in ms.
        pub delay_time: i64,
        /// Store time of the newest message.
        pub max_time_stamp: i64,
        /// The same as text.
        pub max_time_stamp_str: String,
        /// The queue.
        pub message_queue: MessageQueue,
        /// Store time of the oldest message.
        pub min_time_stamp: i64,
        /// The same as text.
        pub min_time_stamp_str: String,
    }
}
