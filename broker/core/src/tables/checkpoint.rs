//! A checkpoint of the tables: what a replica needs instead of the log before it. Little endian, values as `codec` writes them.
//!
//! | offset | size | field         | meaning                                               |
//! |-------:|-----:|---------------|-------------------------------------------------------|
//! |      0 |    8 | magic         | `FLOTILLA`                                            |
//! |      8 |    4 | version       | of this format, now 1                                 |
//! |     12 |    4 | section count |                                                       |
//! |     16 |      | sections      | u32 number, u64 size, contents; numbers rise          |
//!
//! | number | section          | contents                                                              |
//! |-------:|------------------|-----------------------------------------------------------------------|
//! |      1 | head             | applied entry, identity, settings, versions, minimum position         |
//! |      2 | topics           | name, optional configuration, heads of the queues; tombstones too     |
//! |      3 | groups           | configurations                                                        |
//! |      4 | members          | group, members                                                        |
//! |      5 | consumer offsets | group, topics, queues                                                 |
//! |      6 | delay            | next message and position by queue, former delays, version            |
//! |     14 | locks            | group, topics, queues, owners with their grants                        |
//! |     16 | forbidden        | group, topics that it may not read                                    |
//! |     17 | resets           | as consumer offsets: where readers have still to move to              |
//!
//! Lists are sorted by name, so equal tables give equal bytes. An empty input is the blank state. Checksums are the business of
//! whoever keeps the bytes; reading still never trusts them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::locks::{count, decode_locks, encode_locks};
use super::sharded::Sharded;
use super::{Applied, DelayTable, GroupOffsets, Identity, Tables, TopicState};
use crate::codec::{
    CodecError, CodecReason, Decode, Encode, Reader, put_bool, put_count, put_i64, put_list, put_text,
    put_u32, put_u64,
};
use crate::limits::QUEUES_PER_TOPIC_MAX;
use crate::model::{DataVersion, GroupConfig, GroupMembers, Member, QueueHead, Settings, TopicConfig};

const MAGIC: &[u8; 8] = b"FLOTILLA";
const VERSION: u32 = 1;
const HEAD: u32 = 1;
const TOPICS: u32 = 2;
const GROUPS: u32 = 3;
const MEMBERS: u32 = 4;
const OFFSETS: u32 = 5;
const DELAY: u32 = 6;
const LOCKS: u32 = 14;
const FORBIDDEN: u32 = 16;
const RESETS: u32 = 17;

/// Why a checkpoint can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("not a checkpoint of the tables")]
    Magic,
    #[error("checkpoint format {0} is newer than this program")]
    Version(u32),
    #[error("checkpoint section {section}: {source}")]
    Section { section: u32, source: CodecError },
    #[error("checkpoint frame: {0}")]
    Frame(#[from] CodecError),
}

impl Tables {
    /// The tables as bytes; equal tables give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, VERSION);
        let mut out = SectionWriter::new(out);
        out.put(HEAD, |out| self.encode_head(out));
        out.put(TOPICS, |out| encode_sorted(out, &self.topics, encode_topic));
        out.put(GROUPS, |out| encode_sorted(out, &self.groups, |out, _, group| group.encode(out)));
        out.put(MEMBERS, |out| encode_sorted(out, &self.members, encode_members));
        out.put(OFFSETS, |out| encode_sorted(out, &self.offsets, encode_offsets));
        out.put(DELAY, |out| self.delay.encode(out));
        out.put(LOCKS, |out| encode_sorted(out, &self.locks, encode_locks));
        out.put(FORBIDDEN, |out| encode_sorted(out, &self.forbidden, encode_forbidden));
        out.put(RESETS, |out| encode_sorted(out, &self.resets, encode_offsets));
        out.finish()
    }

    /// Reads what [`Self::encode`] wrote; an empty slice is the blank state.
    ///
    /// # Errors
    /// What is wrong and where; never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut tables = Self::blank();
        if bytes.is_empty() {
            return Ok(tables);
        }
        for (section, mut contents) in sections(bytes)? {
            let input = &mut contents;
            let read = match section {
                HEAD => tables.decode_head(input),
                TOPICS => decode_named(input, &mut tables.topics, decode_topic),
                GROUPS => decode_named(input, &mut tables.groups, |input| {
                    GroupConfig::decode(input).map(|group| (group.name.clone(), group))
                }),
                MEMBERS => decode_named(input, &mut tables.members, decode_members),
                OFFSETS => decode_named(input, &mut tables.offsets, decode_offsets),
                DELAY => DelayTable::decode(input).map(|delay| tables.delay = delay),
                LOCKS => decode_named(input, &mut tables.locks, decode_locks),
                FORBIDDEN => decode_named(input, &mut tables.forbidden, decode_forbidden),
                RESETS => decode_named(input, &mut tables.resets, decode_offsets),
                other => Err(input.error("section number", CodecReason::Unknown(other.into()))),
            };
            read.and_then(|()| input.finish("section"))
                .map_err(|source| CheckpointError::Section { section, source })?;
        }
        tables.lock_count = tables.locks.iter().map(|(_, topics)| count(topics)).sum();
        Ok(tables)
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        let Applied { index, term, end_position, time_ms } = self.applied;
        for value in [index, term, end_position, time_ms] {
            put_u64(out, value);
        }
        put_bool(out, self.identity.is_some());
        if let Some(Identity { cluster, broker }) = &self.identity {
            put_text(out, cluster);
            put_text(out, broker);
        }
        self.settings.encode(out);
        self.settings_version.encode(out);
        self.topic_version.encode(out);
        self.group_version.encode(out);
        put_u64(out, self.minimum_position);
    }

    fn decode_head(&mut self, input: &mut Reader<'_>) -> Result<(), CodecError> {
        self.applied = Applied {
            index: input.u64("applied index")?,
            term: input.u64("applied term")?,
            end_position: input.u64("applied position")?,
            time_ms: input.u64("applied time")?,
        };
        self.identity = input.optional("identity", |input| {
            Ok(Identity { cluster: input.name("cluster name")?, broker: input.name("broker name")? })
        })?;
        self.settings = Settings::decode(input)?;
        self.settings_version = DataVersion::decode(input)?;
        self.topic_version = DataVersion::decode(input)?;
        self.group_version = DataVersion::decode(input)?;
        self.minimum_position = input.u64("minimum position")?;
        Ok(())
    }
}

/// Names of topics, tombstones included, with the heads of their queues by queue id.
pub type TopicHeads = Vec<(Arc<str>, Vec<QueueHead>)>;

/// Reads the heads of all queues without building the tables.
///
/// # Errors
/// As [`Tables::decode`], for the sections that are read.
pub fn queue_heads(bytes: &[u8]) -> Result<TopicHeads, CheckpointError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut heads = Vec::new();
    for (section, mut contents) in sections(bytes)? {
        if section == TOPICS {
            heads = contents
                .list("topics", 9, |input| decode_topic(input).map(|(name, topic)| (name, topic.queues)))
                .map_err(|source| CheckpointError::Section { section, source })?;
        }
    }
    Ok(heads)
}

/// Numbers and contents of the sections.
fn sections(bytes: &[u8]) -> Result<Vec<(u32, Reader<'_>)>, CheckpointError> {
    let mut input = Reader::new(bytes);
    if input.take("magic", MAGIC.len()).ok() != Some(MAGIC.as_slice()) {
        return Err(CheckpointError::Magic);
    }
    let version = input.u32("format version")?;
    if version != VERSION {
        return Err(CheckpointError::Version(version));
    }
    let sections = input.list("sections", 12, |input| {
        let start = input.clone();
        let section = input.u32("section number")?;
        let size = input.u64("section size")?;
        let size = usize::try_from(size).map_err(|_| {
            start.error("section size", CodecReason::OverLimit { value: size, limit: usize::MAX as u64 })
        })?;
        Ok((section, Reader::new(input.take("section", size)?)))
    })?;
    input.finish("checkpoint")?;
    if !sections.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return Err(input.error("section number", CodecReason::Order).into());
    }
    Ok(sections)
}

/// Writes sections one after another, and their number in front of them at the end.
struct SectionWriter {
    out: Vec<u8>,
    count_at: usize,
    count: u32,
}

impl SectionWriter {
    fn new(mut out: Vec<u8>) -> Self {
        let count_at = out.len();
        put_u32(&mut out, 0);
        Self { out, count_at, count: 0 }
    }

    fn put(&mut self, section: u32, contents: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut self.out;
        put_u32(out, section);
        let size_at = out.len();
        put_u64(out, 0);
        contents(out);
        let size = (out.len() - size_at - 8) as u64;
        out[size_at..size_at + 8].copy_from_slice(&size.to_le_bytes());
        self.count += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        self.out[self.count_at..self.count_at + 4].copy_from_slice(&self.count.to_le_bytes());
        self.out
    }
}

fn encode_sorted<V>(out: &mut Vec<u8>, map: &Sharded<V>, item: impl Fn(&mut Vec<u8>, &Arc<str>, &V)) {
    put_count(out, map.len());
    for (name, value) in map.sorted() {
        item(out, name, value);
    }
}

fn decode_named<V: Clone>(
    input: &mut Reader<'_>,
    map: &mut Sharded<V>,
    item: impl Fn(&mut Reader<'_>) -> Result<(Arc<str>, V), CodecError>,
) -> Result<(), CodecError> {
    let mut last: Option<Arc<str>> = None;
    for _ in 0..input.count("names", 4)? {
        let start = input.clone();
        let (name, value) = item(input)?;
        if last.is_some_and(|last| last >= name) {
            return Err(start.error("name", CodecReason::Order));
        }
        last = Some(name.clone());
        map.insert(name, value);
    }
    Ok(())
}

fn encode_topic(out: &mut Vec<u8>, name: &Arc<str>, topic: &TopicState) {
    put_text(out, name);
    put_bool(out, topic.config.is_some());
    if let Some(config) = &topic.config {
        config.encode(out);
    }
    put_list(out, &topic.queues);
}

fn decode_topic(input: &mut Reader<'_>) -> Result<(Arc<str>, TopicState), CodecError> {
    let name = input.name("topic")?;
    let config = input.optional("topic configuration", TopicConfig::decode)?;
    if config
        .as_ref()
        .is_some_and(|config| config.name != name || config.queue_count() > QUEUES_PER_TOPIC_MAX)
    {
        return Err(input.error("topic configuration", CodecReason::Order));
    }
    let queues = input.list("queues", 40, QueueHead::decode)?;
    if queues.len() > QUEUES_PER_TOPIC_MAX as usize {
        let reason =
            CodecReason::OverLimit { value: queues.len() as u64, limit: QUEUES_PER_TOPIC_MAX.into() };
        return Err(input.error("queues", reason));
    }
    Ok((name.clone(), TopicState { name, config, queues }))
}

fn encode_members(out: &mut Vec<u8>, group: &Arc<str>, members: &GroupMembers) {
    put_text(out, group);
    put_count(out, members.members.len());
    for member in members.members.values() {
        member.encode(out);
    }
}

fn decode_members(input: &mut Reader<'_>) -> Result<(Arc<str>, GroupMembers), CodecError> {
    let group = input.name("group")?;
    let members = input.list("members", 20, Member::decode)?;
    let members = members.into_iter().map(|member| (member.client_id.clone(), member)).collect();
    Ok((group, GroupMembers { members }))
}

fn encode_forbidden(out: &mut Vec<u8>, group: &Arc<str>, topics: &BTreeSet<Arc<str>>) {
    put_text(out, group);
    put_count(out, topics.len());
    for topic in topics {
        put_text(out, topic);
    }
}

fn decode_forbidden(input: &mut Reader<'_>) -> Result<(Arc<str>, BTreeSet<Arc<str>>), CodecError> {
    let group = input.name("group")?;
    let topics = input.list("forbidden topics", 4, |input| input.name("topic"))?;
    Ok((group, topics.into_iter().collect()))
}

fn encode_offsets(out: &mut Vec<u8>, group: &Arc<str>, offsets: &GroupOffsets) {
    put_text(out, group);
    put_count(out, offsets.len());
    for (topic, queues) in offsets {
        put_text(out, topic);
        put_count(out, queues.len());
        for (queue_id, offset) in queues {
            put_u32(out, *queue_id);
            put_i64(out, *offset);
        }
    }
}

fn decode_offsets(input: &mut Reader<'_>) -> Result<(Arc<str>, GroupOffsets), CodecError> {
    let group = input.name("group")?;
    let topics = input.list("offset topics", 8, |input| {
        let topic = input.name("topic")?;
        let queues = input.list("offsets", 12, |input| Ok((input.u32("queue id")?, input.i64("offset")?)))?;
        Ok((topic, queues.into_iter().collect()))
    })?;
    Ok((group, topics.into_iter().collect()))
}
