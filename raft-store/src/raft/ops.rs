//! What a handle asks of its group: proposing, confirming reads, handing over, moving the retention boundary.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::LinearizerOption;
use openraft::vote::leader_id_std::CommittedLeaderId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::answers::{Outcomes, Pending, Waiter};
use super::api::{Machine, Proposal, ProposeError, ReadError, TransferError};
use super::forming::Desk;
use super::group::{Group, RaftOf};
use super::permits::{Coming, Permits};
use super::storage::SharedLog;
use super::transfer::Transfer;
use super::types::Draft;
use super::watcher::Boards;
use crate::identity::NodeId;
use crate::log::{Checkpoints, Space};
use crate::record::RECORD_HEADER_SIZE;

/// Reads waiting for one confirmation of leadership.
pub(crate) const READS_MAX: usize = 65_536;

/// A snapshot that does not come is asked for again after this.
const SNAPSHOT_AGAIN: Duration = Duration::from_millis(200);

/// The part of a replica that depends on its machine, behind a face that does not.
pub(crate) trait Ops<A>: Send + Sync {
    fn submit(&self, proposals: Vec<Proposal<A>>, room: Room) -> BoxFuture<'_, ()>;
    fn transfer(&self, to: Option<u64>, within: Duration) -> BoxFuture<'_, Result<u64, TransferError>>;
    fn purge_to(&self, position: u64) -> BoxFuture<'_, io::Result<Option<u64>>>;
    fn has_room(&self) -> bool;
    fn time_ms(&self) -> Option<u64>;
}

/// Which room in the log proposals may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// What is left before the reserve.
    Usual,
    /// The reserve too: for what makes room.
    Reserve,
}

/// Confirms leadership for all reads that wait, one round at a time.
pub(crate) async fn confirm_reads<M: Machine>(
    raft: RaftOf<M>,
    mut asked: mpsc::Receiver<oneshot::Sender<Result<u64, ReadError>>>,
) {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, READS_MAX).await > 0 {
        waiting.retain(|sender| !sender.is_closed());
        if waiting.is_empty() {
            continue;
        }
        let outcome = confirm(&raft).await;
        for sender in waiting.drain(..) {
            sender.send(outcome).ok();
        }
    }
}

async fn confirm<M: Machine>(raft: &RaftOf<M>) -> Result<u64, ReadError> {
    let option = LinearizerOption::from(ReadPolicy::ReadIndex);
    let linearizer = raft.get_read_linearizer(option).await.map_err(|error| match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => ReadError::NotLeader {
            leader: forward.leader_id.map(|node| u64::from(NodeId(node).peer_index())),
        },
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::Timeout,
        RaftError::Fatal(_) => ReadError::Stopped,
    })?;
    let wait = Some(Duration::from_secs(5));
    match linearizer.try_await_ready(raft, wait).await {
        Ok(Ok(state)) => Ok(state.applied().map_or(0, |id| id.index())),
        Ok(Err(_)) => Err(ReadError::Timeout),
        Err(_) => Err(ReadError::Stopped),
    }
}

/// [`Ops`] of a running group.
pub(crate) struct GroupOps<M: Machine> {
    raft: RaftOf<M>,
    /// Weak: the log is closed when the thread ends, whoever still has a handle.
    shared: Weak<SharedLog>,
    checkpoints: Checkpoints,
    pending: Arc<Pending<M::Answer>>,
    permits: Arc<Permits>,
    boards: Arc<Boards>,
    desk: Arc<Desk>,
    holding: Arc<AtomicBool>,
    own: u64,
    payload_max: usize,
    /// Size of a proposal that found no room although nothing else was under way; 0 when there is none. As long as it finds none
    /// the log counts as full: else the group would refuse work for ever and nobody would hand over.
    wanted: AtomicU64,
    stop: CancellationToken,
}

impl<M: Machine> GroupOps<M> {
    pub(crate) fn of(group: &Group<M>) -> GroupOps<M> {
        GroupOps {
            raft: group.raft.clone(),
            shared: Arc::downgrade(&group.shared),
            checkpoints: group.shared.log.lock().checkpoints(),
            pending: Arc::clone(&group.pending),
            permits: Arc::clone(&group.permits),
            boards: Arc::clone(&group.boards),
            desk: Arc::clone(&group.desk),
            holding: Arc::clone(&group.holding),
            own: u64::from(group.caller.own.peer_index()),
            payload_max: group.payload_max,
            wanted: AtomicU64::new(0),
            stop: group.stop_token(),
        }
    }

    /// Why nothing can be proposed now, for all proposals alike.
    fn closed(&self, room: Room) -> Option<ProposeError> {
        if self.stop.is_cancelled() {
            return Some(ProposeError::Stopped);
        }
        if self.holding.load(Ordering::Acquire) {
            return Some(ProposeError::NotLeader { leader: None });
        }
        let Some(shared) = self.shared.upgrade() else { return Some(ProposeError::Stopped) };
        match (shared.log.lock().space(), room) {
            (Space::Ready, _) | (Space::NoSpare, Room::Reserve) => None,
            (Space::NoSpare, Room::Usual) => Some(ProposeError::Busy),
        }
    }

    /// True when the log has room for a proposal that is on its way, beside all others that are.
    fn fits(&self, bytes: u64, room: Room) -> bool {
        let Some(shared) = self.shared.upgrade() else { return true };
        // Asked before the log is: what it takes in between counts twice then, and never not at all.
        let under_way = self.permits.coming();
        let there = shared.log.lock().room();
        match room {
            Room::Usual if there.takes(bytes, under_way) => true,
            Room::Usual => {
                if bytes == under_way {
                    self.wanted.fetch_max(bytes, Ordering::AcqRel);
                }
                false
            }
            Room::Reserve => there.takes_into_reserve(under_way),
        }
    }

    async fn propose(&self, mut proposal: Proposal<M::Answer>, room: Room) {
        let (payload, expected_term) = (std::mem::take(&mut proposal.payload), proposal.expected_term);
        let done = proposal.take_done();
        let size = payload.len();
        if size < RECORD_HEADER_SIZE || size - RECORD_HEADER_SIZE > self.payload_max {
            return done(Err(ProposeError::TooLarge));
        }
        let bytes = size as u64;
        if !self.permits.take(bytes) {
            return done(Err(ProposeError::Busy));
        }
        let coming = Coming::new(&self.permits, bytes);
        if !self.fits(bytes, room) {
            self.permits.settled(bytes, None);
            return done(Err(ProposeError::Busy));
        }
        let key = self.pending.register(bytes, done);
        let outcomes: Arc<dyn Outcomes> = self.pending.clone();
        let mut request = self
            .raft
            .write(Draft { bytes: payload, coming: Some(coming) })
            .responder(Waiter::new(key, outcomes));
        if let Some(term) = expected_term {
            request = request.with_leader(CommittedLeaderId::new(term));
        }
        // An error means that the core is gone; the waiter, dropped with the request, has told the proposer.
        request.await.ok();
    }
}

impl<M: Machine> Ops<M::Answer> for GroupOps<M> {
    fn submit(&self, proposals: Vec<Proposal<M::Answer>>, room: Room) -> BoxFuture<'_, ()> {
        // Unconstrained: the runtime's budget would hand over after each 128 proposals and split the batch.
        Box::pin(tokio::task::unconstrained(async move {
            if let Some(refusal) = self.closed(room) {
                proposals.into_iter().for_each(|mut proposal| proposal.take_done()(Err(refusal)));
                return;
            }
            for proposal in proposals {
                self.propose(proposal, room).await;
            }
        }))
    }

    fn has_room(&self) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let there = shared.log.lock().room();
        let wanted = self.wanted.load(Ordering::Acquire);
        let fits = wanted == 0 || there.takes(wanted, wanted);
        if fits && wanted > 0 {
            self.wanted.compare_exchange(wanted, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
        }
        fits && there.space() == Space::Ready
    }

    fn time_ms(&self) -> Option<u64> {
        self.shared.upgrade().map(|shared| shared.log.lock().time_ms())
    }

    fn transfer(&self, to: Option<u64>, within: Duration) -> BoxFuture<'_, Result<u64, TransferError>> {
        Box::pin(async move {
            let node_of = |peer| self.desk.node_of(peer);
            let transfer = Transfer {
                raft: &self.raft,
                own: self.own,
                status: self.boards.status.subscribe(),
                boards: &self.boards,
                holding: &self.holding,
                node_of: &node_of,
            };
            transfer.run(to, within).await
        })
    }

    fn purge_to(&self, position: u64) -> BoxFuture<'_, io::Result<Option<u64>>> {
        Box::pin(async move {
            let below = self.checkpoints.list().into_iter().rev().find(|info| info.at.end <= position);
            let Some(boundary) = below else { return Ok(None) };
            let index = boundary.at.id.index;
            if self.checkpoints.snapshot().is_none_or(|at| at.id.index < index) {
                let (done, durable) = super::storage::reporting();
                self.checkpoints.set_snapshot(boundary.at, done);
                tokio::select! {
                    () = self.stop.cancelled() => return Err(io::Error::other("the replica has stopped")),
                    moved = super::storage::reported(durable) => moved?,
                }
            }
            // The library purges what its snapshot covers, and cuts a purge that comes before it silently. It also
            // ignores a request for a snapshot while it makes one, of an earlier boundary perhaps.
            let mut status = self.boards.status.subscribe();
            loop {
                self.raft.trigger().snapshot().await.map_err(io::Error::other)?;
                let covered = status.wait_for(|status| status.snapshot >= Some(index));
                tokio::select! {
                    () = self.stop.cancelled() => return Err(io::Error::other("the replica has stopped")),
                    covered = tokio::time::timeout(SNAPSHOT_AGAIN, covered) => if covered.is_ok() { break },
                }
            }
            self.raft.trigger().purge_log(index).await.map_err(io::Error::other)?;
            Ok(Some(index))
        })
    }
}
