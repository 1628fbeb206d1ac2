//! A message encoder, and a world: one group's log in memory with its tail table and its tables.

use std::sync::Arc;

use flotilla_core::{
    Command, ConsumeFrom, ConsumeType, Effects, EntryContext, GroupConfig, Join, Member, MessageModel,
    PayloadBuilder, Settings, Subscription, Tables, TailTable, system,
};

pub const RECORD_HEADER: u64 = 72;

/// A message in the stored layout, short form, IPv4, not stamped.
pub fn message(topic: &str, queue_id: u32, body: &str, properties: &str) -> Vec<u8> {
    message_with_flag(topic, queue_id, body, properties, 0)
}

pub fn message_with_flag(topic: &str, queue_id: u32, body: &str, properties: &str, sys_flag: u32) -> Vec<u8> {
    let mut bytes = vec![0; 88];
    bytes[4..8].copy_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
    bytes[12..16].copy_from_slice(&queue_id.to_be_bytes());
    bytes[36..40].copy_from_slice(&sys_flag.to_be_bytes());
    bytes[84..88].copy_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body.as_bytes());
    bytes.push(u8::try_from(topic.len()).unwrap());
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&(properties.len() as u16).to_be_bytes());
    bytes.extend_from_slice(properties.as_bytes());
    let size = bytes.len() as u32;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

pub fn payload(commands: &[Command], messages: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = PayloadBuilder::new(0, 1024);
    for message in messages {
        builder.push_message(message).unwrap();
    }
    for command in commands {
        builder.push_command(command);
    }
    builder.finish().to_vec()
}

/// One stamped entry of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub context: EntryContext,
    pub payload: Vec<u8>,
}

/// A leader's log with everything that hangs on it; entries are applied when asked for.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub log: Vec<Entry>,
    pub tail: TailTable,
    pub tables: Tables,
    pub applied: usize,
    pub time_ms: u64,
    /// Term of the entries to come; 1 unless set.
    pub term: u64,
}

impl World {
    pub fn bootstrapped() -> Self {
        let mut world = Self::default();
        world.commit(&[Command::Bootstrap(Box::new(system::bootstrap("C", "B", Settings::default())))], &[]);
        world
    }

    /// Stamps a payload as the leader's log does.
    pub fn append(&mut self, mut payload: Vec<u8>) {
        self.time_ms += 1;
        let (index, position) = match self.log.last() {
            Some(last) => (last.context.index + 1, last.context.payload_position + last.payload.len() as u64),
            None => (0, 64),
        };
        let payload_position = position + RECORD_HEADER;
        self.tail.stamp(&mut payload, payload_position, self.time_ms).unwrap();
        let context =
            EntryContext { index, term: self.term.max(1), position, payload_position, time_ms: self.time_ms };
        self.log.push(Entry { context, payload });
    }

    /// Applies the next entry of the log.
    pub fn apply_next(&mut self) -> Effects {
        let entry = &self.log[self.applied];
        self.applied += 1;
        self.tables.apply(&entry.context, &entry.payload).unwrap()
    }

    /// Appends and applies at once.
    pub fn commit(&mut self, commands: &[Command], messages: &[Vec<u8>]) -> Effects {
        self.append(payload(commands, messages));
        self.apply_next()
    }

    pub fn send(&mut self, topic: &str, queue_id: u32) -> Effects {
        self.commit(&[], &[message(topic, queue_id, "body", "")])
    }
}

pub fn topic(name: &str, queues: u32) -> flotilla_core::TopicConfig {
    flotilla_core::TopicConfig::new(name, queues, flotilla_core::Perm::READ_WRITE)
}

pub fn group(name: &str) -> GroupConfig {
    GroupConfig::new(name)
}

pub fn subscription(topic: &str, expression: &str, version: i64) -> Subscription {
    Subscription {
        topic: Arc::from(topic),
        expression: Arc::from(expression),
        expression_type: Arc::from("TAG"),
        version,
        class_filter_mode: false,
    }
}

pub fn member(client: &str, subscriptions: &[Subscription]) -> Member {
    Member {
        client_id: Arc::from(client),
        language: 0,
        version: 479,
        address: Arc::from("10.0.0.1:1000"),
        consume_type: ConsumeType::Passively,
        message_model: MessageModel::Clustering,
        consume_from: ConsumeFrom::LastOffset,
        unit_mode: false,
        subscriptions: subscriptions.iter().map(|one| (one.topic.clone(), one.clone())).collect(),
    }
}

pub fn join(group: &str, client: &str, subscriptions: &[Subscription]) -> Command {
    Command::Join(Box::new(Join { group: Arc::from(group), member: member(client, subscriptions) }))
}
