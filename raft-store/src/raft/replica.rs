//! The public handle of a replica.
//!
//! Starting one spawns its thread; the handle can be cloned and used from anywhere. Calls that belong on the group's
//! thread are carried there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::api::{Machine, PeerService, Proposal, ReadError, TransferError};
use super::forming::Desk;
use super::group::{Group, Setup, close_log};
use super::network::handshake::Purpose;
use super::network::{Caller, Route};
use super::ops::{GroupOps, Ops, READS_MAX, Room, confirm_reads};
use super::options::ReplicaOptions;
use super::runtime::{Timed, spawn};
use super::status::{Counters, Leadership, Status};
use super::storage::SharedLog;
use super::watcher::Boards;
use crate::identity::{IdentityError, NodeId};
use crate::log::{Checkpoint, CheckpointInfo, Checkpoints, LogReader, OpenError};
use crate::peers::Peer;
use crate::types::{ChainPoint, Stamper};
use crate::vfs::Vfs;

/// Why a replica could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The settings contradict each other or the folder.
    #[error("settings: {0}")]
    Options(String),
    /// The port can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The log is damaged, belongs to another group, or can't be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The node's identity can't be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The machine did not take its state.
    #[error("the machine's state: {0}")]
    Machine(String),
    /// The consensus core did not start.
    #[error("the group's core: {0}")]
    Core(String),
    /// No thread.
    #[error("the replica's thread: {0}")]
    Thread(String),
}

/// One replica of a group. Clones are handles to the same one; when the last is dropped it stops.
pub struct Replica<A> {
    inner: Arc<Inner<A>>,
}

impl<A> Clone for Replica<A> {
    fn clone(&self) -> Self {
        Replica { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<A> {
    parts: Parts<A>,
    peers: Vec<Peer>,
    stop: CancellationToken,
    /// Leave the log as a kill of the process would.
    abandon: Arc<AtomicBool>,
    finished: watch::Receiver<bool>,
}

impl<A> Drop for Inner<A> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<A: Send + 'static> Replica<A> {
    /// Recovers the store and starts the replica. Blocks while the log is verified and applied, so call it where
    /// blocking is allowed. On return the port is open; whether the group has a leader is another matter.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start<M: Machine<Answer = A>>(
        options: ReplicaOptions,
        vfs: Arc<dyn Vfs>,
        machine: M,
        stamper: Box<dyn Stamper>,
        peer_service: Arc<dyn PeerService>,
    ) -> Result<Replica<A>, StartError> {
        let stop = CancellationToken::new();
        let abandon = Arc::new(AtomicBool::new(false));
        let abandoned = Arc::clone(&abandon);
        let peers = options.peers.clone();
        let name = format!("raft-{}", options.group);
        let setup = Setup { options, vfs, machine, stamper, peer_service, stop: stop.clone() };
        let (started, outcome) = std::sync::mpsc::channel();
        let (finish, finished) = watch::channel(false);
        thread::Builder::new()
            .name(name)
            .spawn(move || live(setup, &started, &finish, &abandoned))
            .map_err(|error| StartError::Thread(error.to_string()))?;
        let parts = outcome.recv().map_err(|_| StartError::Thread("it ended at its start".into()))??;
        Ok(Replica { inner: Arc::new(Inner { parts, peers, stop, abandon, finished }) })
    }

    /// As [`Replica::start`], in the runtime that the caller is in. The group lives as long as that: dropping the runtime is
    /// the kill of a process. The end of a [`Replica::stop`] leaves the log to the [`Remains`]. For simulation, where many
    /// groups share a thread.
    ///
    /// # Errors
    /// See [`StartError`]; what was started goes on until the runtime is dropped.
    pub async fn start_here<M: Machine<Answer = A>>(
        options: ReplicaOptions,
        vfs: Arc<dyn Vfs>,
        machine: M,
        stamper: Box<dyn Stamper>,
        peer_service: Arc<dyn PeerService>,
    ) -> Result<(Replica<A>, Remains), StartError> {
        let stop = CancellationToken::new();
        let peers = options.peers.clone();
        let setup = Setup { options, vfs, machine, stamper, peer_service, stop: stop.clone() };
        let group = Group::start(setup).await?;
        let remains = Remains(Arc::clone(&group.shared));
        let parts = Parts::of(&group, tokio::runtime::Handle::current());
        let (finish, finished) = watch::channel(false);
        let stopped = stop.clone();
        spawn(async move {
            stopped.cancelled().await;
            group.finish().await;
            finish.send(true).ok();
        });
        let abandon = Arc::new(AtomicBool::new(false));
        Ok((Replica { inner: Arc::new(Inner { parts, peers, stop, abandon, finished }) }, remains))
    }

    /// The runtime of the group's thread, for tasks that belong there, such as the proposer. What blocks it delays
    /// heartbeats.
    #[must_use]
    pub fn raft_runtime(&self) -> tokio::runtime::Handle {
        self.inner.parts.runtime.clone()
    }

    /// Proposes payloads; everything handed over in one call reaches the core in one batch and keeps its order. Each
    /// `done` is called exactly once, also on refusal. Best called on [`Replica::raft_runtime`].
    ///
    /// Dropping the future in between leaves a part proposed; the rest is answered [`super::ProposeError::Stopped`].
    pub async fn submit(&self, proposals: Vec<Proposal<A>>) {
        self.inner.parts.ops.submit(proposals, Room::Usual).await;
    }

    /// As [`Replica::submit`], for what makes room: while [`Replica::has_room`] says no, these may take the rest of the
    /// last segment as far as they fit.
    pub async fn submit_into_reserve(&self, proposals: Vec<Proposal<A>>) {
        self.inner.parts.ops.submit(proposals, Room::Reserve).await;
    }

    /// The replica's state; moves with every commit.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.parts.boards.status.subscribe()
    }

    /// Who leads; moves only when that changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.parts.boards.leadership.subscribe()
    }

    /// Counters for metrics.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.inner.parts.counters)
    }

    /// The log, for reading.
    #[must_use]
    pub fn log(&self) -> LogReader {
        self.inner.parts.reader.clone()
    }

    /// The address that the replica listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.parts.address
    }

    /// Full id of this node.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.inner.parts.caller.own.0
    }

    /// Confirms with a majority that this replica leads, and waits until the machine has applied everything that was
    /// committed at the time of the call. Calls that come together share one round. Gives an index that is applied.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        let (sender, answered) = oneshot::channel();
        let asked = async {
            self.inner.parts.reads.send(sender).await.map_err(|_| ReadError::Stopped)?;
            answered.await.unwrap_or(Err(ReadError::Stopped))
        };
        tokio::time::timeout_at(deadline.into(), asked).await.unwrap_or(Err(ReadError::Timeout))
    }

    /// Hands leadership to a member (the most advanced one if none is named) and waits for the new leader, whose peer
    /// index it gives. Proposals meanwhile are refused as never appended.
    ///
    /// # Errors
    /// See [`TransferError`]. Dropping the future once the target was told leaves the transfer going.
    pub async fn transfer_leadership(&self, to: Option<u64>, within: Duration) -> Result<u64, TransferError> {
        self.inner.parts.ops.transfer(to, within).await
    }

    /// Moves the retention boundary to the last whole segment below `position` and lets the entries up to it go. Gives
    /// the boundary's index, or `None` when no segment lies below. Entries that a follower is being sent stay until it
    /// has them.
    ///
    /// # Errors
    /// The boundary could not be written.
    pub async fn purge_to(&self, position: u64) -> io::Result<Option<u64>> {
        self.inner.parts.ops.purge_to(position).await
    }

    /// The checkpoints that this replica can read, oldest first: the boundaries that [`Replica::purge_to`] can move to,
    /// and the one where it stands.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<CheckpointInfo> {
        self.inner.parts.checkpoints.list()
    }

    /// Reads a checkpoint. Blocks.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` when damaged, or as the operating system reports.
    pub fn load_checkpoint(&self, at: ChainPoint) -> io::Result<Checkpoint> {
        self.inner.parts.checkpoints.load(at)
    }

    /// False when the log has no spare segment and its last one is nearly full, or a proposal found no room although nothing else
    /// was under way: proposals are refused as busy. A leader that stays so while its peers have room should hand over.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.inner.parts.ops.has_room()
    }

    /// Leader time as it stands here, milliseconds since the Unix epoch: an entry that this replica appends later in the term
    /// that it leads now carries this time or a later one (LOG-RULES.md 16). Means little on a replica that does not lead.
    /// `None` when the replica has stopped.
    #[must_use]
    pub fn time_ms(&self) -> Option<u64> {
        self.inner.parts.ops.time_ms()
    }

    /// Opens an application stream to a peer, verified like any connection of the group.
    ///
    /// # Errors
    /// The peer is not configured, can't be reached, or refuses.
    pub async fn connect_peer(&self, peer: u64) -> io::Result<TcpStream> {
        let Some(configured) = self.inner.peers.iter().find(|configured| u64::from(configured.index) == peer)
        else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("peer {peer} is not configured")));
        };
        let target = self.inner.parts.desk.node_of(peer).map(NodeId);
        let route =
            Route { caller: Arc::clone(&self.inner.parts.caller), address: configured.address(), target };
        route.connect(Purpose::Application).await?.into_tcp()
    }

    /// Ends the replica as a kill of its process would: nothing is finished, the log is not marked as cleanly left.
    /// For tests of what a start makes of that.
    #[doc(hidden)]
    pub async fn abandon(&self) {
        self.inner.abandon.store(true, Ordering::Release);
        self.stop().await;
    }

    /// Begins what [`Replica::stop`] waits for.
    pub fn begin_stop(&self) {
        self.inner.stop.cancel();
    }

    /// Stops the replica and waits until its files are closed. Proposals on their way are answered as unknown.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        let mut finished = self.inner.finished.clone();
        finished.wait_for(|finished| *finished).await.ok();
    }
}

/// What the thread hands to its creator.
struct Parts<A> {
    ops: Arc<dyn Ops<A>>,
    runtime: tokio::runtime::Handle,
    boards: Arc<Boards>,
    counters: Arc<Counters>,
    reader: LogReader,
    checkpoints: Checkpoints,
    desk: Arc<Desk>,
    caller: Arc<Caller>,
    address: SocketAddr,
    reads: mpsc::Sender<oneshot::Sender<Result<u64, ReadError>>>,
}

impl<A: Send + 'static> Parts<A> {
    /// Called in the group's runtime.
    fn of<M: Machine<Answer = A>>(group: &Group<M>, runtime: tokio::runtime::Handle) -> Parts<A> {
        let (reads, asked) = mpsc::channel(READS_MAX);
        spawn(confirm_reads(group.raft.clone(), asked));
        Parts {
            ops: Arc::new(GroupOps::of(group)),
            runtime,
            boards: Arc::clone(&group.boards),
            counters: Arc::clone(&group.counters),
            reader: group.reader.clone(),
            checkpoints: group.checkpoints(),
            desk: Arc::clone(&group.desk),
            caller: Arc::clone(&group.caller),
            address: group.address,
            reads,
        }
    }
}

/// The log of a replica that was started in a runtime of others. Dropped, it is left as a kill of the process leaves it.
pub struct Remains(Arc<SharedLog>);

impl Remains {
    /// Leaves the folder clean. The replica must have stopped and its runtime be gone.
    ///
    /// # Errors
    /// Something still holds the log, or its writer has failed.
    pub fn close(self) -> io::Result<()> {
        close_log(self.0)
    }
}

type Started<A> = std::sync::mpsc::Sender<Result<Parts<A>, StartError>>;

/// The life of a replica's thread.
fn live<M: Machine>(
    setup: Setup<M>,
    started: &Started<M::Answer>,
    finish: &watch::Sender<bool>,
    abandoned: &AtomicBool,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            started.send(Err(StartError::Thread(error.to_string()))).ok();
            return;
        }
    };
    let stop = setup.stop.clone();
    let group = match runtime.block_on(Group::start(setup)) {
        Ok(group) => group,
        Err(error) => {
            started.send(Err(error)).ok();
            return;
        }
    };
    let shared = Arc::clone(&group.shared);
    let parts = {
        let _context = runtime.enter();
        Parts::of(&group, runtime.handle().clone())
    };
    let delivered = started.send(Ok(parts)).is_ok();
    runtime.block_on(Timed::new(async move {
        if delivered {
            stop.cancelled().await;
        }
        group.finish().await;
    }));
    // Ends every task, the library's too; what they hold of the log goes with them.
    runtime.shutdown_timeout(Duration::from_secs(10));
    if abandoned.load(Ordering::Acquire) {
        drop(shared);
    } else if let Err(error) = close_log(shared) {
        error!(%error, "the log was not closed cleanly");
    }
    finish.send(true).ok();
}
