//! Who belongs to a consumer group, with which subscriptions.
//!
//! A group's subscription of a topic is derived from its members and never stored: it is the one with the largest version, as
//! RocketMQ keeps it, but a member that does not subscribe a topic can't erase another member's subscription of it. The group
//! therefore does not flap between two members with different topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{
    CodecError, CodecReason, Decode, Encode, Reader, put_bool, put_count, put_i32, put_i64, put_text,
};

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident, $field:literal, { $($variant:ident = $code:literal / $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(match self { $(Self::$variant => $code),+ });
            }
        }

        impl Decode for $name {
            fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
                match input.u8($field)? {
                    $($code => Ok(Self::$variant),)+
                    other => Err(input.error($field, CodecReason::Unknown(other.into()))),
                }
            }
        }
    };
}

wire_enum!(
    /// How a member gets its messages.
    ConsumeType, "consume type", {
        Actively = 0 / "CONSUME_ACTIVELY",
        Passively = 1 / "CONSUME_PASSIVELY",
        Pop = 2 / "CONSUME_POP",
    }
);
wire_enum!(
    /// Whether the group shares the queues or every member reads all of them.
    MessageModel, "message model", {
        Broadcasting = 0 / "BROADCASTING",
        Clustering = 1 / "CLUSTERING",
    }
);
wire_enum!(
    /// Where a group without stored offsets begins.
    ConsumeFrom, "consume from", {
        LastOffset = 0 / "CONSUME_FROM_LAST_OFFSET",
        LastOffsetAndFromMinWhenBootFirst = 1 / "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        MinOffset = 2 / "CONSUME_FROM_MIN_OFFSET",
        MaxOffset = 3 / "CONSUME_FROM_MAX_OFFSET",
        FirstOffset = 4 / "CONSUME_FROM_FIRST_OFFSET",
        Timestamp = 5 / "CONSUME_FROM_TIMESTAMP",
    }
);

/// What one member wants of one topic. The tag sets are derived from the expression where they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub topic: Arc<str>,
    /// `subString`: `*` or `A || B` for tags, an expression for SQL92.
    pub expression: Arc<str>,
    /// `TAG` (also when the client left it out) or `SQL92`; compared as it is.
    pub expression_type: Arc<str>,
    pub version: i64,
    pub class_filter_mode: bool,
}

impl Subscription {
    pub fn is_tag(&self) -> bool {
        &*self.expression_type == "TAG"
    }
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub client_id: Arc<str>,
    /// Number of the client's language as in the binary frame header.
    pub language: u8,
    pub version: i32,
    /// Where the client was seen when it joined; for tools only, a change of it is no change of the membership.
    pub address: Arc<str>,
    pub consume_type: ConsumeType,
    pub message_model: MessageModel,
    pub consume_from: ConsumeFrom,
    pub unit_mode: bool,
    pub subscriptions: BTreeMap<Arc<str>, Subscription>,
}

impl Member {
    /// True when the rest of the group has reason to look again.
    pub fn differs(&self, other: &Self) -> bool {
        let Self {
            client_id,
            language,
            version,
            address: _,
            consume_type,
            message_model,
            consume_from,
            unit_mode,
            subscriptions,
        } = self;
        *client_id != other.client_id
            || *language != other.language
            || *version != other.version
            || *consume_type != other.consume_type
            || *message_model != other.message_model
            || *consume_from != other.consume_from
            || *unit_mode != other.unit_mode
            || *subscriptions != other.subscriptions
    }
}

/// The members of one group, never empty inside the tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMembers {
    pub members: BTreeMap<Arc<str>, Member>,
}

impl GroupMembers {
    /// Client ids in order.
    pub fn client_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.keys()
    }

    /// The group's subscription of a topic: the largest version among the members, the first client id on a tie.
    pub fn subscription(&self, topic: &str) -> Option<&Subscription> {
        let mut found: Option<&Subscription> = None;
        for subscription in self.members.values().filter_map(|member| member.subscriptions.get(topic)) {
            if found.is_none_or(|best| subscription.version > best.version) {
                found = Some(subscription);
            }
        }
        found
    }

    /// All topics that a member subscribes, with the group's subscription of each, in order of the topics.
    pub fn subscriptions(&self) -> Vec<&Subscription> {
        let topics: std::collections::BTreeSet<&Arc<str>> =
            self.members.values().flat_map(|member| member.subscriptions.keys()).collect();
        topics.into_iter().filter_map(|topic| self.subscription(topic)).collect()
    }

    /// The message model of the group: that of its first member; mixed groups are a mistake that RocketMQ tolerates.
    pub fn message_model(&self) -> Option<MessageModel> {
        self.members.values().next().map(|member| member.message_model)
    }
}

impl Encode for Subscription {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.topic);
        put_text(out, &self.expression);
        put_text(out, &self.expression_type);
        put_i64(out, self.version);
        put_bool(out, self.class_filter_mode);
    }
}

impl Decode for Subscription {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            topic: input.name("subscribed topic")?,
            expression: Arc::from(input.text("subscription", crate::limits::TEXT_BYTES_MAX)?),
            expression_type: input.name("expression type")?,
            version: input.i64("subscription version")?,
            class_filter_mode: input.bool("class filter mode")?,
        })
    }
}

impl Encode for Member {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.client_id);
        out.push(self.language);
        put_i32(out, self.version);
        put_text(out, &self.address);
        self.consume_type.encode(out);
        self.message_model.encode(out);
        self.consume_from.encode(out);
        put_bool(out, self.unit_mode);
        put_count(out, self.subscriptions.len());
        for subscription in self.subscriptions.values() {
            subscription.encode(out);
        }
    }
}

impl Decode for Member {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            client_id: input.name("client id")?,
            language: input.u8("language")?,
            version: input.i32("client version")?,
            address: input.name("client address")?,
            consume_type: ConsumeType::decode(input)?,
            message_model: MessageModel::decode(input)?,
            consume_from: ConsumeFrom::decode(input)?,
            unit_mode: input.bool("unit mode")?,
            subscriptions: input
                .list("subscriptions", 21, Subscription::decode)?
                .into_iter()
                .map(|subscription| (subscription.topic.clone(), subscription))
                .collect(),
        })
    }
}
