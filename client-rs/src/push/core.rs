//! What the tasks of a push consumer share, its start and its farewell (`consume/life.rs` tells when).
//!
//! ```text
//! main task      prepare, rounds of the balancer, at the end farewell
//! one per queue  pulls (`pull_loop`); of orderly consumers another one that calls the listener (`orderly`)
//! workers        call the listener of concurrent consumers (`workers`)
//! keeper         stores offsets, renews locks (`keep`)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::names;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;
use tracing::warn;

use super::keep::Turns;
use super::listener::Kind;
use super::owned::Owned;
use super::process_queue::Amount;
use super::settings::Settings;
use super::work::WorkQueue;
use crate::client::{Client, spawn_until};
use crate::consume::life::{self, Life, Member};
use crate::consume::waiting::until;
use crate::consume::{Expression, Model, Subscription};
use crate::error::{ClientError, Result};
use crate::limits;
use crate::unique_id::now_ms;

/// A push consumer.
pub(crate) struct Core {
    pub(super) me: Weak<Core>,
    pub(super) settings: Settings,
    pub(super) member: Member,
    pub(super) listener: Kind,
    pub(super) subscriptions: BTreeMap<String, Arc<Subscription>>,
    pub(super) queues: Mutex<Queues>,
    /// A queue has left.
    pub(super) left: Notify,
    /// Batches for the workers of a concurrent consumer.
    pub(super) work: WorkQueue,
    /// Listener calls that an orderly consumer may have at once.
    pub(super) turns: Semaphore,
    pub(super) lock_turns: Turns,
    held_messages: AtomicUsize,
    held_bytes: AtomicUsize,
    pub(super) paused: watch::Sender<bool>,
}

/// Queues of this member. One is in at most one of the tables.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) held: BTreeMap<MessageQueue, Arc<Owned>>,
    /// Those that are being given up.
    pub(super) leaving: BTreeMap<MessageQueue, Arc<Owned>>,
}

impl Core {
    /// Starts a consumer; returns when it has joined its group.
    pub(super) async fn start(client: Client, settings: Settings, listener: Kind) -> Result<Arc<Core>> {
        settings.check()?;
        let subscriptions = subscriptions(&settings)?;
        let member = Member::open(&client, &settings.common)?;
        let core = Arc::new_cyclic(|me| Core {
            me: me.clone(),
            turns: Semaphore::new(settings.concurrency),
            settings,
            member,
            listener,
            subscriptions,
            queues: Mutex::default(),
            left: Notify::new(),
            work: WorkQueue::default(),
            lock_turns: Turns::default(),
            held_messages: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            paused: watch::Sender::new(false),
        });
        life::start(client, &core).await?;
        Ok(core)
    }

    /// Claims that queues are locked at their broker before they are consumed.
    pub(super) fn locks(&self) -> bool {
        self.listener.is_orderly() && self.settings.common.model == Model::Clustering
    }

    /// Every queue that this member may have locked: the stop may have come between a lock and its note.
    fn lockable(&self) -> Vec<MessageQueue> {
        let routes =
            self.subscriptions.keys().filter_map(|topic| self.member.calls.client.routes.known(topic));
        let leaving = &self.queues.lock().leaving;
        let queues = routes.flat_map(|route| route.read_queues().to_vec());
        queues.filter(|queue| !leaving.contains_key(queue)).collect()
    }

    /// Offsets up to which everything is consumed, by queue.
    pub(super) fn consumed(&self) -> BTreeMap<MessageQueue, i64> {
        let queues = self.queues.lock();
        let offset =
            |(queue, owned): (&MessageQueue, &Arc<Owned>)| Some((queue.clone(), owned.consumed_to()?));
        queues.held.iter().filter_map(offset).collect()
    }

    /// Counts messages that came.
    pub(super) fn hold(&self, amount: Amount) {
        self.held_messages.fetch_add(amount.messages, Ordering::Relaxed);
        self.held_bytes.fetch_add(amount.bytes, Ordering::Relaxed);
    }

    /// Counts messages that went.
    pub(super) fn free(&self, amount: Amount) {
        self.held_messages.fetch_sub(amount.messages, Ordering::Relaxed);
        self.held_bytes.fetch_sub(amount.bytes, Ordering::Relaxed);
    }

    /// Claims that the bounds over all queues leave room for a pull.
    pub(super) fn has_room(&self) -> bool {
        self.held_messages.load(Ordering::Relaxed) <= self.settings.common.messages_max
            && self.held_bytes.load(Ordering::Relaxed) <= self.settings.bytes_max
    }
}

impl Life for Core {
    fn member(&self) -> &Member {
        &self.member
    }

    /// Learns routes, has conditions checked and tells brokers of this member.
    async fn prepare(&self) -> Result<()> {
        for (topic, subscription) in &self.subscriptions {
            match self.member.calls.client.routes.get(topic).await {
                Ok(_) if !subscription.data.is_tag() => self.member.calls.check(&subscription.data).await?,
                Ok(_) => {}
                Err(ClientError::NoRoute { .. }) if names::is_retry_topic(topic) => {}
                Err(ClientError::NoRoute { reason, .. }) => {
                    warn!(group = %self.member.calls.group, topic, reason, "topic does not exist yet");
                }
                Err(error) => return Err(error),
            }
        }
        self.member.calls.client.beat().await
    }

    fn begin(self: &Arc<Self>) {
        if let Kind::Concurrent(listener) = &self.listener {
            for _ in 0..self.settings.concurrency {
                self.member.tracker.spawn(self.clone().worker(listener.clone()));
            }
        }
        for topic in self.subscriptions.keys() {
            self.member.balancer.follow_route(topic, &self.member.tracker, &self.member.stop);
        }
        self.member.tracker.spawn(self.clone().keep_offsets());
        if self.locks() {
            // To the end of the farewell, which waits for listener calls.
            spawn_until(&self.member.tracker, &self.member.stopped, self.clone().keep_locks());
        }
    }

    /// Waits for listener calls, stores offsets, gives up locks. New listener calls and pulls have ended
    /// with the stop signal.
    async fn farewell(&self) {
        let held: Vec<Arc<Owned>> = self.queues.lock().held.values().cloned().collect();
        let wait = self.settings.stop_wait;
        let quiet = join_all(held.iter().map(|owned| owned.quiet(wait))).await;
        if quiet.contains(&false) {
            let group = &self.member.calls.group;
            warn!(%group, ?wait, "listener calls still run: their messages come again");
        }
        for owned in &held {
            owned.release();
        }
        self.store(&held, limits::LAST_COMMIT_PATIENCE).await;
        for owned in &held {
            owned.let_lock_go();
        }
        if self.locks() {
            // A call that still runs keeps the next member out for as long as the broker keeps the lock.
            let busy = held.iter().zip(quiet).filter(|(_, quiet)| !quiet);
            let busy: BTreeSet<&MessageQueue> = busy.map(|(owned, _)| &*owned.queue).collect();
            let mut queues = self.lockable();
            queues.retain(|queue| !busy.contains(queue));
            self.unlock(queues).await;
        }
        let all_left = until(&self.left, || self.queues.lock().leaving.is_empty());
        let _ = timeout(wait, all_left).await;
        self.work.close();
        self.queues.lock().held.clear();
    }
}

/// The subscriptions of a consumer; a clustering one also has its group's retry topic.
fn subscriptions(settings: &Settings) -> Result<BTreeMap<String, Arc<Subscription>>> {
    let version = now_ms();
    let mut subscriptions = BTreeMap::new();
    for (topic, expression) in &settings.common.subscriptions {
        names::check_topic(topic).map_err(|error| ClientError::Invalid(format!("topic {topic}: {error}")))?;
        subscriptions.insert(topic.clone(), Arc::new(Subscription::new(topic, expression, version)?));
    }
    if settings.common.model == Model::Clustering {
        let topic = names::retry_topic(&settings.common.group);
        let retry = Subscription::new(&topic, &Expression::All, version)?;
        subscriptions.insert(topic, Arc::new(retry));
    }
    Ok(subscriptions)
}
