//! The composition root: puts a broker node together and forgets about it.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use flotilla_core::Tables;
use flotilla_net::{
    ByteBudget, ClientPool, ConnectionOptions, ListenOptions, Listener, Overflow, PoolOptions,
};
use flotilla_raft_store::log::{Clock, SystemClock};
use flotilla_raft_store::raft::{Replica, ReplicaOptions, Status};
use flotilla_raft_store::vfs;
use flotilla_raft_store::wall_clock;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::admin;
use crate::admin_source::NodeSource;
use crate::changes::Changes;
use crate::config::BrokerConfig;
use crate::dispatch::Dispatcher;
use crate::dispatch::service::{ClientService, Traffic};
use crate::dispatch::table::Facts;
use crate::dispatch::under_way::UnderWay;
use crate::group::Group;
use crate::group::encoder::Encoder;
use crate::group::machine::{BrokerMachine, Change};
use crate::group::proposer::{InFlight, Proposer};
use crate::group::stamper::TailStamper;
use crate::handlers::heartbeat::Joins;
use crate::handlers::offsets::PendingOffsets;
use crate::handlers::send_answer::SendAnswers;
use crate::handlers::{Parts, table};
use crate::leader::delay::{DelayDuty, NodeGround};
use crate::leader::{LeaderCalls, Locks, Relays, Reports, Tell, bootstrap, members, notices, reports};
use crate::limits::{PEER_WRITE_BYTES_MAX, PROPOSER_QUEUE_MAX};
use crate::log_segments::LogSegments;
use crate::long_poll::LongPolls;
use crate::metrics::Metrics;
use crate::news::News;
use crate::peers::links::Links;
use crate::peers::service::{Acceptor, Peers};
use crate::pulled::PulledOffsets;
use crate::registration::{Identity, Registrar, Visibility};
use crate::retention::disk::{DiskProbe, DiskState, DiskWatch, FolderProbe};
use crate::retention::{Asked, Expiring, Needed, Retention};
use crate::series::Series;
use crate::sessions::Sessions;
use crate::settings_watch::SettingsWatch;
use crate::stats::Stats;
use crate::stop::{self, StopParts};
use crate::views::ConsumeQueues;
use crate::views::keys::KeyIndex;

/// What a broker is started with.
pub struct BrokerOptions {
    pub config: BrokerConfig,
    /// A bound socket for clients, instead of binding `config.identity.listen`.
    pub listener: Option<StdListener>,
    /// A bound socket for the peers of the group, instead of binding `config.raft.listen`.
    pub raft_listener: Option<StdListener>,
    /// A bound socket for the admin server, instead of binding `config.admin.listen`.
    pub admin_listener: Option<StdListener>,
    /// Tells how full the disk is, instead of the file system of the data folder.
    pub disk_probe: Option<Arc<dyn DiskProbe>>,
    /// Tells retention the time of day, instead of the operating system.
    pub clock: Option<Arc<dyn Clock>>,
}

impl BrokerOptions {
    pub fn new(config: BrokerConfig) -> Self {
        Self {
            config,
            listener: None,
            raft_listener: None,
            admin_listener: None,
            disk_probe: None,
            clock: None,
        }
    }
}

/// A running broker.
pub struct BrokerHandle {
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    group: Group,
    visibility: Arc<Visibility>,
    dispatcher: Arc<Dispatcher>,
    parts: StopParts,
}

impl BrokerHandle {
    /// Address of the client port.
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Address of the admin server, when there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Waits until the node takes part in its group, a leader is known, and a name server knows this node. Cancel-safe.
    pub async fn ready(&self) {
        let mut status = self.group.leadership();
        // The sender lives as long as the replica does.
        let _ = status.wait_for(|status| status.leader.is_some()).await;
        self.visibility.wait_registered().await;
    }

    /// The request codes that this node answers, by ascending code.
    pub fn codes(&self) -> Vec<Facts> {
        self.dispatcher.facts()
    }

    /// Where the replica stands, as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.group.status()
    }

    /// Stops the node. Graceful: hands leadership over, forwards until clients have gone elsewhere, unregisters. Otherwise
    /// at once; nothing is lost either way.
    pub async fn stop(self, graceful: bool) {
        stop::run(self.parts, graceful).await;
    }
}

/// A broker node.
pub struct Broker;

impl Broker {
    /// Starts a node within the current tokio runtime, which runs its client connections and duties.
    ///
    /// # Errors
    /// A port can't be bound, or the data folder can't be used; the message names which.
    pub async fn start(options: BrokerOptions) -> anyhow::Result<BrokerHandle> {
        build(options).await
    }
}

async fn build(options: BrokerOptions) -> anyhow::Result<BrokerHandle> {
    let config = options.config;
    let runtime = Handle::current();
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();

    // One budget for what clients send here and what peers forward: it is the node's memory either way.
    let budget = ByteBudget::new(config.limits.in_flight_bytes_max);
    let listen_options = listen_options(&config, budget.clone());
    let listener = match options.listener {
        Some(listener) => Listener::from_std(listener, listen_options),
        None => Listener::bind(config.identity.listen, listen_options),
    }
    .with_context(|| format!("can't listen for clients on {}", config.identity.listen))?;
    let listen = listener.local_addr();
    let address = config.identity.advertised(listen.port());
    let store_host = store_host(&address, listen).await;

    let encoder =
        Encoder::new(store_host, &config.identity.region, config.identity.trace_on, &config.identity.cluster);

    let metrics =
        Metrics::new(&config.identity.cluster, &config.identity.broker_name, config.raft.self_index);
    let series = Series::new(metrics.clone());
    let stats = Stats::new(
        metrics.clone(),
        series.clone(),
        listener.stats(),
        &config.identity.cluster,
        wall_clock::now_ms(),
    );
    let tables = Arc::new(RwLock::new(Tables::blank()));
    let (polls, woken) = LongPolls::new();
    let changes: Arc<News<Change>> = Arc::default();
    let segments = Arc::new(LogSegments::default());
    let views = ConsumeQueues::open(&config.disk.root.join("views"), segments.clone())
        .with_context(|| format!("can't use the views in {}", config.disk.root.display()))?;
    let keys = match config.serving.queries.key_index {
        true => Some(KeyIndex::open(&config.disk.root.join("views"), segments.clone())?),
        false => None,
    };
    let delayed = Arc::new(Notify::new());
    let pulled = Arc::new(PulledOffsets::default());
    let asked = Arc::new(Asked::default());
    let machine = BrokerMachine {
        tables: tables.clone(),
        views: views.clone(),
        keys: keys.clone(),
        polls: polls.clone(),
        series: series.clone(),
        changes: changes.clone(),
        delayed: delayed.clone(),
        pulled: pulled.clone(),
    };

    let peers_slot = Arc::new(OnceLock::new());
    let acceptor = Arc::new(Acceptor { runtime: runtime.clone(), peers: peers_slot.clone() });
    let mut replica_options = replica_options(&config);
    replica_options.listener = options.raft_listener.map(Arc::new);
    let files = vfs::of_node().context("the undo journal can't be used")?;
    let replica = tokio::task::spawn_blocking(move || {
        Replica::start(replica_options, files, machine, Box::new(TailStamper::default()), acceptor)
    })
    .await?
    .with_context(|| format!("can't start the replica in {}", config.disk.root.display()))?;
    segments.attach(replica.log());
    views.wake();
    keys.iter().for_each(|keys| keys.wake());

    let (queue, receiver) = mpsc::channel(PROPOSER_QUEUE_MAX);
    let holding = Arc::default();
    let group = Group::new(replica.clone(), tables, queue, Arc::clone(&holding));
    // A stream between replicas carries the calls of many clients: a full one slows them down, it does not end them all.
    let peer_options = ConnectionOptions {
        write_queue_bytes_max: PEER_WRITE_BYTES_MAX,
        overflow: Overflow::Refuse,
        ..ConnectionOptions::default()
    };
    let peer_indexes: Vec<u64> = config.raft.peers.iter().map(|peer| peer.index.into()).collect();
    let others: Vec<u64> =
        peer_indexes.iter().copied().filter(|peer| *peer != config.raft.self_index).collect();
    let links = Links::new(replica.clone(), &peer_indexes, peer_options.clone());
    let dispatcher = Dispatcher::new(group.clone(), links.clone(), runtime.clone(), metrics.clone());
    let leader = LeaderCalls::new(group.clone(), links.clone());
    let sessions = Arc::new(Sessions::default());
    let reports = Arc::new(Reports::default());
    let tell = Arc::new(Tell { sessions: sessions.clone(), reports: reports.clone(), links: links.clone() });
    let relays = Relays::new(group.clone(), sessions.clone(), reports.clone(), links.clone());
    let locks = Locks::new(group.clone(), runtime.clone(), config.serving.lock_lifetime);
    let joins = Joins::new(group.clone(), leader.clone(), runtime.clone());
    let offsets = Arc::new(PendingOffsets::default());
    let traffic = Arc::new(Traffic::default());
    let under_way = Arc::new(UnderWay::default());
    let in_flight = Arc::new(InFlight::default());
    let visibility = Visibility::new(config.registration.name_servers.len());
    let disk = Arc::new(DiskState::default());
    let pool = ClientPool::new(PoolOptions::default(), Arc::new(crate::registration::NoRequests));

    let parts = Parts {
        group: group.clone(),
        dispatcher: dispatcher.clone(),
        leader: leader.clone(),
        sessions: sessions.clone(),
        offsets: offsets.clone(),
        views: views.clone(),
        keys: keys.clone(),
        polls: polls.clone(),
        log: replica.log(),
        visibility: visibility.clone(),
        joins: joins.clone(),
        relays: relays.clone(),
        tell: tell.clone(),
        locks: locks.clone(),
        store_host,
        runtime: runtime.clone(),
        metrics: metrics.clone(),
        series: series.clone(),
        pool: pool.clone(),
        disk: disk.clone(),
        encoder: encoder.clone(),
        config: config.clone(),
        stats: stats.clone(),
        in_flight: in_flight.clone(),
        port: listen.port(),
        reports: reports.clone(),
        pulled,
        asked: asked.clone(),
        address: address.clone(),
    };
    let (rows, pulls) = table(parts);
    dispatcher.set_table(rows);

    let reroute = dispatcher.clone();
    let delay_encoder = encoder.clone();
    let proposer = Proposer {
        replica: replica.clone(),
        receiver,
        encoder,
        answers: Arc::new(SendAnswers {
            store_host,
            region: config.identity.region.clone(),
            trace_on: config.identity.trace_on,
            metrics: metrics.clone(),
        }),
        reroute: Arc::new(move |call| reroute.to_leader(call)),
        holding,
        in_flight: in_flight.clone(),
        awaited: Arc::default(),
    };
    replica.raft_runtime().spawn(proposer.run());

    let peers = Peers {
        group: group.clone(),
        dispatcher: dispatcher.clone(),
        sessions: sessions.clone(),
        reports: reports.clone(),
        relays,
        in_flight: in_flight.clone(),
        offsets: offsets.clone(),
        disk: disk.clone(),
        budget: budget.clone(),
        options: peer_options,
        runtime: runtime.clone(),
    };
    assert!(peers_slot.set(Arc::new(peers)).is_ok(), "the slot is filled once");

    let service = ClientService {
        dispatcher: dispatcher.clone(),
        sessions: sessions.clone(),
        offsets: offsets.clone(),
        traffic: traffic.clone(),
        under_way: under_way.clone(),
    };
    let serving_stop = CancellationToken::new();
    let serving = listener.serve(Arc::new(service), serving_stop.clone());

    let members_changed: Arc<News<Arc<str>>> = Arc::default();
    tasks.spawn(until(stop.clone(), pulls.clone().serve_woken(woken)));
    tasks.spawn(expire_polls(polls.clone(), stop.clone()));
    tasks.spawn(offsets.clone().run(leader.clone(), stop.clone()));
    let settings_changed = Arc::new(Notify::new());
    let watch = SettingsWatch {
        group: group.clone(),
        own: config.settings.clone(),
        changed: settings_changed.clone(),
    };
    tasks.spawn(watch.run(stop.clone()));
    tasks.spawn(crate::stats::run(stats, group.clone(), stop.clone()));
    tasks.spawn(locks.run(stop.clone()));
    let changes = Changes {
        changes,
        members: members_changed.clone(),
        settings: settings_changed,
        visibility: visibility.clone(),
        group: group.clone(),
        sessions: sessions.clone(),
        joins,
    };
    tasks.spawn(until(stop.clone(), changes.pass_on()));
    tasks.spawn(reports::report_to_leader(group.clone(), links.clone(), sessions.clone(), stop.clone()));
    tasks.spawn(bootstrap::run(group.clone(), bootstrap::command(&config), stop.clone()));
    let duty = members::MemberDuty {
        group: group.clone(),
        reports: reports.clone(),
        sessions: sessions.clone(),
        self_index: config.raft.self_index,
        peers: peer_indexes,
    };
    tasks.spawn(duty.run(stop.clone()));
    let probe = options.disk_probe.unwrap_or_else(|| Arc::new(FolderProbe(config.disk.root.clone())));
    let watch = DiskWatch {
        group: group.clone(),
        links: links.clone(),
        in_flight: in_flight.clone(),
        probe: probe.clone(),
        watermarks: config.disk.watermarks,
        others: others.clone(),
        state: disk.clone(),
    };
    tasks.spawn(watch.run(stop.clone()));
    let expiring = Arc::new(Expiring::default());
    let retention = Retention {
        group: group.clone(),
        views: views.clone(),
        keys: keys.clone(),
        probe,
        watermarks: config.disk.watermarks,
        metrics: metrics.clone(),
        needed: needed_by_delays(group.clone()),
        expiring: expiring.clone(),
        asked,
        interval: config.disk.clean_interval,
        clock: options.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
    };
    tasks.spawn(retention.run(stop.clone()));
    let ground =
        NodeGround { group: group.clone(), views: views.clone(), log: replica.log(), encoder: delay_encoder };
    let duty = DelayDuty::new(Arc::new(ground), group.leadership(), delayed, metrics.clone());
    tasks.spawn(duty.run(stop.clone()));
    let notices = notices::Notices { group: group.clone(), tell };
    tasks.spawn(until(stop.clone(), notices.run(members_changed)));

    let identity = Identity {
        cluster: config.identity.cluster.clone(),
        broker_name: config.identity.broker_name.clone(),
        address,
        peer_index: config.raft.self_index,
    };
    let registrars = registrars(&config, identity, &group, &pool, &visibility);
    let (registering, registering_stop) = (TaskTracker::new(), stop.child_token());
    for registrar in &registrars {
        registering.spawn(registrar.clone().run(registering_stop.clone()));
    }

    let source = Arc::new(NodeSource {
        config: config.clone(),
        group: group.clone(),
        in_flight: in_flight.clone(),
        links: links.clone(),
        views,
        keys,
        sessions,
        polls: polls.clone(),
        metrics,
        visibility: visibility.clone(),
        budget,
        disk,
        expiring,
        listen,
    });
    let admin = start_admin(config.admin.listen, options.admin_listener, source, &tasks, stop.clone())?;

    info!(broker = %config.identity.broker_name, replica = config.raft.self_index, %listen, "serving clients");
    let parts = StopParts {
        group: group.clone(),
        in_flight,
        pulls,
        offsets,
        leader,
        traffic,
        under_way,
        polls,
        registrars,
        registering,
        registering_stop,
        serving_stop,
        serving,
        tasks,
        stop,
        drain: config.serving.drain,
        drain_idle: config.serving.drain_idle,
        hold_max: dispatcher.hold_max(),
        alone: config.raft.peers.len() == 1,
    };
    Ok(BrokerHandle { listen, admin, group, visibility, dispatcher, parts })
}

fn listen_options(config: &BrokerConfig, budget: ByteBudget) -> ListenOptions {
    ListenOptions {
        connections_max: config.limits.connections_max,
        in_flight_bytes_max: config.limits.in_flight_bytes_max,
        budget: Some(budget),
        connection: ConnectionOptions {
            frame_size_max: config.limits.frame_size_max,
            idle: config.limits.idle,
            ..ConnectionOptions::default()
        },
    }
}

fn replica_options(config: &BrokerConfig) -> ReplicaOptions {
    let raft = &config.raft;
    let mut options = ReplicaOptions::new(
        config.disk.root.join("store"),
        config.identity.cluster.as_str(),
        raft.group.as_str(),
        raft.peers.clone(),
        u16::try_from(raft.self_index).expect("peer indexes have 16 bits"),
    );
    options.listen = Some(raft.listen.clone());
    options.flush = config.disk.flush;
    options.segment_size = config.disk.segment_size;
    options.direct = config.disk.direct;
    options.ring_bytes_max = config.disk.memory_bytes_max;
    options.heartbeat_ms = raft.heartbeat_ms;
    options.election_ms = raft.election_ms;
    options.window = raft.window;
    options.append_bytes_max = raft.append_bytes_max;
    options.in_flight_bytes_max = raft.in_flight_bytes_max;
    options
}

/// Serves the administration when an address or a socket is given, and tells where.
fn start_admin(
    address: Option<SocketAddr>,
    socket: Option<StdListener>,
    source: Arc<NodeSource>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> anyhow::Result<Option<SocketAddr>> {
    let socket = match (socket, address) {
        (Some(socket), _) => socket,
        (None, Some(address)) => StdListener::bind(address)
            .with_context(|| format!("can't listen for administration on {address}"))?,
        (None, None) => return Ok(None),
    };
    socket.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(socket)?;
    let address = listener.local_addr()?;
    tasks.spawn(async move {
        if let Err(error) = admin::serve(listener, source, stop).await {
            tracing::error!(%error, "administration has stopped");
        }
    });
    Ok(Some(address))
}

/// The address that goes into messages: what clients connect to, as numbers.
async fn store_host(address: &str, listen: SocketAddr) -> SocketAddr {
    match tokio::net::lookup_host(address).await {
        Ok(mut found) => found.next().unwrap_or(listen),
        Err(error) => {
            tracing::warn!(%address, %error, "advertised address has no numbers yet, messages carry the listening one");
            listen
        }
    }
}

fn registrars(
    config: &BrokerConfig,
    identity: Identity,
    group: &Group,
    pool: &ClientPool,
    visibility: &Arc<Visibility>,
) -> Vec<Arc<Registrar<Group>>> {
    let name_servers = config.registration.name_servers.iter().enumerate();
    name_servers
        .map(|(index, name_server)| {
            Arc::new(Registrar {
                index,
                name_server: name_server.clone(),
                identity: identity.clone(),
                party: group.clone(),
                pool: pool.clone(),
                visibility: visibility.clone(),
                interval: config.registration.period,
                timeout: config.registration.timeout,
            })
        })
        .collect()
}

/// What retention leaves alone while it can: messages that wait for their time.
fn needed_by_delays(group: Group) -> Needed {
    Arc::new(move || group.tables().delay_floor())
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Looks for pulls whose time is over.
async fn expire_polls(polls: Arc<LongPolls>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            now = tick.tick() => polls.expire(now.into_std()),
        }
    }
}
