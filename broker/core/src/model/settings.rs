//! Settings that must be alike on every replica, because clients see their effect whichever replica they meet.

use super::Perm;
use crate::codec::{CodecError, Decode, Encode, Reader, put_bool, put_u32, put_u64};

/// Replicated settings of a broker group; the defaults are RocketMQ's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `brokerPermission`: limits the permission of every topic.
    pub broker_permission: Perm,
    /// `autoCreateTopicEnable`: also decides whether the template topic exists.
    pub auto_create_topic: bool,
    /// `autoCreateSubscriptionGroup`.
    pub auto_create_group: bool,
    /// `defaultTopicQueueNums`: queues of the template topic.
    pub default_topic_queue_count: u32,
    /// `clusterTopicEnable`, `brokerTopicEnable`: whether these templates can be read and written.
    pub cluster_topic_enable: bool,
    pub broker_topic_enable: bool,
    /// `traceTopicEnable`: whether the trace topic exists.
    pub trace_topic_enable: bool,
    /// `enablePropertyFilter`: whether SQL92 subscriptions are allowed.
    pub property_filter_enable: bool,
    /// A queue is young while less log than this follows its first message: a new group then starts at that message
    /// whatever its own rule says. Stands for "still in memory" of RocketMQ, which replicas could not agree on.
    pub young_queue_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            broker_permission: Perm::READ_WRITE,
            auto_create_topic: true,
            auto_create_group: true,
            default_topic_queue_count: 8,
            cluster_topic_enable: true,
            broker_topic_enable: true,
            trace_topic_enable: false,
            property_filter_enable: false,
            young_queue_bytes: 4 << 30,
        }
    }
}

impl Encode for Settings {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.broker_permission.0);
        put_bool(out, self.auto_create_topic);
        put_bool(out, self.auto_create_group);
        put_u32(out, self.default_topic_queue_count);
        put_bool(out, self.cluster_topic_enable);
        put_bool(out, self.broker_topic_enable);
        put_bool(out, self.trace_topic_enable);
        put_bool(out, self.property_filter_enable);
        put_u64(out, self.young_queue_bytes);
    }
}

impl Decode for Settings {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            broker_permission: Perm(input.u8("broker permission")?),
            auto_create_topic: input.bool("auto create topic")?,
            auto_create_group: input.bool("auto create group")?,
            default_topic_queue_count: input.u32("default topic queues")?,
            cluster_topic_enable: input.bool("cluster topic enable")?,
            broker_topic_enable: input.bool("broker topic enable")?,
            trace_topic_enable: input.bool("trace topic enable")?,
            property_filter_enable: input.bool("property filter enable")?,
            young_queue_bytes: input.u64("young queue bytes")?,
        })
    }
}
