//! Measures one group of three replicas: three processes on this machine, real files, loopback TCP.
//!
//! ```text
//! cargo run --release -p flotilla-raft-store --example group_bench -- [sync|async] [seconds per row] [threads]
//! ```
//! The producers live in the leader's process, on its Raft thread, or, with `threads`, on a runtime of their own with
//! two workers, as client connections do. Each row: producers x proposals per hand-over, 1 KiB payloads; messages per
//! second, latency of a hand-over, processor time of all three nodes per message, and how well requests and flushes
//! are batched.

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use flotilla_raft_store::peers::{Peer, parse_peers};
use flotilla_raft_store::raft::{
    Applied, InstallError, Machine, PeerService, Proposal, ProposeError, Replica, ReplicaOptions, Role,
};
use flotilla_raft_store::vfs::RealVfs;
use flotilla_raft_store::{FlushMode, NoStamper, RECORD_HEADER_SIZE};
use tokio::sync::{mpsc, oneshot};

const ROWS: [(usize, usize); 6] = [(1, 1), (64, 1), (256, 1), (1024, 1), (64, 32), (16, 256)];
const PAYLOAD_SIZE: usize = 1024;

/// `ROWS=64x1,16x256` measures those instead.
fn rows() -> Vec<(usize, usize)> {
    let Ok(named) = std::env::var("ROWS") else { return ROWS.to_vec() };
    let number = |text: &str| text.parse().expect("a number");
    let row = |row: &str| row.split_once('x').map(|(clients, batch)| (number(clients), number(batch)));
    named.split(',').filter_map(row).collect()
}

struct Count(u64);

impl Machine for Count {
    type Answer = u64;
    fn apply(&mut self, _entry: &Applied<'_>) -> u64 {
        self.0 += 1;
        self.0
    }
    fn checkpoint(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let count = self.0;
        Box::new(move || count.to_le_bytes().to_vec())
    }
    fn install(&mut self, checkpoint: &[u8]) -> Result<(), InstallError> {
        self.0 = checkpoint.try_into().map_or(0, u64::from_le_bytes);
        Ok(())
    }
}

struct NoStreams;

impl PeerService for NoStreams {
    fn accept(&self, _from: u64, _stream: std::net::TcpStream) {}
}

fn start(index: u16, dir: &str, peers: Vec<Peer>, flush: FlushMode) -> Replica<u64> {
    let mut options = ReplicaOptions::new(format!("{dir}/n{index}"), "bench", "bench", peers, index);
    options.flush = flush;
    if let Some(window) = std::env::var("WINDOW").ok().and_then(|window| window.parse().ok()) {
        options.window = window;
    }
    Replica::start(options, Arc::new(RealVfs), Count(0), Box::new(NoStamper), Arc::new(NoStreams))
        .expect("a replica")
}

fn payload() -> Bytes {
    let mut out = BytesMut::with_capacity(RECORD_HEADER_SIZE + PAYLOAD_SIZE);
    out.put_bytes(0, RECORD_HEADER_SIZE);
    out.put_bytes(b'a', PAYLOAD_SIZE);
    out.freeze()
}

/// User and system time of a process, seconds.
fn cpu_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

type Handover = (Vec<Bytes>, oneshot::Sender<Result<(), ProposeError>>);

/// Takes everything that waits and proposes it in one call, as the broker's proposer does.
async fn proposer(replica: Replica<u64>, mut queue: mpsc::Receiver<Handover>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, 4096).await > 0 {
        let mut proposals = Vec::new();
        for (payloads, told) in waiting.drain(..) {
            let last = payloads.len() - 1;
            let mut told = Some(told);
            for (at, payload) in payloads.into_iter().enumerate() {
                // Answers come in order, so the last one of a hand-over stands for all.
                let told = if at == last { told.take() } else { None };
                let done = Box::new(move |outcome: Result<_, ProposeError>| {
                    if let Some(told) = told {
                        told.send(outcome.map(|_| ())).ok();
                    }
                });
                proposals.push(Proposal { payload, expected_term: None, done });
            }
        }
        replica.submit(proposals).await;
    }
}

async fn producer(queue: mpsc::Sender<Handover>, batch: usize, until: Instant) -> (u64, Vec<u32>) {
    let (mut count, mut latencies) = (0, Vec::new());
    while Instant::now() < until {
        let started = Instant::now();
        let (told, outcome) = oneshot::channel();
        let payloads = (0..batch).map(|_| payload()).collect();
        if queue.send((payloads, told)).await.is_err() {
            break;
        }
        match outcome.await {
            Ok(Ok(())) => {
                count += batch as u64;
                latencies.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    (count, latencies)
}

fn lead(replica: &Replica<u64>, producers: &tokio::runtime::Handle, pids: &[u32], seconds: f64) {
    let wait = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    wait.block_on(async {
        let mut status = replica.status();
        status.wait_for(|status| status.leads_safely()).await.expect("this node leads");
    });
    let (queue, waiting) = mpsc::channel(8192);
    replica.raft_runtime().spawn(proposer(replica.clone(), waiting));
    let counters = replica.counters();
    let before: f64 = pids.iter().map(|pid| cpu_of(*pid)).sum();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let idle = (pids.iter().map(|pid| cpu_of(*pid)).sum::<f64>() - before) / seconds / pids.len() as f64;
    println!("idle: {:.2} % of a core per node", idle * 100.0);
    for (clients, batch) in rows() {
        let cpu_before: f64 = pids.iter().map(|pid| cpu_of(*pid)).sum();
        let before = (
            counters.flush.count(),
            counters.append_requests.load(Ordering::Relaxed),
            counters.append_request_records.load(Ordering::Relaxed),
        );
        let started = Instant::now();
        let until = started + Duration::from_secs_f64(seconds);
        let tasks: Vec<_> =
            (0..clients).map(|_| producers.spawn(producer(queue.clone(), batch, until))).collect();
        let (mut count, mut latencies) = (0, Vec::new());
        for task in tasks {
            let (done, took) = wait.block_on(task).expect("a producer");
            count += done;
            latencies.extend(took);
        }
        let elapsed = started.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let cpu: f64 = pids.iter().map(|pid| cpu_of(*pid)).sum::<f64>() - cpu_before;
        let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or(0);
        let flushes = (counters.flush.count() - before.0).max(1);
        let requests = (counters.append_requests.load(Ordering::Relaxed) - before.1).max(1);
        let records = counters.append_request_records.load(Ordering::Relaxed) - before.2;
        println!(
            "{clients:>5} x {batch:<3} {:>9.0} msg/s  p50 {:>6} us  p99 {:>6} us  cpu {:>6.2} us/msg  {:>6.1} msg/append  {:>6.1} records/request  slow polls {}",
            count as f64 / elapsed,
            at(50),
            at(99),
            cpu * 1e6 / count.max(1) as f64,
            count as f64 / flushes as f64,
            records as f64 / requests as f64,
            counters.slow_polls.load(Ordering::Relaxed),
        );
    }
}

/// A follower's process: gives leadership to node 0 when it has it, and ends with its parent.
fn follow(replica: &Replica<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut leadership = replica.leadership();
        loop {
            let now = *leadership.borrow_and_update();
            if now.role == Role::Leader && now.own_term_applied {
                replica.transfer_leadership(Some(0), Duration::from_secs(5)).await.ok();
            }
            if now.role == Role::Stopped || leadership.changed().await.is_err() {
                return;
            }
        }
    });
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    if argument(0) == Some("node") {
        let (index, dir, peers, flush) = (&arguments[1], &arguments[2], &arguments[3], &arguments[4]);
        let flush = if flush == "async" { FlushMode::Async } else { FlushMode::Sync };
        let replica = start(index.parse().expect("an index"), dir, parse_peers(peers).expect("peers"), flush);
        return follow(&replica);
    }
    let flush = argument(0).unwrap_or("sync").to_owned();
    let seconds: f64 = argument(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(4.0);
    let on_threads = argument(2) == Some("threads");
    let dir = tempfile::tempdir_in(
        std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, std::path::PathBuf::from),
    )
    .expect("a folder");
    let dir_name = dir.path().display().to_string();
    let ports: Vec<u16> = {
        let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
    };
    let peers: Vec<String> =
        ports.iter().enumerate().map(|(index, port)| format!("n{index}-127.0.0.1:{port}")).collect();
    let peers = peers.join(";");
    let program = std::env::current_exe().expect("the own program");
    let nodes: Vec<Node> = (1..3)
        .map(|index: u16| {
            let child = Command::new(&program)
                .args(["node", &index.to_string(), &dir_name, &peers, &flush])
                .spawn()
                .expect("a node");
            Node(child)
        })
        .collect();
    let mode = if flush == "async" { FlushMode::Async } else { FlushMode::Sync };
    let replica = start(0, &dir_name, parse_peers(&peers).expect("peers"), mode);
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let producers = if on_threads { threads.handle().clone() } else { replica.raft_runtime() };
    let mut pids = vec![std::process::id()];
    pids.extend(nodes.iter().map(|node| node.0.id()));
    println!(
        "three processes, {PAYLOAD_SIZE} byte payloads, flush {flush}, producers on {}",
        if on_threads { "their own threads" } else { "the Raft thread" }
    );
    lead(&replica, &producers, &pids, seconds);
}
