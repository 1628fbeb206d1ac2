//! Replicas in a runtime of their user's, on hands and a network of his: what simulations are made of.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};

use super::cluster::Streams;
use super::machine::{Answer, Chain, Numbering, View, payload};
use crate::log::{Driver, LogWork};
use crate::net::{Connecting, Duplex, Listen, Net, Network};
use crate::peers::Peer;
use crate::raft::api::Proposal;
use crate::raft::{Hands, Remains, Replica, ReplicaOptions};
use crate::vfs::{Loss, MemVfs};

/// Does what is queued as soon as the runtime comes to it.
#[derive(Debug, Default, Clone)]
struct Prompt(Arc<(Mutex<Option<LogWork>>, Notify)>);

impl Driver for Prompt {
    fn begun(&self, work: LogWork) {
        *self.0.0.lock() = Some(work.clone());
        let hand = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                hand.1.notified().await;
                while work.write_group() | work.do_background() {}
            }
        });
    }

    fn queued(&self) {
        self.0.1.notify_one();
    }
}

/// A network of one.
#[derive(Debug)]
struct Nobody;

struct NoCalls;

impl Net for Nobody {
    fn listen(&self, address: &str) -> io::Result<Box<dyn Listen>> {
        assert_eq!(address, "alone:1");
        Ok(Box::new(NoCalls))
    }

    fn connect(&self, _: &str) -> Connecting {
        Box::pin(async { Err(io::ErrorKind::HostUnreachable.into()) })
    }
}

impl Listen for NoCalls {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([10, 0, 0, 1], 1)))
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Box<dyn Duplex>>> {
        Poll::Pending
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

async fn start(disk: &MemVfs) -> (Replica<Answer>, Remains, Arc<Mutex<View>>) {
    let peers = vec![Peer { index: 0, host: "alone".into(), port: 1 }];
    let mut options = ReplicaOptions::new("/node", "c", "g", peers, 0);
    options.segment_size = 64 << 10;
    options.network = Network::Other(Arc::new(Nobody));
    options.hands = Hands::Driven(Arc::new(Prompt::default()));
    let (machine, view) = Chain::new();
    let (replica, remains) = Replica::start_here(
        options,
        Arc::new(disk.clone()),
        machine,
        Box::new(Numbering::default()),
        Arc::new(Streams::default()),
    )
    .await
    .unwrap();
    (replica, remains, view)
}

async fn submit(replica: &Replica<Answer>, tag: u64) {
    replica.leadership().wait_for(|part| part.own_term_applied).await.unwrap();
    let (sender, done) = oneshot::channel();
    let done_call = Box::new(move |outcome: Result<_, _>| {
        sender.send(outcome.is_ok()).ok();
    });
    replica.submit(vec![Proposal { payload: payload(tag, 100), expected_term: None, done: done_call }]).await;
    let within = Duration::from_secs(5);
    assert!(tokio::time::timeout(within, done).await.unwrap().unwrap());
}

#[test]
fn a_replica_lives_in_its_users_runtime_and_leaves_its_log_clean() {
    let disk = MemVfs::new();
    let runtime = runtime();
    let (replica, remains) = runtime.block_on(async {
        let (replica, remains, _) = start(&disk).await;
        submit(&replica, 7).await;
        replica.stop().await;
        (replica, remains)
    });
    drop((replica, runtime));
    remains.close().unwrap();
    let again = self::runtime();
    again.block_on(async {
        let (replica, _remains, view) = start(&disk).await;
        submit(&replica, 8).await;
        assert_eq!(view.lock().tags, [7, 8]);
    });
}

#[test]
fn dropping_the_runtime_is_the_kill_of_the_process() {
    let disk = MemVfs::new();
    let runtime = runtime();
    let held = runtime.block_on(async {
        let held = start(&disk).await;
        submit(&held.0, 7).await;
        held
    });
    let left = disk.restart(Loss::Everything);
    drop(runtime);
    drop(held);
    self::runtime().block_on(async {
        let (replica, _remains, view) = start(&left).await;
        submit(&replica, 8).await;
        assert_eq!(view.lock().tags, [7, 8], "what was acknowledged was on the disk");
    });
}
