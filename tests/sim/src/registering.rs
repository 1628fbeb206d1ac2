//! The broker's own registrars at work for a simulated replica.

use std::sync::Arc;
use std::time::Duration;

use flotilla_broker::registration::{Identity, NoRequests, Registrar, Visibility};
use flotilla_net::{ClientPool, PoolOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::mutants::Mutant;
use crate::net::{Caller, Plug};
use crate::party::Spokesman;
use crate::say;

/// Names that all replicas of a run share.
pub const CLUSTER: &str = "C";
/// See [`CLUSTER`].
pub const BROKER_NAME: &str = "B";
/// How long a registrar waits for an answer: the broker's default.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Where registrations go, and how often.
#[derive(Debug, Clone)]
pub struct Post {
    /// Addresses of the name servers.
    pub name_servers: Vec<String>,
    /// They are repeated after this time.
    pub interval_ms: u64,
}

/// Where a replica is reached, as registrations say it.
pub fn address_of(host: usize) -> String {
    format!("n{host}:10911")
}

/// The registrars of one process.
pub struct Registrars {
    host: usize,
    registrars: Vec<Arc<Registrar<Spokesman>>>,
    at_work: TaskTracker,
    stop: CancellationToken,
}

impl Registrars {
    /// Begins to register. Must be called within the process's runtime. `topics`: the version of the topics' table as it changes.
    pub fn begin(
        (host, plug): (usize, &Plug),
        party: Spokesman,
        topics: watch::Receiver<i64>,
        post: &Post,
        mutant: Option<Mutant>,
    ) -> Arc<Self> {
        let clings = mutant == Some(Mutant::KeptClaim) && host == 1;
        let party = if clings { party.that_clings() } else { party };
        let pool =
            ClientPool::dialling(PoolOptions::default(), Caller::new(plug.clone()), Arc::new(NoRequests));
        let visibility = Visibility::new(post.name_servers.len());
        let registrars: Vec<_> = post
            .name_servers
            .iter()
            .enumerate()
            .map(|(index, name_server)| {
                Arc::new(Registrar {
                    index,
                    name_server: name_server.clone(),
                    identity: Identity {
                        cluster: CLUSTER.into(),
                        broker_name: BROKER_NAME.into(),
                        address: address_of(host),
                        peer_index: host as u64,
                    },
                    party: party.clone(),
                    pool: pool.clone(),
                    visibility: Arc::clone(&visibility),
                    interval: Duration::from_millis(post.interval_ms),
                    timeout: ANSWER_MAX,
                })
            })
            .collect();
        let (at_work, stop) = (TaskTracker::new(), CancellationToken::new());
        for registrar in &registrars {
            at_work.spawn(Arc::clone(registrar).run(stop.clone()));
        }
        tokio::spawn(tell_topics(party, topics, visibility));
        Arc::new(Self { host, registrars, at_work, stop })
    }

    /// Registers no more and takes the entries away, as a node does that is stopped.
    pub async fn leave(&self, patience: Duration) {
        self.stop.cancel();
        self.at_work.close();
        self.at_work.wait().await;
        for registrar in &self.registrars {
            registrar.unregister(patience).await;
        }
        say!("n{} has said goodbye", self.host);
    }
}

/// A leader registers at once when topics change.
async fn tell_topics(party: Spokesman, mut topics: watch::Receiver<i64>, visibility: Arc<Visibility>) {
    while topics.changed().await.is_ok() {
        if party.leads() {
            visibility.wake();
        }
    }
}
