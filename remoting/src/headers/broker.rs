//! The broker itself: codes 26 and 315. Codes 25 and 28 carry no header fields.
//!
//! Source: RocketMQ 5.3 GetBrokerConfigResponseHeader, ViewBrokerStatsDataRequestHeader.

use super::header;

header! {
    /// Response header of GET_BROKER_CONFIG (26).
    pub struct GetBrokerConfigResponse<'a> {
        /// Data version of the settings, as JSON text.
        version: &'a str => "version";
    }
}

header! {
    /// Request header of VIEW_BROKER_STATS_DATA (315).
    pub struct ViewBrokerStatsDataRequest<'a> {
        /// Name of the statistics, such as `TOPIC_PUT_NUMS`.
        stats_name: &'a str => "statsName";
        /// What they are of, such as a topic.
        stats_key: &'a str => "statsKey";
    }
}
