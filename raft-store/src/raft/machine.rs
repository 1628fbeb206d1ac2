//! Brings committed entries to the user's machine, and its state to checkpoints and back.
//!
//! A checkpoint is cut when apply is about to pass into a new segment: the tables then stand exactly behind the last
//! entry of a sealed one. Only a copy is taken here; making bytes of it, writing and syncing happen on the log's
//! background thread. What the library calls *the snapshot* is the checkpoint at the retention boundary P, never the
//! head: a replica that installs it then receives every retained entry.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::vote::leader_id_std::CommittedLeaderId;
use parking_lot::Mutex;
use tracing::{info, warn};

use super::answers::Pending;
use super::api::{Applied, Machine};
use super::runtime::Blocking;
use super::status::Counters;
use super::storage::{SharedLog, reported, reporting};
use super::types::{
    Body, Entry, RaftLogId, SnapshotMeta, StoredMembers, Types, decode_members, decode_stored_members,
    encode_stored_members, raft_log_id,
};
use crate::log::{Checkpoint, Checkpoints, StateSource};
use crate::record::Record;
use crate::types::{ChainPoint, EntryKind, LogId};

pub(crate) type SnapshotOf = Snapshot<CommittedLeaderId<u64>, u64, (), Checkpoint>;

/// Where the applied state stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standpoint {
    pub(crate) point: ChainPoint,
    pub(crate) time_ms: u64,
}

/// The applied state: the user's machine with what the group needs to know about it.
pub(crate) struct State<M> {
    pub(crate) machine: M,
    pub(crate) at: Option<Standpoint>,
    pub(crate) members: StoredMembers,
}

/// A cut that waits to be written.
pub(crate) struct Cut {
    pub(crate) at: Standpoint,
    pub(crate) membership: bytes::Bytes,
    pub(crate) state: StateSource,
}

impl<M: Machine> State<M> {
    /// A checkpoint of the state as it stands, if `record` opens a segment and so makes the state before it worth one.
    ///
    /// # Panics
    /// `record` is not the one behind the applied state.
    pub(crate) fn cut_before(&self, record: &Record) -> Option<Cut> {
        let before = record.previous_point();
        let at = self.at;
        assert!(
            at.map(|at| at.point) == before,
            "entry {} follows {before:?}, the applied state stands at {at:?}",
            record.index()
        );
        if !record.starts_segment() {
            return None;
        }
        let at = at?;
        Some(Cut { at, membership: encode_stored_members(&self.members), state: self.machine.checkpoint() })
    }

    /// Applies one record.
    pub(crate) fn apply(&mut self, record: &Record, awaited: bool) -> M::Answer {
        let payload = record.payload();
        if record.kind() == EntryKind::Membership {
            let members =
                decode_members(&mut payload.clone()).expect("a checksummed membership record holds one");
            self.members = StoredMembers::new(Some(raft_log_id(record.id())), members);
        }
        let answer = self.machine.apply(&Applied {
            index: record.index(),
            term: record.term(),
            position: record.position(),
            payload_position: record.payload_position(),
            end_position: record.end_position(),
            time_ms: record.time_ms(),
            kind: record.kind(),
            payload: &payload,
            awaited,
        });
        self.at = Some(Standpoint { point: record.point(), time_ms: record.time_ms() });
        answer
    }

    /// Replaces everything by a checkpoint.
    pub(crate) fn install(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let members = decode_stored_members(&checkpoint.membership).ok_or("its membership can't be read")?;
        self.machine.install(&checkpoint.state).map_err(|error| error.to_string())?;
        self.members = members;
        self.at = Some(Standpoint { point: checkpoint.at, time_ms: checkpoint.time_ms });
        Ok(())
    }

    fn applied(&self) -> Option<RaftLogId> {
        self.at.map(|at| raft_log_id(at.point.id))
    }
}

/// Writes a cut as soon as the log is durable up to it.
pub(crate) fn save(checkpoints: &Checkpoints, cut: Cut, counters: &Arc<Counters>) {
    let (id, counters): (LogId, Arc<Counters>) = (cut.at.point.id, Arc::clone(counters));
    let done = Box::new(move |outcome: io::Result<()>| match outcome {
        Ok(()) => {
            counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        }
        // Without it a restart begins at an older one, and retention stays behind: unpleasant, not wrong.
        Err(error) => warn!(%error, entry = %id, "checkpoint could not be written"),
    });
    checkpoints.save(cut.at.point, cut.at.time_ms, cut.membership, cut.state, done);
}

/// Metadata of a checkpoint; `None` when its membership can't be read.
pub(crate) fn snapshot_meta(checkpoint: &Checkpoint) -> Option<SnapshotMeta> {
    let last_membership = decode_stored_members(&checkpoint.membership)?;
    Some(SnapshotMeta { last_log_id: Some(raft_log_id(checkpoint.at.id)), last_membership })
}

fn snapshot_of(checkpoint: Checkpoint) -> io::Result<SnapshotOf> {
    let meta = snapshot_meta(&checkpoint).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "a checkpoint's membership can't be read")
    })?;
    Ok(Snapshot { meta, snapshot: checkpoint })
}

/// Implements the library's state machine.
pub(crate) struct Adapter<M: Machine> {
    /// Never contended: only makes the adapter `Sync`, which the library asks for.
    pub(crate) state: Mutex<State<M>>,
    pub(crate) shared: Arc<SharedLog>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) pending: Arc<Pending<M::Answer>>,
    pub(crate) counters: Arc<Counters>,
}

impl<M: Machine> RaftStateMachine<Types> for Adapter<M> {
    type SnapshotData = Checkpoint;
    type SnapshotBuilder = BoundaryBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembers)> {
        let state = self.state.get_mut();
        Ok((state.applied(), state.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + openraft::OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let Entry { body: Body::Stored(record), .. } = entry else {
                unreachable!("entries to apply are read back from the log");
            };
            let state = self.state.get_mut();
            if let Some(cut) = state.cut_before(&record) {
                save(&self.checkpoints, cut, &self.counters);
            }
            let answer = state.apply(&record, responder.is_some());
            if let Some(responder) = responder {
                self.pending.lay_answer(record.position(), answer);
                responder.send(());
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<BoundaryBuilder> {
        // Without a boundary there is nothing to give, and the library asks by force only when entries were purged.
        self.checkpoints.snapshot()?;
        Some(BoundaryBuilder(self.checkpoints.clone(), self.shared.blocking))
    }

    async fn get_snapshot_builder(&mut self) -> BoundaryBuilder {
        BoundaryBuilder(self.checkpoints.clone(), self.shared.blocking)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, checkpoint: Checkpoint) -> io::Result<()> {
        let id = meta.last_log_id.as_ref().map(RaftLogId::index);
        // The log first: when this returns the checkpoint must be durable, and a crash in between finds the new
        // boundary with the state that belongs to it.
        let (done, durable) = reporting();
        let kept = self.shared.log.lock().install(checkpoint.clone(), done)?;
        reported(durable).await?;
        self.state.get_mut().install(&checkpoint).map_err(io::Error::other)?;
        self.shared.installed.notify_waiters();
        self.counters.installs.fetch_add(1, Ordering::Relaxed);
        info!(index = id, ?kept, bytes = checkpoint.state.len(), "checkpoint of the leader installed");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        load_boundary(&self.checkpoints, self.shared.blocking).await
    }
}

// LIMIT: a boundary's checkpoint that has rotted on disk together with its copy stops the node at its start and whenever a
// follower needs it. A newer one must not take its place: whoever installed that would lack the messages between the two.
async fn load_boundary(checkpoints: &Checkpoints, blocking: Blocking) -> io::Result<Option<SnapshotOf>> {
    let checkpoints = checkpoints.clone();
    let load = move || newest_boundary(|| checkpoints.snapshot(), |at| checkpoints.load(at));
    blocking.run(load).await??.map(snapshot_of).transpose()
}

/// Reads the checkpoint at the boundary. When the boundary moves meanwhile its old checkpoint goes; then the new one is
/// read.
fn newest_boundary<T>(
    boundary: impl Fn() -> Option<ChainPoint>,
    mut load: impl FnMut(ChainPoint) -> io::Result<T>,
) -> io::Result<Option<T>> {
    let mut wanted = boundary();
    loop {
        let Some(at) = wanted else { return Ok(None) };
        match load(at) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                wanted = boundary();
                if wanted == Some(at) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// "Builds" the snapshot by reading the checkpoint at the boundary.
pub(crate) struct BoundaryBuilder(Checkpoints, Blocking);

impl RaftSnapshotBuilder<Types> for BoundaryBuilder {
    type SnapshotData = Checkpoint;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let boundary = load_boundary(&self.0, self.1).await?;
        boundary.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "nothing was purged yet"))
    }
}

/// Node ids of a membership.
pub(crate) fn nodes_of(members: &StoredMembers) -> BTreeSet<u64> {
    members.nodes().map(|(node, ())| *node).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_checkpoint_that_goes_while_the_boundary_moves_is_replaced_by_the_next() {
        let at = |index| ChainPoint { id: LogId::new(1, index), end: 100 * index, crc: 7 };
        let boundary = Cell::new(Some(at(1)));
        let load = |wanted| match boundary.replace(Some(at(2))) {
            Some(before) if before == wanted && wanted == at(2) => Ok(wanted),
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        };
        assert!(matches!(newest_boundary(|| boundary.get(), load), Ok(Some(found)) if found == at(2)));
        let gone = newest_boundary(|| Some(at(3)), |_| io::Result::<()>::Err(io::ErrorKind::NotFound.into()));
        assert!(gone.is_err_and(|error| error.kind() == io::ErrorKind::NotFound), "not for ever");
        assert!(matches!(newest_boundary(|| None, |_| Ok(())), Ok(None)));
    }
}
