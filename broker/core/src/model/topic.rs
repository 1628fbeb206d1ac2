//! Topic configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{
    CodecError, CodecReason, Decode, Encode, Reader, put_bool, put_i32, put_text, put_text_map, put_u32,
};

/// Permission bits: 4 read, 2 write, 1 inherit (a template for auto-creation), 8 priority.
// Source: RocketMQ PermName.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Perm(pub u8);

impl Perm {
    pub const INHERIT: Self = Self(1);
    pub const READ_WRITE: Self = Self(6);
    pub const READ_WRITE_INHERIT: Self = Self(7);

    pub fn is_readable(self) -> bool {
        self.0 & 4 != 0
    }

    pub fn is_writable(self) -> bool {
        self.0 & 2 != 0
    }

    pub fn is_inherited(self) -> bool {
        self.0 & 1 != 0
    }

    pub fn without_inherit(self) -> Self {
        Self(self.0 & !1)
    }

    /// Both permissions together, as a broker's own permission limits its topics.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Whether messages carry one tag or several; kept for the tools, without effect on filtering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterType {
    SingleTag,
    MultiTag,
}

impl FilterType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SingleTag => "SINGLE_TAG",
            Self::MultiTag => "MULTI_TAG",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "SINGLE_TAG" => Some(Self::SingleTag),
            "MULTI_TAG" => Some(Self::MultiTag),
            _ => None,
        }
    }
}

/// One topic as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    pub name: Arc<str>,
    pub read_queue_count: u32,
    pub write_queue_count: u32,
    pub perm: Perm,
    pub filter_type: FilterType,
    /// 1 unit, 2 unit-sub.
    pub sys_flag: i32,
    pub order: bool,
    /// Names without the sign that change requests put before them.
    pub attributes: BTreeMap<String, String>,
}

impl TopicConfig {
    /// A topic with as many read as write queues and otherwise RocketMQ's defaults.
    pub fn new(name: impl Into<Arc<str>>, queue_count: u32, perm: Perm) -> Self {
        Self {
            name: name.into(),
            read_queue_count: queue_count,
            write_queue_count: queue_count,
            perm,
            filter_type: FilterType::SingleTag,
            sys_flag: 0,
            order: false,
            attributes: BTreeMap::new(),
        }
    }

    /// Queue ids below this number exist.
    pub fn queue_count(&self) -> u32 {
        self.read_queue_count.max(self.write_queue_count)
    }
}

impl Encode for TopicConfig {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        put_u32(out, self.read_queue_count);
        put_u32(out, self.write_queue_count);
        out.push(self.perm.0);
        out.push(match self.filter_type {
            FilterType::SingleTag => 0,
            FilterType::MultiTag => 1,
        });
        put_i32(out, self.sys_flag);
        put_bool(out, self.order);
        put_text_map(out, &self.attributes);
    }
}

impl Decode for TopicConfig {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            name: input.name("topic name")?,
            read_queue_count: input.u32("read queues")?,
            write_queue_count: input.u32("write queues")?,
            perm: Perm(input.u8("perm")?),
            filter_type: match input.u8("filter type")? {
                0 => FilterType::SingleTag,
                1 => FilterType::MultiTag,
                other => return Err(input.error("filter type", CodecReason::Unknown(other.into()))),
            },
            sys_flag: input.i32("topic flags")?,
            order: input.bool("order")?,
            attributes: input.text_map("topic attributes")?,
        })
    }
}
