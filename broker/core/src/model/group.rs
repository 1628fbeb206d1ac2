//! Subscription group configuration.
// Source: RocketMQ 5.3 SubscriptionGroupConfig and its defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{
    CodecError, CodecReason, Decode, Encode, Reader, put_bool, put_count, put_i32, put_i64, put_list,
    put_text, put_text_map, put_u32,
};

/// When a failed message of a group is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Fixed steps in milliseconds; without steps the delay levels apply.
    Customized {
        next_ms: Option<Vec<i64>>,
    },
    Exponential {
        initial_ms: i64,
        max_ms: i64,
        multiplier: i64,
    },
}

/// A subscription that an administrator fixed for a group (used by newer proxies).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimpleSubscription {
    pub topic: String,
    pub expression_type: String,
    pub expression: String,
    pub version: i64,
}

/// One subscription group as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    pub name: Arc<str>,
    pub consume_enable: bool,
    pub consume_from_min_enable: bool,
    pub consume_broadcast_enable: bool,
    pub consume_message_orderly: bool,
    pub retry_queue_count: u32,
    pub retry_times_max: i32,
    pub retry_policy: RetryPolicy,
    pub broker_id: i64,
    pub which_broker_when_consume_slowly: i64,
    pub notify_consumer_ids_changed_enable: bool,
    pub sys_flag: i32,
    pub consume_timeout_minutes: i32,
    pub subscriptions: Vec<SimpleSubscription>,
    pub attributes: BTreeMap<String, String>,
}

impl GroupConfig {
    /// RocketMQ's defaults, as automatic creation uses them.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_message_orderly: false,
            retry_queue_count: 1,
            retry_times_max: 16,
            retry_policy: RetryPolicy::Customized { next_ms: None },
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_consumer_ids_changed_enable: true,
            sys_flag: 0,
            consume_timeout_minutes: 15,
            subscriptions: Vec::new(),
            attributes: BTreeMap::new(),
        }
    }
}

impl Encode for GroupConfig {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        put_bool(out, self.consume_enable);
        put_bool(out, self.consume_from_min_enable);
        put_bool(out, self.consume_broadcast_enable);
        put_bool(out, self.consume_message_orderly);
        put_u32(out, self.retry_queue_count);
        put_i32(out, self.retry_times_max);
        self.retry_policy.encode(out);
        put_i64(out, self.broker_id);
        put_i64(out, self.which_broker_when_consume_slowly);
        put_bool(out, self.notify_consumer_ids_changed_enable);
        put_i32(out, self.sys_flag);
        put_i32(out, self.consume_timeout_minutes);
        put_list(out, &self.subscriptions);
        put_text_map(out, &self.attributes);
    }
}

impl Decode for GroupConfig {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            name: input.name("group name")?,
            consume_enable: input.bool("consume enable")?,
            consume_from_min_enable: input.bool("consume from min enable")?,
            consume_broadcast_enable: input.bool("consume broadcast enable")?,
            consume_message_orderly: input.bool("consume orderly")?,
            retry_queue_count: input.u32("retry queues")?,
            retry_times_max: input.i32("retry times")?,
            retry_policy: RetryPolicy::decode(input)?,
            broker_id: input.i64("broker id")?,
            which_broker_when_consume_slowly: input.i64("slow broker id")?,
            notify_consumer_ids_changed_enable: input.bool("notify enable")?,
            sys_flag: input.i32("group flags")?,
            consume_timeout_minutes: input.i32("consume timeout")?,
            subscriptions: input.list("group subscriptions", 20, SimpleSubscription::decode)?,
            attributes: input.text_map("group attributes")?,
        })
    }
}

impl Encode for RetryPolicy {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Customized { next_ms: None } => out.push(0),
            Self::Customized { next_ms: Some(steps) } => {
                out.push(1);
                put_count(out, steps.len());
                for step in steps {
                    put_i64(out, *step);
                }
            }
            Self::Exponential { initial_ms, max_ms, multiplier } => {
                out.push(2);
                put_i64(out, *initial_ms);
                put_i64(out, *max_ms);
                put_i64(out, *multiplier);
            }
        }
    }
}

impl Decode for RetryPolicy {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        const FIELD: &str = "retry policy";
        Ok(match input.u8(FIELD)? {
            0 => Self::Customized { next_ms: None },
            1 => Self::Customized { next_ms: Some(input.list(FIELD, 8, |input| input.i64(FIELD))?) },
            2 => Self::Exponential {
                initial_ms: input.i64(FIELD)?,
                max_ms: input.i64(FIELD)?,
                multiplier: input.i64(FIELD)?,
            },
            other => return Err(input.error(FIELD, CodecReason::Unknown(other.into()))),
        })
    }
}

impl Encode for SimpleSubscription {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.topic);
        put_text(out, &self.expression_type);
        put_text(out, &self.expression);
        put_i64(out, self.version);
    }
}

impl Decode for SimpleSubscription {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            topic: input.string("subscription topic")?,
            expression_type: input.string("expression type")?,
            expression: input.string("expression")?,
            version: input.i64("subscription version")?,
        })
    }
}
