//! Settings that must be alike on every replica, because clients see their effect whichever replica they meet.

use super::{DelayLevels, Hours, Perm, Retention};
use crate::codec::{CodecError, CodecReason, Decode, Encode, Reader, put_bool, put_u32, put_u64};

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
    /// `maxMessageSize`: largest body of a message, bytes.
    pub message_size_max: u32,
    /// When old messages go.
    pub retention: Retention,
    /// `messageDelayLevel`: the delays of the levels.
    pub delay_levels: DelayLevels,
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
            message_size_max: 4 << 20,
            retention: Retention::default(),
            delay_levels: DelayLevels::default(),
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
        put_u32(out, self.message_size_max);
        self.retention.encode(out);
        self.delay_levels.encode(out);
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
            message_size_max: input.u32("message size max")?,
            retention: Retention::decode(input)?,
            delay_levels: DelayLevels::decode(input)?,
        })
    }
}

/// One setting with its new value. A list of them is what an administrator asks for: two administrators who change
/// different settings at the same time both get their way, which a whole [`Settings`] would not give them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingChange {
    BrokerPermission(Perm),
    AutoCreateTopic(bool),
    AutoCreateGroup(bool),
    DefaultTopicQueueCount(u32),
    ClusterTopicEnable(bool),
    BrokerTopicEnable(bool),
    TraceTopicEnable(bool),
    PropertyFilterEnable(bool),
    YoungQueueBytes(u64),
    MessageSizeMax(u32),
    /// One value of the retention; the names are those of [`Retention`]'s fields.
    ReservedHours(u32),
    DeleteWhen(Hours),
    DiskUsedPercentMax(u8),
    DeleteForcibly(bool),
    LogBytesMax(u64),
    DelayLevels(DelayLevels),
}

impl SettingChange {
    /// Makes the change.
    pub fn apply(self, settings: &mut Settings) {
        match self {
            Self::BrokerPermission(perm) => settings.broker_permission = perm,
            Self::AutoCreateTopic(on) => settings.auto_create_topic = on,
            Self::AutoCreateGroup(on) => settings.auto_create_group = on,
            Self::DefaultTopicQueueCount(count) => settings.default_topic_queue_count = count,
            Self::ClusterTopicEnable(on) => settings.cluster_topic_enable = on,
            Self::BrokerTopicEnable(on) => settings.broker_topic_enable = on,
            Self::TraceTopicEnable(on) => settings.trace_topic_enable = on,
            Self::PropertyFilterEnable(on) => settings.property_filter_enable = on,
            Self::YoungQueueBytes(bytes) => settings.young_queue_bytes = bytes,
            Self::MessageSizeMax(bytes) => settings.message_size_max = bytes,
            Self::ReservedHours(hours) => settings.retention.reserved_hours = hours,
            Self::DeleteWhen(hours) => settings.retention.delete_when = hours,
            Self::DiskUsedPercentMax(percent) => settings.retention.disk_used_percent_max = percent,
            Self::DeleteForcibly(on) => settings.retention.delete_forcibly = on,
            Self::LogBytesMax(bytes) => settings.retention.log_bytes_max = bytes,
            Self::DelayLevels(levels) => settings.delay_levels = levels,
        }
    }

    /// Number in the log and the value, which fits 64 bits for every setting but the delay levels: of those it is the count.
    fn parts(&self) -> (u8, u64) {
        match *self {
            Self::BrokerPermission(perm) => (1, perm.0.into()),
            Self::AutoCreateTopic(on) => (2, on.into()),
            Self::AutoCreateGroup(on) => (3, on.into()),
            Self::DefaultTopicQueueCount(count) => (4, count.into()),
            Self::ClusterTopicEnable(on) => (5, on.into()),
            Self::BrokerTopicEnable(on) => (6, on.into()),
            Self::TraceTopicEnable(on) => (7, on.into()),
            Self::PropertyFilterEnable(on) => (8, on.into()),
            Self::YoungQueueBytes(bytes) => (9, bytes),
            Self::MessageSizeMax(bytes) => (10, bytes.into()),
            Self::ReservedHours(hours) => (11, hours.into()),
            Self::DeleteWhen(hours) => {
                (12, (0..24).filter(|hour| hours.contains(*hour)).fold(0, |set, hour| set | 1 << hour))
            }
            Self::DiskUsedPercentMax(percent) => (13, percent.into()),
            Self::DeleteForcibly(on) => (14, on.into()),
            Self::LogBytesMax(bytes) => (15, bytes),
            Self::DelayLevels(ref levels) => (16, levels.max_level().into()),
        }
    }
}

/// u8 number, u64 value; behind the delay levels' count the delays, u64 ms.
impl Encode for SettingChange {
    fn encode(&self, out: &mut Vec<u8>) {
        let (number, value) = self.parts();
        out.push(number);
        put_u64(out, value);
        if let Self::DelayLevels(levels) = self {
            levels.put_delays(out);
        }
    }
}

impl Decode for SettingChange {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let start = input.clone();
        let number = input.u8("setting number")?;
        let value = input.u64("setting value")?;
        let unknown = || start.error("setting value", CodecReason::Unknown(value));
        let flag = || match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(unknown()),
        };
        let byte = || u8::try_from(value).map_err(|_| unknown());
        let count = || u32::try_from(value).map_err(|_| unknown());
        Ok(match number {
            1 => Self::BrokerPermission(Perm(byte()?)),
            2 => Self::AutoCreateTopic(flag()?),
            3 => Self::AutoCreateGroup(flag()?),
            4 => Self::DefaultTopicQueueCount(count()?),
            5 => Self::ClusterTopicEnable(flag()?),
            6 => Self::BrokerTopicEnable(flag()?),
            7 => Self::TraceTopicEnable(flag()?),
            8 => Self::PropertyFilterEnable(flag()?),
            9 => Self::YoungQueueBytes(value),
            10 => Self::MessageSizeMax(count()?),
            11 => Self::ReservedHours(count()?),
            12 if value < 1 << 24 => {
                Self::DeleteWhen(Hours::of((0..24).filter(|hour| value & 1 << hour != 0)))
            }
            12 => return Err(unknown()),
            13 => Self::DiskUsedPercentMax(byte()?),
            14 => Self::DeleteForcibly(flag()?),
            15 => Self::LogBytesMax(value),
            16 => Self::DelayLevels(DelayLevels::decode_counted(input, value)?),
            other => return Err(start.error("setting number", CodecReason::Unknown(other.into()))),
        })
    }
}
