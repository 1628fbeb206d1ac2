//! What runs on a replica's thread: opening the store, the consensus library, the network, the watchers, and the end.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use openraft::Raft;
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::answers::Pending;
use super::api::{Machine, PeerService};
use super::forming::{Desk, Former, Token};
use super::gate::Gate;
use super::machine::{Adapter, State, save};
use super::network::client::{Clients, Links};
use super::network::entries::{NOTICE, Pace};
use super::network::server::Server;
use super::network::{Caller, Revert};
use super::options::{Hands, ReplicaOptions};
use super::permits::Permits;
use super::quorum::{Quorum, Silence};
use super::recovery::Replay;
use super::replica::StartError;
use super::runtime::{Blocking, Timed, count_slow_polls, spawn};
use super::startup::{check, config, identity, listen};
use super::status::Counters;
use super::storage::{SharedLog, Storage, unwatched};
use super::tail::Tail;
use super::types::{StoredMembers, Types};
use super::watcher::{Boards, Watcher, tell_waiting};
use crate::identity::NodeId;
use crate::log::{Checkpoints, Log, LogOptions, LogReader, RecoveredVote, SystemClock, WriterMode};
use crate::types::Stamper;
use crate::vfs::Vfs;

/// The library's handle for a machine of type `M`.
pub(crate) type RaftOf<M> = Raft<Types, Adapter<M>>;

/// What a replica is started from.
pub(crate) struct Setup<M: Machine> {
    pub(crate) options: ReplicaOptions,
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) machine: M,
    pub(crate) stamper: Box<dyn Stamper>,
    pub(crate) peer_service: Arc<dyn PeerService>,
    pub(crate) stop: CancellationToken,
}

/// A running replica, as its thread sees it.
pub(crate) struct Group<M: Machine> {
    pub(crate) raft: RaftOf<M>,
    pub(crate) shared: Arc<SharedLog>,
    pub(crate) reader: LogReader,
    pub(crate) pending: Arc<Pending<M::Answer>>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) boards: Arc<Boards>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) holding: Arc<AtomicBool>,
    pub(crate) address: SocketAddr,
    pub(crate) payload_max: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<M: Machine> Group<M> {
    /// Recovers the store and starts everything. Blocks its thread while the log is scanned: nothing else runs yet.
    pub(crate) async fn start(setup: Setup<M>) -> Result<Group<M>, StartError> {
        let Setup { options, vfs, machine, stamper, peer_service, stop } = setup;
        check(&options)?;
        let config = Arc::new(config(&options)?);
        // The port first: a second process on the same folder fails before it touches anything.
        let listener = listen(&options)?;
        let address =
            listener.local_addr().map_err(|source| StartError::Bind { address: "?".into(), source })?;

        let mut log_options = LogOptions::new(&options.cluster, &options.group);
        log_options.segment_size = options.segment_size;
        log_options.flush = options.flush;
        log_options.direct = options.direct;
        log_options.ring_bytes_max = options.ring_bytes_max;
        log_options.reserve_bytes = log_options.reserve_bytes.min(options.segment_size / 4);
        let blocking = match &options.hands {
            Hands::Threads => Blocking::Pool,
            Hands::Driven(driver) => {
                log_options.writer = WriterMode::Manual;
                log_options.driver = Some(Arc::clone(driver));
                Blocking::Here
            }
        };
        let state = State { machine, at: None, members: StoredMembers::default() };
        let mut replay = Replay::new(state);
        let clock = Arc::new(SystemClock::new());
        let (log, recovered) =
            Log::open(Arc::clone(&vfs), &options.dir, log_options, clock, stamper, &mut replay)?;
        replay.start_blank().map_err(StartError::Machine)?;
        let Replay { state, cuts, .. } = replay;
        let identity = identity(&*vfs, &options, &recovered)?;
        let own = identity.node;
        info!(
            group = %options.group,
            node = %own,
            last = ?recovered.last,
            committed = ?recovered.committed,
            purged = ?recovered.purged,
            checkpoint = ?recovered.checkpoint.map(|at| at.id),
            torn_tail = ?recovered.torn_tail,
            "log recovered"
        );

        let counters = Arc::new(Counters::default());
        count_slow_polls(Arc::clone(&counters));
        let permits = Arc::new(Permits::new(options.in_flight_bytes_max, Arc::clone(&counters)));
        let pending = Arc::new(Pending::new(Arc::clone(&permits)));
        let (reader, checkpoints) = (log.reader(), log.checkpoints());
        cuts.into_iter().for_each(|cut| save(&checkpoints, cut, &counters));

        let members = super::machine::nodes_of(&state.members);
        let peers = options.peers.iter().map(|peer| peer.index).collect();
        let gate = Arc::new(Gate::new(options.cluster.clone(), options.group.clone(), own, peers));
        let promise = identity.promise.as_deref().and_then(Token::decode);
        let (own_gate, own_reader) = (Arc::clone(&gate), reader.clone());
        let desk = Arc::new(Desk::new(
            Arc::clone(&vfs),
            options.dir.clone(),
            identity,
            own_gate,
            own_reader,
            blocking,
        ));
        desk.set_members(members);
        let saved_vote = match recovered.vote {
            RecoveredVote::Saved(vote) => Some(vote),
            RecoveredVote::Never | RecoveredVote::Lost => None,
        };
        // Before the restart it may have granted a lease; alone it has nobody to grant one to.
        let leased = saved_vote.is_some() && options.peers.len() > 1;
        let lease_end = Instant::now() + Duration::from_millis(options.election_ms.1);
        if leased {
            gate.vote_not_before(lease_end);
        }
        if recovered.last.is_some() || saved_vote.is_some_and(|vote| vote.term > 0) {
            gate.become_member();
        } else if let Some(token) = promise.filter(|token| token.nodes.contains(&own.0)) {
            gate.set_promise(token);
        }

        let (reverts, asked) = mpsc::channel(16);
        let caller = Arc::new(Caller {
            cluster: options.cluster.clone(),
            group: options.group.clone(),
            own,
            connect_timeout: options.connect_timeout,
            network: options.network.clone(),
            reverts,
        });
        let addresses: HashMap<u16, String> =
            options.peers.iter().map(|peer| (peer.index, peer.address())).collect();
        let links = Arc::new(Links::new(Arc::clone(&caller), addresses, Arc::clone(&counters)));
        let silence = Silence::new();
        let tail = Tail::new(recovered.last.map_or(0, |last| last.index + 1));
        let pace = Pace {
            window: options.window,
            notice: NOTICE,
            tail: tail.clone(),
            idle: options.append_idle,
            counters: Arc::clone(&counters),
            silence: silence.clone(),
        };
        let shared = Arc::new(SharedLog {
            log: Mutex::new(log),
            installed: Notify::new(),
            first_index_free: false,
            blocking,
            installing: AtomicUsize::new(0),
        });
        let storage = Storage {
            shared: Arc::clone(&shared),
            own: own.0,
            permits: Arc::clone(&permits),
            counters: Arc::clone(&counters),
            append_bytes_max: options.append_bytes_max,
            tail,
        };
        let adapter = Adapter {
            state: Mutex::new(state),
            shared: Arc::clone(&shared),
            checkpoints,
            pending: Arc::clone(&pending),
            counters: Arc::clone(&counters),
        };
        let clients = Clients::new(Arc::clone(&links), pace);
        let raft = Raft::new(own.0, config, clients, storage, adapter)
            .await
            .map_err(|error| StartError::Core(error.to_string()))?;

        let boards = Arc::new(Boards::new());
        let tasks = TaskTracker::new();
        let group = Group {
            raft,
            shared,
            reader,
            pending,
            permits,
            counters,
            boards,
            desk,
            caller,
            holding: Arc::new(AtomicBool::new(false)),
            address,
            payload_max: payload_max(options.segment_size),
            tasks,
            stop,
        };
        let server = Arc::new(Server {
            raft: group.raft.clone(),
            gate: Arc::clone(&gate),
            forming: Arc::clone(&group.desk),
            shared: Arc::clone(&group.shared),
            peer_service,
            append_idle: options.append_idle,
            stop: group.stop.clone(),
            tasks: group.tasks.clone(),
        });
        group.tasks.spawn(Timed::new(server.run(listener)));
        let (desk, stop) = (Arc::clone(&group.desk), group.stop.clone());
        group.tasks.spawn(Timed::new(async move { desk.keep_mark(stop).await }));
        spawn(allow_reverts(group.raft.clone(), asked));
        group.spawn_quorum(&options, links, silence);
        if leased {
            group.spawn_patience(lease_end, options.election_ms.0, &gate);
        }
        if recovered.quarantined && gate.is_member() {
            group.spawn_quarantine(options.peers.clone(), &gate);
        }
        let forming_waits = Arc::new(Mutex::new(None));
        let election_term = saved_vote.map_or(0, |vote| vote.term);
        group.spawn_watcher(own, &options, &gate, &forming_waits, election_term, recovered.quarantined);
        if !gate.is_member() {
            group.spawn_forming(options.peers.clone(), gate, forming_waits);
        }
        Ok(group)
    }

    pub(crate) fn checkpoints(&self) -> Checkpoints {
        self.shared.log.lock().checkpoints()
    }

    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    fn spawn_watcher(
        &self,
        own: NodeId,
        options: &ReplicaOptions,
        gate: &Arc<Gate>,
        forming_waits: &Arc<Mutex<Option<String>>>,
        election_term: u64,
        quarantined: bool,
    ) {
        let watcher = Watcher {
            own,
            group: options.group.clone(),
            lease: Duration::from_millis(options.election_ms.1),
            boards: Arc::clone(&self.boards),
            counters: Arc::clone(&self.counters),
            gate: Arc::clone(gate),
            desk: Arc::clone(&self.desk),
            forming_waits: Arc::clone(forming_waits),
            election_term,
            enable_elections: {
                let raft = self.raft.clone();
                Box::new(move || raft.runtime_config().elect(true))
            },
            release_quarantine: quarantined.then(|| {
                let shared = Arc::downgrade(&self.shared);
                let release = move || {
                    if let Some(shared) = shared.upgrade() {
                        shared.log.lock().release_quarantine(unwatched());
                    }
                };
                Box::new(release) as Box<dyn FnOnce() + Send>
            }),
        };
        let (metrics, boards, stop) = (self.raft.metrics(), Arc::clone(&self.boards), self.stop.clone());
        self.tasks.spawn(Timed::new(async move {
            if let Some(failure) = watcher.run(metrics).await {
                boards.stopped(failure);
                // A replica whose core has failed answers nobody any more, so that its peers notice at once.
                stop.cancel();
            }
        }));
    }

    /// Silences this node while it leads and hears no majority, and has another one lead.
    fn spawn_quorum(&self, options: &ReplicaOptions, links: Arc<Links>, silence: Silence) {
        let quorum = Quorum {
            own: self.caller.own.0,
            group: options.group.clone(),
            heartbeat: Duration::from_millis(options.heartbeat_ms),
            lease: Duration::from_millis(options.election_ms.1),
            links,
            silence,
            counters: Arc::clone(&self.counters),
            boards: Arc::clone(&self.boards),
            raft: self.raft.clone(),
        };
        self.tasks.spawn(Timed::new(quorum.run(self.stop.clone())));
    }

    /// Keeps the node's own vote to itself, too, until the leases that it may have granted have ended. The random part
    /// keeps members that start together from asking together.
    fn spawn_patience(&self, lease_end: Instant, spread_ms: u64, gate: &Arc<Gate>) {
        self.raft.runtime_config().elect(false);
        let (gate, raft, stop) = (Arc::clone(gate), self.raft.clone(), self.stop.clone());
        let until = lease_end + Duration::from_millis(rand::rng().random_range(0..=spread_ms));
        self.tasks.spawn(Timed::new(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(until.into()) => if !gate.quarantined() {
                    raft.runtime_config().elect(true);
                },
            }
        }));
    }

    /// Keeps a node whose log may miss acknowledged entries from electing anybody.
    fn spawn_quarantine(&self, peers: Vec<crate::peers::Peer>, gate: &Arc<Gate>) {
        gate.quarantine();
        self.raft.runtime_config().elect(false);
        let (group, own) = (self.caller.group.clone(), self.caller.own);
        warn!(%group, node = %own, "the machine went down uncleanly with unsynced acknowledgements: quarantined");
        let former = Former { caller: Arc::clone(&self.caller), peers, desk: Arc::clone(&self.desk) };
        let (gate, raft, stop) = (Arc::clone(gate), self.raft.clone(), self.stop.clone());
        let (counters, reader) = (Arc::clone(&self.counters), self.reader.clone());
        self.tasks.spawn(Timed::new(async move {
            while gate.quarantined() {
                let longest = tokio::select! {
                    () = stop.cancelled() => return,
                    longest = former.longest_of_unsure() => longest,
                };
                if let Some(longest) = longest
                    && gate.release_by_all(longest)
                {
                    let last = reader.last();
                    counters.possible_losses.fetch_add(1, Ordering::Relaxed);
                    warn!(
                        %group, node = %own, ?last, ?longest,
                        "all members came back with possible losses: the longest log may lead"
                    );
                    // Nobody leads, so the logs stay as they are until the longest one does.
                    if last >= longest {
                        raft.runtime_config().elect(true);
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(200)) => {}
                }
            }
        }));
    }

    fn spawn_forming(
        &self,
        peers: Vec<crate::peers::Peer>,
        gate: Arc<Gate>,
        forming_waits: Arc<Mutex<Option<String>>>,
    ) {
        let former = Former { caller: Arc::clone(&self.caller), peers, desk: Arc::clone(&self.desk) };
        let (raft, boards, stop) = (self.raft.clone(), Arc::clone(&self.boards), self.stop.clone());
        self.tasks.spawn(Timed::new(async move {
            let mut leadership = boards.leadership.subscribe();
            let tell = |reason| tell_waiting(&boards, &forming_waits, reason);
            let nodes = tokio::select! {
                () = stop.cancelled() => return,
                _ = leadership.wait_for(|_| gate.is_member()) => return,
                nodes = former.run(tell) => nodes,
            };
            // Refused when a vote or an entry came in between; then the group exists already.
            if let Err(error) = raft.initialize(nodes).await {
                info!(%error, "the group was not formed here");
            }
        }));
    }

    /// Ends everything and leaves the folder clean.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        if let Err(error) = self.raft.shutdown().await {
            warn!(%error, "the group's core ended badly");
        }
        self.tasks.close();
        self.tasks.wait().await;
        let reason = match self.boards.status.borrow().waiting_for.clone() {
            Some(failure) if self.boards.status.borrow().role == super::status::Role::Stopped => failure,
            Some(_) | None => "the replica was stopped".to_owned(),
        };
        self.boards.stopped(reason);
    }
}

/// Lets a leader's view of a node go back when the node says that it may have lost entries; without this the library
/// takes what was once acknowledged for granted.
async fn allow_reverts<M: Machine>(raft: RaftOf<M>, mut asked: mpsc::Receiver<Revert>) {
    while let Some(Revert { node, taken }) = asked.recv().await {
        // Refused when not leading (a candidate calls as well) or not a member: then there is no progress to protect.
        if let Ok(Ok(())) = raft.trigger().allow_next_revert(&node.0, true).await {
            info!(%node, "a quarantined node's progress may go back");
        }
        taken.send(()).ok();
    }
}

/// Bytes that a payload may have so that its record fits into a segment, which is whole blocks and begins with one of its own.
fn payload_max(segment_size: u64) -> usize {
    const BLOCK: usize = crate::log::SEGMENT_HEADER_SIZE as usize;
    let size = usize::try_from(segment_size).unwrap_or(usize::MAX);
    let room = (size - size % BLOCK).saturating_sub(BLOCK + crate::RECORD_HEADER_SIZE);
    room.min(crate::record::PAYLOAD_SIZE_MAX)
}

/// Closes the log once nothing else holds it.
pub(crate) fn close_log(shared: Arc<SharedLog>) -> io::Result<()> {
    match Arc::try_unwrap(shared) {
        Ok(shared) => shared.log.into_inner().close().map_err(|fault| fault.to_io()),
        Err(_) => Err(io::Error::other("the log is still in use")),
    }
}
