//! Disks that fill and empty again, and hours that pass, told by probes and clocks of the test's own: whole nodes in this
//! process, everything else is real.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flotilla_broker::config::{self, RouteProbe, Sources};
use flotilla_broker::{Broker, BrokerHandle, BrokerOptions, Disk, DiskProbe};
use flotilla_net::{BytesPermit, ClientPool, Connection, PoolOptions, Service};
use flotilla_raft_store::log::{Clock, SystemClock};
use flotilla_remoting::headers::{
    OffsetResponse, PullMessageRequest, PullMessageResponse, QueueRequest, SendMessageRequest,
};
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A disk of 100 units, of which so many are used.
struct Told(AtomicU64);

impl DiskProbe for Told {
    fn disk(&self) -> Disk {
        let used = self.0.load(Ordering::SeqCst);
        Disk { used, available: 100 - used }
    }
}

/// The time of day, so many ms ahead of the machine's.
#[derive(Debug, Default)]
struct Ahead {
    by_ms: AtomicU64,
    /// How often it was asked.
    looks: AtomicU64,
}

impl Clock for Ahead {
    fn wall_ms(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::SeqCst);
        SystemClock::new().wall_ms() + self.by_ms.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        SystemClock::new().monotonic_us()
    }
}

struct Silent;

impl Service for Silent {
    fn call(&self, _: &Arc<Connection>, _: Frame, _: BytesPermit) {}
}

struct Node {
    broker: BrokerHandle,
    address: String,
    disk: Arc<Told>,
}

struct Group {
    nodes: Vec<Node>,
    clock: Arc<Ahead>,
    client: ClientPool,
    _dir: TempDir,
}

impl Group {
    async fn start(size: usize, extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let raft: Vec<TcpListener> = (0..size).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let peer = |(index, socket): (usize, &TcpListener)| {
            format!("n{index}-127.0.0.1:{}", socket.local_addr().unwrap().port())
        };
        let peers: Vec<String> = raft.iter().enumerate().map(peer).collect();
        let mut nodes = Vec::new();
        let clock: Arc<Ahead> = Arc::default();
        for (index, socket) in raft.into_iter().enumerate() {
            let mut overrides = vec![
                format!("dLegerPeers={}", peers.join(";")),
                format!("dLegerSelfId=n{index}"),
                "listenPort=0".to_owned(),
                "brokerIP1=127.0.0.1".to_owned(),
                "mappedFileSizeCommitLog=1048576".to_owned(),
                "maxMessageSize=65536".to_owned(),
                "raftAppendBytesMax=524288".to_owned(),
                "cleanResourceInterval=100".to_owned(),
                format!("storePathRootDir={}", dir.path().join(format!("n{index}")).display()),
            ];
            overrides.extend(extra.iter().map(|text| (*text).to_owned()));
            let sources = Sources { overrides, ..Sources::default() };
            let disk = Arc::new(Told(AtomicU64::new(50)));
            let mut options = BrokerOptions::new(config::load(&sources, &RouteProbe).unwrap().config);
            options.listener = Some(TcpListener::bind("127.0.0.1:0").unwrap());
            options.raft_listener = Some(socket);
            options.disk_probe = Some(disk.clone());
            options.clock = Some(clock.clone());
            let broker = Broker::start(options).await.unwrap();
            nodes.push(Node { address: broker.listen_addr().to_string(), broker, disk });
        }
        let client = ClientPool::new(PoolOptions::default(), Arc::new(Silent));
        let group = Self { nodes, clock, client, _dir: dir };
        // The system topics come with the first leader.
        until("a message is taken", async || (group.send(0, "first").await.0 == 0).then_some(())).await;
        group
    }

    fn set_disk(&self, node: usize, used: u64) {
        self.nodes[node].disk.0.store(used, Ordering::SeqCst);
    }

    /// The leader that all agree on.
    async fn leader(&self) -> usize {
        until("all agree on a leader", async || {
            let known: Vec<Option<u64>> =
                self.nodes.iter().map(|node| node.broker.status().borrow().leader).collect();
            let agreed = known.iter().all(|leader| *leader == known[0]);
            known[0].filter(|_| agreed).map(|leader| leader as usize)
        })
        .await
    }

    /// Code and remark of a send to a node.
    async fn send(&self, node: usize, body: &str) -> (i32, String) {
        let header = SendMessageRequest {
            producer_group: "tests",
            topic: "disk",
            default_topic: "TBW102",
            default_topic_queue_nums: 1,
            queue_id: 0,
            sys_flag: 0,
            born_timestamp: 1_700_000_000_000,
            flag: 0,
            properties: Some(""),
            reconsume_times: Some(0),
            unit_mode: false,
            batch: false,
            max_reconsume_times: None,
            broker_name: None,
        };
        let body = Bytes::from(body.to_owned());
        let frame = Frame::request(RequestCode::SendMessageV2, header.encode_short(), body);
        match self.client.request(&self.nodes[node].address, frame, Duration::from_secs(3)).await {
            Ok(answer) => (answer.header.code, answer.header.remark.unwrap_or_default()),
            Err(error) => (-1, error.to_string()),
        }
    }

    /// Code of a pull of the first message, and the minimum that it tells.
    async fn pull(&self, node: usize) -> (ResponseCode, i64) {
        let header = PullMessageRequest::plain("g", "disk", 0, 0, 1);
        let frame = Frame::request(RequestCode::PullMessage, header.encode(), Bytes::new());
        let answer = self.client.request(&self.nodes[node].address, frame, PATIENCE).await.unwrap();
        let header = PullMessageResponse::decode(&answer.header.ext).unwrap();
        (answer.header.response_code(), header.min_offset)
    }

    async fn minimum(&self, node: usize) -> i64 {
        let ext = QueueRequest { topic: "disk", queue_id: 0 }.encode();
        let frame = Frame::request(RequestCode::GetMinOffset, ext, Bytes::new());
        let answer = self.client.request(&self.nodes[node].address, frame, PATIENCE).await.unwrap();
        OffsetResponse::decode(&answer.header.ext).unwrap().offset
    }

    /// Code 329 at a node.
    async fn delete_expired(&self, node: usize) -> i32 {
        let frame = Frame::request(RequestCode::DeleteExpiredCommitLog, ExtFields::new(), Bytes::new());
        let answer = self.client.request(&self.nodes[node].address, frame, PATIENCE).await.unwrap();
        answer.header.code
    }

    /// Sends 3.6 MB, which is three whole segments.
    async fn fill(&self) {
        let body = "x".repeat(60_000);
        for _ in 0..60 {
            let mut code = self.send(0, &body).await.0;
            while code == ResponseCode::SystemBusy.as_i32() {
                // Nothing was stored: the machine is busy with other tests.
                code = self.send(0, &body).await.0;
            }
            assert_eq!(code, 0);
        }
    }

    async fn stop(self) {
        self.client.stop().await;
        for node in self.nodes {
            node.broker.stop(false).await;
        }
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_room_hands_over_and_a_full_group_refuses_until_there_is_room() {
    let group = Group::start(3, &[]).await;
    let first = group.leader().await;
    group.set_disk(first, 91);
    let second = until("another replica leads", async || {
        let leader = group.leader().await;
        (leader != first).then_some(leader)
    })
    .await;
    assert_eq!(group.send(first, "at the old leader").await.0, 0, "it forwards");

    // The next has no room either, so the third takes over.
    group.set_disk(second, 95);
    let third = until("the third replica leads", async || {
        let leader = group.leader().await;
        (leader != first && leader != second).then_some(leader)
    })
    .await;
    assert_eq!(group.send(third, "at the last").await.0, 0);

    // At the watermark it is not full yet; above it nobody is left.
    group.set_disk(third, 90);
    assert_eq!(group.send(third, "at the watermark").await.0, 0);
    group.set_disk(third, 99);
    let refused = until("messages are refused", async || {
        let (code, remark) = group.send(first, "too much").await;
        (code != 0).then_some((code, remark))
    })
    .await;
    assert_eq!(refused.0, ResponseCode::ServiceNotAvailable.as_i32(), "{refused:?}");
    assert!(refused.1.contains("the broker's disk is full [99%]"), "{refused:?}");
    assert_eq!(group.pull(third).await.0, ResponseCode::Success, "pulls go on");

    // Any replica with room heals the group, by taking over.
    group.set_disk(first, 40);
    until("messages are taken again", async || (group.send(second, "again").await.0 == 0).then_some(()))
        .await;
    assert_eq!(group.leader().await, first);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nearly_full_disk_gives_up_young_segments_and_alone_heals_by_itself() {
    let group = Group::start(1, &[]).await;
    group.fill().await;
    assert_eq!(group.minimum(0).await, 0, "half of the disk is free");
    group.set_disk(0, 88);
    let raised = until("segments go", async || {
        let minimum = group.minimum(0).await;
        (minimum > 0).then_some(minimum)
    })
    .await;
    assert_eq!(group.pull(0).await.0, ResponseCode::PullOffsetMoved);
    assert!(group.pull(0).await.1 >= raised);
    assert_eq!(group.send(0, "below the watermark").await.0, 0);
    group.set_disk(0, 97);
    until("messages are refused", async || (group.send(0, "too much").await.0 == 14).then_some(())).await;
    group.set_disk(0, 50);
    until("messages are taken again", async || (group.send(0, "again").await.0 == 0).then_some(())).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_forced_deletion_a_full_disk_refuses_and_keeps_everything() {
    let group = Group::start(1, &["cleanFileForciblyEnable=false"]).await;
    group.fill().await;
    group.set_disk(0, 97);
    until("messages are refused", async || (group.send(0, "too much").await.0 == 14).then_some(())).await;
    assert_eq!(group.minimum(0).await, 0);
    assert_eq!(group.pull(0).await.0, ResponseCode::Success);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_enough_waits_for_its_hour_unless_an_administrator_asks() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let group = Group::start(3, &["fileReservedTime=48", "deleteWhen=04"]).await;
    group.fill().await;
    // At noon, five days later.
    let now_ms = SystemClock::new().wall_ms();
    let noon_ms = (now_ms / DAY_MS + 5) * DAY_MS + DAY_MS / 2;
    group.clock.by_ms.store(noon_ms - now_ms, Ordering::SeqCst);
    let looks = group.clock.looks.load(Ordering::SeqCst);
    // Each look belongs to a pass of the leader, and the second comes when the first has done its work.
    until("the leader has looked twice", async || {
        (group.clock.looks.load(Ordering::SeqCst) >= looks + 2).then_some(())
    })
    .await;
    let leader = group.leader().await;
    assert_eq!(group.minimum(leader).await, 0, "not its hour");

    let follower = (leader + 1) % 3;
    assert_eq!(group.delete_expired(follower).await, ResponseCode::Success.as_i32(), "whoever is asked");
    let raised = until("segments go", async || {
        let minimum = group.minimum(leader).await;
        (minimum > 0).then_some(minimum)
    })
    .await;
    for node in 0..3 {
        until("every replica follows", async || (group.pull(node).await.1 >= raised).then_some(())).await;
    }
    assert_eq!(group.send(0, "goes on").await.0, 0);
    group.stop().await;
}
