//! The topics of a producer: queues and addresses of the newest route, and whose turn it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::Inner;
use crate::error::{ClientError, Result};
use crate::limits::ROUTES_MAX;
use crate::routes::{LEADER, TopicRoute};

/// How long the route of the template serves for a topic that does not exist yet, so that a burst of first sends asks once. The
/// topic will have the same queues at the same brokers.
const TEMPLATE_FOR: Duration = Duration::from_millis(500);

/// The topics that a producer has sent to, and which brokers have just failed it.
#[derive(Debug)]
pub(super) struct Topics {
    queue_count: i32,
    table: RwLock<HashMap<String, Arc<Topic>>>,
    faults: Faults,
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    name: String,
    route: watch::Receiver<Option<Arc<TopicRoute>>>,
    newest: Mutex<Option<Arc<Snapshot>>>,
    template: Mutex<Option<(Instant, Arc<Snapshot>)>>,
    /// Held over a question to the name servers, so that many senders ask once.
    learning: tokio::sync::Mutex<()>,
    turn: AtomicUsize,
}

/// A route as sends need it.
#[derive(Debug)]
pub(super) struct Snapshot {
    route: Arc<TopicRoute>,
    queues: Vec<Arc<MessageQueue>>,
    /// Broker of the queue with the same number.
    brokers: Vec<Arc<Broker>>,
    by_name: Vec<Arc<Broker>>,
    /// Addresses of all brokers.
    address_count: usize,
    /// All its leaders have heard a heartbeat since it is known.
    announced: AtomicBool,
}

/// A broker name in a route.
#[derive(Debug)]
pub(super) struct Broker {
    name: String,
    /// The leader's first.
    addresses: Vec<Arc<str>>,
    /// Number of the address to begin with: another than the leader's while that is to be passed over.
    first: AtomicUsize,
    /// When the leader's is tried again, in ms since `epoch`.
    first_until_ms: AtomicU64,
    epoch: Instant,
    /// End of its penalty, in ms since `epoch`.
    bad_until_ms: Arc<AtomicU64>,
    /// The first address is the leader's.
    has_leader: bool,
    /// Whether the leader has heard of this client since the route is known.
    pub(super) hearing: watch::Sender<Hearing>,
}

/// Whether a leader knows of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Perhaps not.
    Not,
    /// It was told at this time and has not answered.
    Asked(Instant),
    /// It does.
    Heard,
}

/// Where an attempt goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) queue: Arc<MessageQueue>,
    pub(super) address: Arc<str>,
    broker: Arc<Broker>,
    address_index: usize,
    /// Attempts in a row for the broker under one route.
    tried: usize,
    /// Addresses of all brokers of the route.
    pub(super) address_count: usize,
}

impl Topics {
    pub(super) fn new(queue_count: i32) -> Topics {
        Topics { queue_count, table: RwLock::default(), faults: Faults::new() }
    }

    /// The topic, known or not.
    pub(super) fn topic(&self, client: &Inner, name: &str) -> Arc<Topic> {
        if let Some(topic) = self.table.read().get(name) {
            return topic.clone();
        }
        let mut table = self.table.write();
        if table.len() >= ROUTES_MAX {
            // Learnt again when needed; what was in them is no more than a route and a turn.
            table.clear();
        }
        let new = || Arc::new(Topic::new(name, client.routes.watch(name)));
        table.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Queues and addresses if they are known: of the topic, else of the template that it will be made from.
    pub(super) fn known(&self, client: &Inner, topic: &Topic) -> Option<Arc<Snapshot>> {
        self.own(client, topic).or_else(|| topic.recent_template())
    }

    fn own(&self, client: &Inner, topic: &Topic) -> Option<Arc<Snapshot>> {
        let route = topic.route.borrow().clone()?;
        let mut newest = topic.newest.lock();
        if let Some(snapshot) = newest.as_ref().filter(|snapshot| Arc::ptr_eq(&snapshot.route, &route)) {
            return Some(snapshot.clone());
        }
        let snapshot = Arc::new(Snapshot::new(route, &self.faults));
        *newest = Some(snapshot.clone());
        // New brokers, or a new leader, have not heard of this producer yet.
        client.beat_soon();
        Some(snapshot)
    }

    /// Queues and addresses, from the name servers if need be. Safe to drop.
    ///
    /// # Errors
    /// `NoRoute` when nobody has the topic; `NotSent` when no name server answered.
    pub(super) async fn learn(&self, client: &Inner, topic: &Topic) -> Result<Arc<Snapshot>> {
        if let Some(snapshot) = self.known(client, topic) {
            return Ok(snapshot);
        }
        let _learning = topic.learning.lock().await;
        if let Some(snapshot) = self.known(client, topic) {
            return Ok(snapshot);
        }
        let route = match client.routes.get_or_template(&topic.name, self.queue_count).await {
            Ok(route) => route,
            // Asking a name server does nothing; the message did not go anywhere.
            Err(error) if error.outcome_is_unknown() => {
                return Err(ClientError::NotSent { address: "broker".into(), reason: error.to_string() });
            }
            Err(error) => return Err(error),
        };
        if let Some(snapshot) = self.own(client, topic) {
            return Ok(snapshot);
        }
        let snapshot = Arc::new(Snapshot::new(route, &self.faults));
        client.beat_soon();
        *topic.template.lock() = Some((Instant::now(), snapshot.clone()));
        Ok(snapshot)
    }

    /// Passes over a broker for some time when there are others, and over this address of it, at most until a new route comes.
    pub(super) fn blame(&self, target: &Target, penalty: Duration) {
        let (broker, index) = (&target.broker, target.address_index);
        let next = (index + 1) % broker.addresses.len();
        let until = self.faults.now_ms() + u64::try_from(penalty.as_millis()).unwrap_or(0);
        // Fails when somebody has moved it on already.
        if broker.first.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            broker.first_until_ms.store(until, Ordering::Relaxed);
        }
        broker.bad_until_ms.fetch_max(until, Ordering::Relaxed);
    }

    /// A queue by turns, of a broker that has not just failed if there is one.
    pub(super) fn next(&self, topic: &Topic, snapshot: &Snapshot) -> Option<Arc<MessageQueue>> {
        let count = snapshot.queues.len();
        if count == 0 {
            return None;
        }
        let turn = topic.turn.fetch_add(1, Ordering::Relaxed);
        let mut now_ms = None;
        let is_good = |number: &usize| {
            let until = snapshot.brokers[*number].bad_until_ms.load(Ordering::Relaxed);
            // The clock is looked at only when there is a broker that has ever failed.
            until == 0 || until <= *now_ms.get_or_insert_with(|| self.faults.now_ms())
        };
        let good = (0..count).map(|step| turn.wrapping_add(step) % count).find(is_good);
        Some(snapshot.queues[good.unwrap_or(turn % count)].clone())
    }
}

impl Topic {
    fn new(name: &str, route: watch::Receiver<Option<Arc<TopicRoute>>>) -> Topic {
        Topic {
            name: name.to_owned(),
            route,
            newest: Mutex::default(),
            template: Mutex::default(),
            learning: tokio::sync::Mutex::default(),
            // Producers that start together should not all begin with the same queue.
            turn: AtomicUsize::new(rand::random_range(0..1024)),
        }
    }

    /// Tells the next change of the route.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<TopicRoute>>> {
        self.route.clone()
    }

    fn recent_template(&self) -> Option<Arc<Snapshot>> {
        let template = self.template.lock();
        template.as_ref().filter(|(since, _)| since.elapsed() < TEMPLATE_FOR).map(|(_, known)| known.clone())
    }
}

impl Snapshot {
    fn new(route: Arc<TopicRoute>, faults: &Faults) -> Snapshot {
        let by_name: Vec<Arc<Broker>> = route
            .brokers()
            .iter()
            .map(|(name, broker)| {
                // Sorted by id, and the leader's is the smallest.
                let addresses = broker.broker_addrs.iter();
                let (leader, others): (Vec<_>, Vec<_>) = addresses.partition(|(id, _)| **id == LEADER);
                let has_leader = !leader.is_empty();
                let addresses = leader.into_iter().chain(others).map(|(_, at)| at.as_str().into()).collect();
                let bad_until_ms = faults.of(name);
                Arc::new(Broker {
                    name: name.clone(),
                    addresses,
                    first: AtomicUsize::new(0),
                    first_until_ms: AtomicU64::new(0),
                    epoch: faults.epoch,
                    bad_until_ms,
                    has_leader,
                    hearing: watch::Sender::new(Hearing::Not),
                })
            })
            .collect();
        let find = |name: &str| by_name.iter().find(|broker| broker.name == name).cloned();
        let with_broker = |queue: &MessageQueue| Some((Arc::new(queue.clone()), find(&queue.broker_name)?));
        let (queues, brokers) = route.write_queues().iter().filter_map(with_broker).unzip();
        let address_count = by_name.iter().map(|broker| broker.addresses.len()).sum();
        Snapshot { route, queues, brokers, by_name, address_count, announced: AtomicBool::new(false) }
    }

    /// Queues to choose from.
    pub(super) fn queues(&self) -> &[Arc<MessageQueue>] {
        &self.queues
    }

    /// Its brokers that have a leader.
    pub(super) fn leaders(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.by_name.iter().filter(|broker| broker.has_leader)
    }

    /// Claims that its brokers may not know this client yet.
    pub(super) fn must_be_announced(&self) -> bool {
        !self.announced.load(Ordering::Relaxed)
    }

    /// All its leaders have heard a heartbeat.
    pub(super) fn announced(&self) {
        self.announced.store(true, Ordering::Relaxed);
    }

    /// Where a message for `queue` goes: the leader of its broker name. After a failure there, the next replica.
    pub(super) fn target(&self, queue: &Arc<MessageQueue>, failed: Option<&Target>) -> Option<Target> {
        let broker = self.by_name.iter().find(|broker| broker.name == queue.broker_name)?;
        let count = broker.addresses.len();
        if count == 0 {
            return None;
        }
        // After a new route the leader comes first again.
        let same = failed.filter(|failed| Arc::ptr_eq(&failed.broker, broker));
        let (address_index, tried) = match same {
            Some(failed) => ((failed.address_index + 1) % count, failed.tried + 1),
            None => (broker.first_address(), 1),
        };
        Some(Target {
            queue: queue.clone(),
            address: broker.addresses[address_index].clone(),
            broker: broker.clone(),
            address_index,
            tried,
            address_count: self.address_count,
        })
    }
}

impl Broker {
    /// Its broker name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Address of the leader, if it has one; see [`Snapshot::leaders`].
    pub(super) fn leader(&self) -> &str {
        &self.addresses[0]
    }

    /// Number of the address to begin with.
    fn first_address(&self) -> usize {
        let first = self.first.load(Ordering::Relaxed);
        if first != 0 && elapsed_ms(self.epoch) >= self.first_until_ms.load(Ordering::Relaxed) {
            self.first.store(0, Ordering::Relaxed);
            return 0;
        }
        first
    }
}

impl Target {
    /// Claims that every address of the broker has had its attempt, so that the next one would be a repetition.
    pub(super) fn is_last_address(&self) -> bool {
        self.tried.is_multiple_of(self.broker.addresses.len())
    }

    /// Claims that it is the leader's address, as far as the route knows.
    pub(super) fn is_leader(&self) -> bool {
        self.address_index == 0
    }
}

/// Brokers that failed, by name: shared by all topics.
#[derive(Debug)]
struct Faults {
    epoch: Instant,
    table: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

impl Faults {
    fn new() -> Faults {
        Faults { epoch: Instant::now(), table: Mutex::default() }
    }

    fn now_ms(&self) -> u64 {
        elapsed_ms(self.epoch)
    }

    fn of(&self, name: &str) -> Arc<AtomicU64> {
        let mut table = self.table.lock();
        if let Some(known) = table.get(name) {
            return known.clone();
        }
        if table.len() >= ROUTES_MAX {
            // Those of no route that is in use.
            table.retain(|_, fault| Arc::strong_count(fault) > 1);
        }
        table.entry(name.to_owned()).or_default().clone()
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
