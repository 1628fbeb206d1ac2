//! Starts, stops, restarts and asks groups of replicas.

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::machine::{Answer, Chain, Numbering, View, payload};
use crate::peers::Peer;
use crate::raft::api::{Committed, PeerService, Proposal, ProposeError};
use crate::raft::status::{Role, Status};
use crate::raft::{Replica, ReplicaOptions};
use crate::vfs::{RealVfs, Vfs};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test when the future takes too long.
pub(super) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits until the condition holds, for what nobody can be told of.
pub(super) async fn becomes(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, holds).await;
}

/// Keeps the streams that peers open.
#[derive(Default)]
pub(super) struct Streams(pub(super) Mutex<Vec<(u64, std::net::TcpStream)>>, pub(super) tokio::sync::Notify);

impl PeerService for Streams {
    fn accept(&self, from: u64, stream: std::net::TcpStream) {
        self.0.lock().push((from, stream));
        self.1.notify_one();
    }
}

pub(super) struct Node {
    pub(super) replica: Replica<Answer>,
    pub(super) view: Arc<Mutex<View>>,
    pub(super) streams: Arc<Streams>,
}

type Tweak = Box<dyn Fn(&mut ReplicaOptions) + Send + Sync>;
type VfsOf = Box<dyn Fn(usize) -> Arc<dyn Vfs> + Send + Sync>;

pub(super) struct Cluster {
    dir: TempDir,
    pub(super) peers: Vec<Peer>,
    /// Ports that were reserved and not yet listened on.
    listeners: Vec<Option<Arc<TcpListener>>>,
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) tweak: Tweak,
    pub(super) vfs_of: VfsOf,
}

impl Cluster {
    /// Reserves ports and folders; nothing is started.
    pub(super) fn prepare(size: usize) -> Cluster {
        // `RUST_LOG=flotilla_raft_store=debug` shows what the replicas of a failing test did.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init().ok();
        let listeners: Vec<TcpListener> =
            (0..size).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let peers = listeners
            .iter()
            .enumerate()
            .map(|(index, listener)| Peer {
                index: u16::try_from(index).unwrap(),
                host: "127.0.0.1".into(),
                port: listener.local_addr().unwrap().port(),
            })
            .collect();
        Cluster {
            dir: tempfile::tempdir().unwrap(),
            peers,
            listeners: listeners.into_iter().map(|listener| Some(Arc::new(listener))).collect(),
            nodes: (0..size).map(|_| None).collect(),
            tweak: Box::new(|_| {}),
            vfs_of: Box::new(|_| Arc::new(RealVfs)),
        }
    }

    /// A running group with a leader.
    pub(super) async fn start(size: usize) -> Cluster {
        let mut cluster = Cluster::prepare(size);
        cluster.start_all().await;
        cluster.leader().await;
        cluster
    }

    pub(super) fn dir_of(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("n{index}"))
    }

    pub(super) fn options_of(&mut self, index: usize) -> ReplicaOptions {
        let peers = self.peers.clone();
        let own = u16::try_from(index).unwrap();
        let mut options = ReplicaOptions::new(self.dir_of(index), "test-cluster", "test-group", peers, own);
        options.segment_size = 1 << 20;
        options.ring_bytes_max = 1 << 20;
        options.listener = self.listeners[index].take();
        (self.tweak)(&mut options);
        options
    }

    pub(super) async fn start_node(&mut self, index: usize) {
        let options = self.options_of(index);
        let vfs = (self.vfs_of)(index);
        let (machine, view) = Chain::new();
        let streams = Arc::new(Streams::default());
        let service = Arc::clone(&streams);
        let started = tokio::task::spawn_blocking(move || {
            Replica::start(options, vfs, machine, Box::new(Numbering::default()), service)
        });
        let replica = started.await.unwrap().unwrap();
        self.nodes[index] = Some(Node { replica, view, streams });
    }

    pub(super) async fn start_all(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_none() {
                self.start_node(index).await;
            }
        }
    }

    pub(super) async fn stop_node(&mut self, index: usize) {
        if let Some(node) = self.nodes[index].take() {
            soon("a replica stops", node.replica.stop()).await;
        }
    }

    pub(super) async fn stop_all(&mut self) {
        for index in 0..self.nodes.len() {
            self.stop_node(index).await;
        }
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().unwrap()
    }

    pub(super) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].is_some())
    }

    pub(super) fn status(&self, index: usize) -> Status {
        self.node(index).replica.status().borrow().clone()
    }

    /// Waits until a running node satisfies the condition.
    pub(super) async fn until(
        &self,
        what: &str,
        index: usize,
        condition: impl FnMut(&Status) -> bool,
    ) -> Status {
        let mut status = self.node(index).replica.status();
        let found = soon(what, status.wait_for(condition)).await;
        found.unwrap().clone()
    }

    /// Waits for a leader that has applied its own term's first entry and holds a lease; gives its index.
    pub(super) async fn leader(&self) -> usize {
        let waits = self.running().map(|index| {
            let mut status = self.node(index).replica.status();
            Box::pin(async move {
                status.wait_for(|status| status.leads_safely()).await.unwrap();
                index
            })
        });
        let (index, _, _) = soon("a leader", futures::future::select_all(waits)).await;
        index
    }

    /// Hands payloads to a node in one call; gives the outcomes in order.
    pub(super) async fn submit(
        &self,
        index: usize,
        payloads: Vec<Bytes>,
        expected_term: Option<u64>,
    ) -> Vec<Result<Committed<Answer>, ProposeError>> {
        let replica = self.node(index).replica.clone();
        submit(&replica, payloads, expected_term).await
    }

    /// Commits one payload, wherever the leader is; retries what was never appended.
    pub(super) async fn commit(&self, tag: u64) -> Committed<Answer> {
        self.commit_sized(tag, 64).await
    }

    pub(super) async fn commit_sized(&self, tag: u64, size: usize) -> Committed<Answer> {
        let attempts = async {
            loop {
                let leader = self.leader().await;
                match self.submit(leader, vec![payload(tag, size)], None).await.remove(0) {
                    Ok(committed) => return committed,
                    Err(ProposeError::NotLeader { .. } | ProposeError::Busy) => {
                        tokio::task::yield_now().await
                    }
                    Err(error) => panic!("tag {tag}: {error}"),
                }
            }
        };
        soon("a commit", attempts).await
    }

    /// Commits many payloads of one size in one go.
    pub(super) async fn commit_many(&self, tags: std::ops::Range<u64>, size: usize) {
        for chunk in tags.collect::<Vec<_>>().chunks(64) {
            let mut left = chunk.to_vec();
            while !left.is_empty() {
                let leader = self.leader().await;
                let payloads = left.iter().map(|tag| payload(*tag, size)).collect();
                let outcomes = self.submit(leader, payloads, None).await;
                // What was not appended is proposed again: the tests' small segments can be used up faster than new ones
                // are allocated, and a busy machine can let a lease run out.
                let refused = |outcome: &Result<_, ProposeError>| match outcome {
                    Ok(_) => false,
                    Err(ProposeError::Busy | ProposeError::NotLeader { .. }) => true,
                    Err(error) => panic!("{error}"),
                };
                left = left
                    .into_iter()
                    .zip(&outcomes)
                    .filter(|(_, outcome)| refused(outcome))
                    .map(|(tag, _)| tag)
                    .collect();
            }
        }
    }

    /// Waits until a node has applied `index`.
    pub(super) async fn applied(&self, node: usize, index: u64) {
        self.until("an entry is applied", node, |status| status.applied >= Some(index)).await;
    }

    /// Waits until all running nodes have applied `index` and stand at the same entry, and compares their states.
    pub(super) async fn agree_at(&self, mut index: u64) {
        loop {
            for node in self.running() {
                self.applied(node, index).await;
            }
            let views: Vec<View> = self.running().map(|node| self.node(node).view.lock().clone()).collect();
            let newest = views.iter().filter_map(|view| view.index).max().unwrap();
            if views.iter().any(|view| view.index != Some(newest)) {
                index = newest;
                continue;
            }
            for view in &views[1..] {
                assert_eq!((view.count, view.hash), (views[0].count, views[0].hash), "at entry {newest}");
            }
            return;
        }
    }

    pub(super) fn role(&self, index: usize) -> Role {
        self.status(index).role
    }
}

pub(super) async fn submit(
    replica: &Replica<Answer>,
    payloads: Vec<Bytes>,
    expected_term: Option<u64>,
) -> Vec<Result<Committed<Answer>, ProposeError>> {
    let mut outcomes = Vec::new();
    let mut proposals = Vec::new();
    for payload in payloads {
        let (sender, outcome) = oneshot::channel();
        let done = Box::new(move |result| {
            sender.send(result).ok();
        });
        proposals.push(Proposal { payload, expected_term, done });
        outcomes.push(outcome);
    }
    let handle = replica.clone();
    replica.raft_runtime().spawn(async move { handle.submit(proposals).await }).await.ok();
    let mut results = Vec::new();
    for outcome in outcomes {
        results.push(soon("an outcome", outcome).await.expect("every proposal is answered"));
    }
    results
}
