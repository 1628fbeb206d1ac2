//! Producers under way. Each attempt carries a name of its own and is sent exactly once, so that a name that is stored
//! twice was doubled by the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::client::Client;
use super::cluster::Cluster;
use super::exchange::{Failure, Message};
use super::history::{Ack, Failed, History};
use super::wait::{claim, eventually};

/// Pause of a producer after a failed attempt; official clients wait as well before they try another broker.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// Age of a route at which it is asked for again.
const ROUTE_AGE: Duration = Duration::from_millis(500);

/// Which replica a producer talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// Id 0 of the route; after a failure the route is asked again, and the others are tried in turn.
    Leader,
    /// Id 0 of the route, asked again every [`ROUTE_AGE`], as official clients do every 30 s.
    Route,
    /// Each attempt at the next replica of those that the load started with.
    Everyone,
}

/// What a load does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub topic: String,
    pub queues: i32,
    pub producers: usize,
    pub body_size: usize,
    pub towards: Towards,
    /// Remember each ack, for the check of what is stored. A long load only counts them.
    pub remember: bool,
}

impl Plan {
    /// Two dozen producers of 1 KiB messages to the leader.
    pub fn new(topic: &str, queues: i32) -> Plan {
        Plan {
            topic: topic.to_owned(),
            queues,
            producers: 24,
            body_size: 1024,
            towards: Towards::Leader,
            remember: true,
        }
    }
}

/// A load under way. Its producers stop when it is dropped.
pub struct Load {
    shared: Arc<Shared>,
    producers: JoinSet<()>,
}

struct Shared {
    plan: Plan,
    stop: AtomicBool,
    acked: AtomicUsize,
    history: Mutex<History>,
}

impl Load {
    /// Starts the producers; the topic is there.
    pub async fn start(client: &Client, plan: Plan) -> anyhow::Result<Load> {
        let addresses = client.addresses(&plan.topic).await?;
        let addresses: Vec<String> = addresses.into_iter().map(|(_, address)| address).collect();
        let shared = Arc::new(Shared {
            history: Mutex::new(History::new(&plan)),
            plan,
            stop: AtomicBool::new(false),
            acked: AtomicUsize::new(0),
        });
        let mut producers = JoinSet::new();
        for number in 0..shared.plan.producers {
            let producer = Producer {
                shared: shared.clone(),
                client: client.clone(),
                addresses: addresses.clone(),
                number,
                // Id 0 comes first.
                target: if shared.plan.towards == Towards::Everyone { number } else { 0 },
                asked: Instant::now(),
            };
            producers.spawn(producer.run());
        }
        Ok(Load { shared, producers })
    }

    /// Attempts acked so far.
    pub fn acked(&self) -> usize {
        self.shared.acked.load(Ordering::SeqCst)
    }

    /// Waits for so many acks more than there are now.
    pub async fn more(&self, count: usize, limit: Duration) -> anyhow::Result<()> {
        let wanted = self.acked() + count;
        eventually(limit, &format!("{count} more acks"), || async {
            let acked = self.acked();
            claim(acked >= wanted, format!("{acked} of {wanted}"))
        })
        .await
    }

    /// Ends the producers after their attempts under way and gives what happened.
    pub async fn stop(self) -> History {
        self.stop_and_count().await.0
    }

    /// [`Load::stop`], with the number of acks.
    pub async fn stop_and_count(mut self) -> (History, usize) {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.producers.join_next().await {
            ended.expect("a producer does not panic");
        }
        (std::mem::take(&mut *self.shared.history.lock()), self.acked())
    }

    /// Ends producers and cluster: every acked message is there, once, on all nodes, and their logs are whole.
    pub async fn prove(self, mut cluster: Cluster, client: &Client) -> anyhow::Result<()> {
        self.stop().await.check_everywhere(&cluster, client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    }
}

struct Producer {
    shared: Arc<Shared>,
    client: Client,
    addresses: Vec<String>,
    number: usize,
    target: usize,
    /// When the route was asked for.
    asked: Instant,
}

impl Producer {
    async fn run(mut self) {
        let plan = self.shared.plan.clone();
        let mut sequence = 0_u64;
        while !self.shared.stop.load(Ordering::SeqCst) {
            let name = format!("p{}-{sequence}", self.number);
            let queue =
                i32::try_from((self.number as u64 + sequence) % plan.queues as u64).expect("few queues");
            sequence += 1;
            if plan.towards == Towards::Route && self.asked.elapsed() > ROUTE_AGE {
                self.asked = Instant::now();
                if let Some(index) = self.leader_index().await {
                    self.target = index;
                }
            }
            let address = self.addresses[self.target % self.addresses.len()].clone();
            let message = Message::new(&plan.topic, queue, body(&name, plan.body_size));
            let start = Instant::now();
            match self.client.send(&address, &message).await {
                Ok(sent) => {
                    let at = Instant::now();
                    if plan.remember {
                        let ack = Ack { name, sent, start, at, address };
                        self.shared.history.lock().acked.push(ack);
                    }
                    self.shared.acked.fetch_add(1, Ordering::SeqCst);
                    if plan.towards == Towards::Everyone {
                        self.target += 1;
                    }
                }
                Err(failure) => {
                    let failed =
                        Failed { name, failure, start, at: Instant::now(), address: address.clone() };
                    self.shared.history.lock().failed.push(failed);
                    self.after_failure(&address).await;
                }
            }
        }
    }

    /// Looks the route up again; when it tells the same leader as before, tries the next replica.
    async fn after_failure(&mut self, failed: &str) {
        tokio::time::sleep(AFTER_FAILURE).await;
        if self.shared.plan.towards == Towards::Everyone {
            self.target += 1;
            return;
        }
        match self.leader_index().await {
            Some(index) if self.addresses[index] != failed => self.target = index,
            _ => self.target += 1,
        }
    }

    /// Place of the route's id 0 among the addresses.
    async fn leader_index(&self) -> Option<usize> {
        let leader = self.client.leader(&self.shared.plan.topic).await.ok()?;
        self.addresses.iter().position(|address| *address == leader)
    }
}

/// The name, a line feed, and filling.
fn body(name: &str, size: usize) -> Bytes {
    let mut body = format!("{name}\n").into_bytes();
    body.resize(size.max(body.len()), b'.');
    body.into()
}

/// Claims that a failure leaves no doubt that nothing was stored.
pub fn stored_nothing(failure: &Failure) -> bool {
    matches!(failure, Failure::NotSent(_))
}
