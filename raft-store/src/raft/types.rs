//! The consensus library's type configuration over our records.
//!
//! An entry is either *new* (a payload that the leader's log has yet to place, stamp and seal) or *stored* (the bytes of
//! a record). Stamping happens if and only if an entry has no bytes yet, whatever the role of the node, and whoever
//! reads an entry back gets the stored form.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::Membership;
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};

use super::answers::Waiter;
use super::permits::Coming;
use super::runtime::GroupRuntime;
use crate::record::{RECORD_HEADER_SIZE, Record};
use crate::types::{EntryKind, LogId, Vote};

/// The type configuration; it has no value of interest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Draft;
    type R = ();
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = Payload;
    type Entry = Entry;
    type Responder<T>
        = Waiter<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type AsyncRuntime = GroupRuntime;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type RaftLogId = openraft::LogId<CommittedLeaderId<u64>>;
pub(crate) type RaftVote = openraft::Vote<LeaderId<u64, u64>>;
pub(crate) type Members = Membership<u64, ()>;
pub(crate) type StoredMembers = openraft::StoredMembership<CommittedLeaderId<u64>, u64, ()>;
pub(crate) type SnapshotMeta = openraft::storage::SnapshotMeta<CommittedLeaderId<u64>, u64, ()>;

/// Bytes of an application payload that the log has not taken yet, with head room for the record header in front.
#[derive(Clone)]
pub struct Draft {
    pub(crate) bytes: Bytes,
    /// Held until the log has it, where somebody counts.
    pub(crate) coming: Option<Arc<Coming>>,
}

impl fmt::Debug for Draft {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.bytes.len().saturating_sub(RECORD_HEADER_SIZE))
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// What a new entry carries.
#[derive(Debug, Clone)]
pub enum Payload {
    /// Opens a term.
    Blank,
    /// Bytes of the machine's own.
    Application(Draft),
    /// Who belongs to the group.
    Membership(Members),
}

impl fmt::Display for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Blank => formatter.write_str("blank"),
            Payload::Application(draft) => write!(formatter, "application, {draft}"),
            Payload::Membership(members) => write!(formatter, "membership {members}"),
        }
    }
}

impl RaftPayload for Payload {
    type D = Draft;
    type NodeId = u64;
    type Node = ();

    fn blank() -> Payload {
        Payload::Blank
    }

    fn with_normal(self, data: Draft) -> Payload {
        Payload::Application(data)
    }

    fn with_membership(self, membership: Members) -> Payload {
        Payload::Membership(membership)
    }

    fn get_membership(&self) -> Option<Members> {
        match self {
            Payload::Membership(members) => Some(members.clone()),
            Payload::Blank | Payload::Application(_) => None,
        }
    }
}

/// An entry of the log, see the module's first lines.
#[derive(Clone)]
pub struct Entry {
    pub(crate) id: RaftLogId,
    pub(crate) body: Body,
}

/// What an [`Entry`] consists of besides its id.
#[derive(Clone)]
pub(crate) enum Body {
    New(Payload),
    Stored(Record),
}

impl Entry {
    pub(crate) fn stored(record: Record) -> Entry {
        Entry { id: raft_log_id(record.id()), body: Body::Stored(record) }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match &self.body {
            Body::New(_) => "new",
            Body::Stored(_) => "stored",
        };
        write!(formatter, "{} ({form})", self.id)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl RaftEntry for Entry {
    type CommittedLeaderId = CommittedLeaderId<u64>;
    type Payload = Payload;

    fn new(id: RaftLogId, payload: Payload) -> Entry {
        Entry { id, body: Body::New(payload) }
    }

    fn log_id_parts(&self) -> (&CommittedLeaderId<u64>, u64) {
        (self.id.committed_leader_id(), self.id.index())
    }

    fn set_log_id(&mut self, id: RaftLogId) {
        self.id = id;
    }

    fn get_membership(&self) -> Option<Members> {
        match &self.body {
            Body::New(payload) => payload.get_membership(),
            Body::Stored(record) => match record.kind() {
                EntryKind::Membership => Some(
                    decode_members(&mut record.payload())
                        .expect("a checksummed membership record holds a membership"),
                ),
                EntryKind::Blank | EntryKind::Application => None,
            },
        }
    }
}

pub(crate) fn raft_log_id(id: LogId) -> RaftLogId {
    RaftLogId::new(CommittedLeaderId::new(id.term), id.index)
}

pub(crate) fn plain_log_id(id: &RaftLogId) -> LogId {
    LogId { term: id.committed_leader_id().term, index: id.index() }
}

pub(crate) fn raft_vote(vote: &Vote) -> RaftVote {
    if vote.committed {
        RaftVote::new_committed(vote.term, vote.node)
    } else {
        RaftVote::new(vote.term, vote.node)
    }
}

pub(crate) fn plain_vote(vote: &RaftVote) -> Vote {
    Vote { term: vote.leader_id().term, node: vote.leader_id().voted_for, committed: vote.is_committed() }
}

const MEMBERS_FORMAT: u8 = 1;
const CONFIGS_MAX: u32 = 4;
const NODES_MAX: u32 = 1024;

/// Layout, little endian: format u8 | configs u32, each: voters u32, ids u64... | nodes u32, ids u64... (learners too).
pub(crate) fn encode_members(members: &Members, out: &mut BytesMut) {
    let put_ids = |ids: &mut dyn Iterator<Item = u64>, out: &mut BytesMut| {
        let ids: Vec<u64> = ids.collect();
        out.put_u32_le(u32::try_from(ids.len()).expect("a group has few nodes"));
        ids.iter().for_each(|id| out.put_u64_le(*id));
    };
    out.put_u8(MEMBERS_FORMAT);
    let configs = members.get_joint_config();
    out.put_u32_le(u32::try_from(configs.len()).expect("a membership has one or two parts"));
    for config in configs {
        put_ids(&mut config.iter().copied(), out);
    }
    put_ids(&mut members.nodes().map(|(id, ())| *id), out);
}

/// Reads what [`encode_members`] wrote; `None` when it is malformed.
pub(crate) fn decode_members(bytes: &mut impl Buf) -> Option<Members> {
    fn ids(bytes: &mut impl Buf) -> Option<BTreeSet<u64>> {
        let count = bytes.try_get_u32_le().ok().filter(|count| *count <= NODES_MAX)?;
        (0..count).map(|_| bytes.try_get_u64_le().ok()).collect()
    }
    if bytes.try_get_u8().ok()? != MEMBERS_FORMAT {
        return None;
    }
    let count = bytes.try_get_u32_le().ok().filter(|count| *count <= CONFIGS_MAX)?;
    let configs = (0..count).map(|_| ids(bytes)).collect::<Option<Vec<_>>>()?;
    let nodes = ids(bytes)?;
    Some(Members::new_with_defaults(configs, nodes))
}

/// Layout: has_id u8 | term u64 | index u64 | membership as [`encode_members`].
pub(crate) fn encode_stored_members(members: &StoredMembers) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    match members.log_id() {
        Some(id) => {
            out.put_u8(1);
            out.put_u64_le(id.committed_leader_id().term);
            out.put_u64_le(id.index());
        }
        None => out.put_bytes(0, 17),
    }
    encode_members(members.membership(), &mut out);
    out.freeze()
}

/// Reads what [`encode_stored_members`] wrote; `None` when it is malformed.
pub(crate) fn decode_stored_members(bytes: &[u8]) -> Option<StoredMembers> {
    let mut bytes = bytes;
    let has_id = bytes.try_get_u8().ok()? == 1;
    let term = bytes.try_get_u64_le().ok()?;
    let index = bytes.try_get_u64_le().ok()?;
    let members = decode_members(&mut bytes)?;
    Some(StoredMembers::new(has_id.then(|| raft_log_id(LogId { term, index })), members))
}
