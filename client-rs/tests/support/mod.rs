//! A server for the tests of this crate: the one that `NAMESRV_ADDR` names, else a group of three replicas and a name
//! server within this process, with real sockets and files. Tests that run at the same time share it; the last one out
//! stops it and removes its files.
#![allow(dead_code)]

pub mod desk;
pub mod java;
pub mod raw;
pub mod scripted;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use anyhow::Context;
use flotilla_broker::config::{self, RouteProbe, Sources};
use flotilla_broker::{Broker, BrokerHandle, BrokerOptions};
use flotilla_client::{Client, ClientOptions};
use flotilla_namesrv::{NameServer, NameServerOptions};

/// How long anything may take before a test says what is missing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server to test against.
pub struct Server {
    name_server: String,
    embedded: Option<Embedded>,
}

struct Embedded {
    runtime: Option<tokio::runtime::Runtime>,
    nodes: Vec<BrokerHandle>,
    _folder: tempfile::TempDir,
}

/// The shared server; started when nobody has one.
pub fn server() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start().expect("server"));
    *shared = Arc::downgrade(&server);
    server
}

impl Server {
    /// A group of its own, for tests that break it; `None` when an outside server is to be tested.
    pub fn own() -> Option<Server> {
        std::env::var_os("NAMESRV_ADDR").is_none().then(|| Server::embedded().expect("server"))
    }

    fn start() -> anyhow::Result<Server> {
        match std::env::var("NAMESRV_ADDR") {
            Ok(name_server) => Ok(Server { name_server, embedded: None }),
            Err(_) => Server::embedded(),
        }
    }

    /// On a thread of its own: a run-time can't be waited for from within the test's.
    fn embedded() -> anyhow::Result<Server> {
        std::thread::spawn(Server::start_embedded).join().expect("the server's start panicked")
    }

    fn start_embedded() -> anyhow::Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let folder = tempfile::tempdir()?;
        let listen = || TcpListener::bind("127.0.0.1:0").context("port");
        let name_server_listener = listen()?;
        let name_server = name_server_listener.local_addr()?;
        let sockets = (0..3).map(|_| Ok((listen()?, listen()?))).collect::<anyhow::Result<Vec<_>>>()?;
        let peers =
            sockets.iter().enumerate().map(|(n, (raft, _))| Ok(format!("n{n}-{}", raft.local_addr()?)));
        let peers = peers.collect::<anyhow::Result<Vec<_>>>()?.join(";");
        let starting = async {
            let options = NameServerOptions {
                listener: Some(name_server_listener),
                ..NameServerOptions::new(name_server)
            };
            // Runs as long as the run-time.
            std::mem::forget(NameServer::start(options).await?);
            let mut nodes = Vec::new();
            for (number, (raft, clients)) in sockets.into_iter().enumerate() {
                let overrides = vec![
                    format!("dLegerPeers={peers}"),
                    format!("dLegerSelfId=n{number}"),
                    "listenPort=0".to_owned(),
                    "bindAddress=127.0.0.1".to_owned(),
                    "brokerIP1=127.0.0.1".to_owned(),
                    "mappedFileSizeCommitLog=16777216".to_owned(),
                    // A full disk of the machine is none of these tests' business.
                    "cleanFileForciblyEnable=false".to_owned(),
                    format!("storePathRootDir={}", folder.path().join(format!("n{number}")).display()),
                    format!("namesrvAddr={name_server}"),
                ];
                let loaded =
                    config::load(&Sources { file: None, environment: Vec::new(), overrides }, &RouteProbe)?;
                let mut options = BrokerOptions::new(loaded.config);
                options.listener = Some(clients);
                options.raft_listener = Some(raft);
                nodes.push(Broker::start(options).await?);
            }
            for node in &nodes {
                node.ready().await;
            }
            anyhow::Ok(nodes)
        };
        // A run-time can't be waited for from within another one, which tests may be in.
        let nodes = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(starting)).join());
        let nodes = nodes.expect("no panic")?;
        let embedded = Embedded { runtime: Some(runtime), nodes, _folder: folder };
        Ok(Server { name_server: name_server.to_string(), embedded: Some(embedded) })
    }

    /// Ends the replica at an address, without letting it hand over first.
    ///
    /// # Panics
    /// This server is not embedded, or has no such replica.
    pub async fn stop_node_at(&mut self, address: &str) {
        let embedded = self.embedded.as_mut().expect("a server of its own");
        let at = embedded.nodes.iter().position(|node| node.listen_addr().to_string() == address);
        let node = embedded.nodes.remove(at.unwrap_or_else(|| panic!("no replica at {address}")));
        node.stop(false).await;
    }

    /// Claims that the server is one of ours; of an outside one that it says so (`COMPAT_AGAINST`).
    pub fn is_flotilla(&self) -> bool {
        self.embedded.is_some() || std::env::var("COMPAT_AGAINST").is_ok_and(|kind| kind != "apache")
    }

    /// Ends the node that leads, without a farewell: its successor has to be elected.
    pub async fn stop_leader(&mut self) {
        let embedded = self.embedded.as_mut().expect("a group of its own");
        let runtime = embedded.runtime.as_ref().expect("running").handle().clone();
        let nodes = &mut embedded.nodes;
        let leads = |node: &BrokerHandle| node.status().borrow().lease_until.is_some();
        let at = nodes.iter().position(leads).expect("a leader");
        let node = nodes.remove(at);
        runtime.spawn(node.stop(false)).await.expect("stopped");
    }

    /// Requests past the client under test.
    pub fn raw(&self) -> raw::Raw {
        raw::Raw::new(&self.name_server)
    }

    /// Address of the name server.
    pub fn name_server(&self) -> &str {
        &self.name_server
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        self.options().start().expect("client")
    }

    /// Options of a client of this server.
    pub fn options(&self) -> ClientOptions {
        ClientOptions::new(&self.name_server).expect("address")
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let nodes = std::mem::take(&mut self.nodes);
        // A run-time can't be waited for from within another one.
        let ended = std::thread::spawn(move || {
            runtime.block_on(async {
                for node in nodes {
                    node.stop(false).await;
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
        });
        let _ = ended.join();
    }
}

/// A name that no other test and no earlier run has used.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{}_{:x}", std::process::id(), rand_suffix())
}

fn rand_suffix() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// [`eventually`] within a task: the checks borrow nothing, so that the whole can move between threads.
pub async fn eventually_on_a_task<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let began = tokio::time::Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) if began.elapsed() > PATIENCE => panic!("{what}: not within {PATIENCE:?}: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits until `check` gives a value; fails with what it says last.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = tokio::time::Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) if began.elapsed() > PATIENCE => panic!("{what}: not within {PATIENCE:?}: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
