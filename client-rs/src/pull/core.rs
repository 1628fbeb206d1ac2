//! What the tasks of a pull consumer share, its life from start to farewell, and its queues.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::names;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::assigned::State;
use super::settings::Settings;
use crate::client::Client;
use crate::consume::balance::Holder;
use crate::consume::life::{self, Life, Member};
use crate::consume::waiting::until;
use crate::consume::{Expression, Subscription};
use crate::error::{ClientError, Result};
use crate::limits;
use crate::unique_id::now_ms;

/// A queue of this consumer.
pub(crate) struct Assigned {
    pub(crate) queue: Arc<MessageQueue>,
    pub(crate) state: Mutex<State>,
    /// The task of the queue has something to look at: room, a seek, a resume.
    pub(crate) changed: Notify,
    pub(crate) dropped: CancellationToken,
    pub(crate) last_pull_ms: AtomicI64,
}

/// Who decides on the queues.
pub(crate) enum Mode {
    /// Not known yet.
    Open,
    /// The group.
    Subscribed(BTreeMap<String, Arc<Subscription>>),
    /// The application.
    Assigned,
}

/// A pull consumer.
pub(crate) struct Core {
    pub(super) me: Weak<Core>,
    pub(super) settings: Settings,
    pub(super) member: Member,
    pub(super) mode: Mutex<Mode>,
    pub(super) queues: Mutex<BTreeMap<MessageQueue, Arc<Assigned>>>,
    /// Queues that were given up and whose offsets are being committed, with how often that is so.
    leaving: Mutex<BTreeMap<MessageQueue, usize>>,
    /// A queue has left.
    left: Notify,
    /// Held while queues are assigned, so that two calls at once don't both take one.
    assigning: Mutex<()>,
    /// Queues with messages for polls, each once. One that is gone, or has lost its messages by a seek, is stepped over.
    pub(super) ready: Mutex<VecDeque<Arc<Assigned>>>,
    /// Something became ready.
    pub(super) arrived: Notify,
    /// Messages fetched ahead, over all queues.
    pub(super) ahead: AtomicUsize,
    pub(super) auto_commit_due: Mutex<Instant>,
    /// Whether the application has ended it by a shutdown: what polls gave is consumed then.
    pub(super) all_consumed: AtomicBool,
}

impl Core {
    /// Starts a consumer; returns when it has joined its group.
    pub(super) async fn start(client: Client, settings: Settings) -> Result<Arc<Core>> {
        settings.check()?;
        let member = Member::open(&client, &settings.common)?;
        let core = Arc::new_cyclic(|me| Core {
            me: me.clone(),
            auto_commit_due: Mutex::new(Instant::now() + settings.auto_commit_interval),
            settings,
            member,
            mode: Mutex::new(Mode::Open),
            queues: Mutex::default(),
            leaving: Mutex::default(),
            left: Notify::new(),
            assigning: Mutex::default(),
            ready: Mutex::default(),
            arrived: Notify::new(),
            ahead: AtomicUsize::new(0),
            all_consumed: AtomicBool::new(false),
        });
        life::start(client, &core).await?;
        Ok(core)
    }

    /// Adds or replaces a subscription.
    pub(super) async fn subscribe(&self, topic: &str, expression: &Expression) -> Result<()> {
        names::check_topic(topic).map_err(|error| ClientError::Invalid(format!("topic {topic}: {error}")))?;
        let subscription = Subscription::new(topic, expression, now_ms())?;
        match self.member.calls.client.routes.get(topic).await {
            Ok(_) if !subscription.data.is_tag() => self.member.calls.check(&subscription.data).await?,
            Ok(_) => {}
            Err(ClientError::NoRoute { reason, .. }) => {
                warn!(group = %self.member.calls.group, topic, reason, "topic does not exist yet");
            }
            Err(error) => return Err(error),
        }
        let known = {
            let mut mode = self.mode.lock();
            if let Mode::Open = *mode {
                *mode = Mode::Subscribed(BTreeMap::new());
            }
            match &mut *mode {
                Mode::Subscribed(subscriptions) => {
                    subscriptions.insert(topic.to_owned(), Arc::new(subscription)).is_some()
                }
                Mode::Open | Mode::Assigned => {
                    return Err(ClientError::Invalid(
                        "queues were assigned: subscribing is of no use".into(),
                    ));
                }
            }
        };
        if !known {
            self.member.balancer.follow_route(topic, &self.member.tracker, &self.member.stop);
        }
        self.member.calls.client.beat_soon();
        self.member.balancer.now.notify_one();
        Ok(())
    }

    /// Takes exactly these queues.
    pub(super) fn assign(&self, queues: Vec<MessageQueue>) -> Result<()> {
        if self.member.stop.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        {
            let mut mode = self.mode.lock();
            if let Mode::Subscribed(_) = *mode {
                return Err(ClientError::Invalid("topics are subscribed: assigning is of no use".into()));
            }
            *mode = Mode::Assigned;
        }
        let _assigning = self.assigning.lock();
        let wanted: BTreeSet<MessageQueue> = queues.into_iter().collect();
        let held: BTreeSet<MessageQueue> = self.queues.lock().keys().cloned().collect();
        self.give_up(held.difference(&wanted).cloned().collect());
        for queue in wanted.difference(&held) {
            self.add(queue.clone(), false);
        }
        Ok(())
    }

    /// The subscription of a topic; everything for queues that the application chose.
    pub(super) fn subscription(&self, topic: &str) -> Result<Arc<Subscription>> {
        if let Mode::Subscribed(subscriptions) = &*self.mode.lock()
            && let Some(subscription) = subscriptions.get(topic)
        {
            return Ok(subscription.clone());
        }
        Subscription::new(topic, &Expression::All, self.member.started_ms).map(Arc::new)
    }

    /// A queue of this consumer.
    pub(super) fn queue(&self, queue: &MessageQueue) -> Option<Arc<Assigned>> {
        self.queues.lock().get(queue).cloned()
    }

    fn add(&self, queue: MessageQueue, contested: bool) {
        let Some(me) = self.me.upgrade() else { return };
        let assigned = Arc::new(Assigned {
            queue: Arc::new(queue.clone()),
            state: Mutex::default(),
            changed: Notify::new(),
            dropped: self.member.stop.child_token(),
            last_pull_ms: AtomicI64::new(now_ms()),
        });
        self.queues.lock().insert(queue, assigned.clone());
        self.member.tracker.spawn(me.fetch_queue(assigned, contested));
    }

    /// Waits until no offset of a queue is being committed that this consumer had before. Safe to drop.
    pub(super) async fn until_left(&self, queue: &MessageQueue) {
        until(&self.left, || !self.leaving.lock().contains_key(queue)).await;
    }

    /// Commits offsets of queues that were given up.
    async fn leave(&self, lost: Vec<Arc<Assigned>>) {
        if let Err(error) = self.commit(&lost, false, limits::LAST_COMMIT_PATIENCE).await {
            warn!(group = %self.member.calls.group, %error, "offsets of queues given up not committed");
        }
        let mut leaving = self.leaving.lock();
        for assigned in &lost {
            if let Some(count) = leaving.get_mut(&*assigned.queue) {
                *count -= 1;
                if *count == 0 {
                    leaving.remove(&*assigned.queue);
                }
            }
        }
        drop(leaving);
        self.left.notify_waiters();
    }

    /// Puts a queue in line for polls, if it has something and does not stand there.
    pub(super) fn line_up(&self, assigned: &Arc<Assigned>) {
        {
            let mut state = assigned.state.lock();
            if state.in_line || !state.is_ready() {
                return;
            }
            state.in_line = true;
        }
        self.ready.lock().push_back(assigned.clone());
        self.arrived.notify_one();
    }

    /// Counts messages that are fetched ahead no more.
    pub(super) fn note_taken(&self, messages: usize) {
        self.ahead.fetch_sub(messages, Ordering::Relaxed);
    }
}

impl Life for Core {
    fn member(&self) -> &Member {
        &self.member
    }

    async fn prepare(&self) -> Result<()> {
        for (topic, expression) in &self.settings.common.subscriptions {
            self.subscribe(topic, expression).await?;
        }
        self.member.calls.client.beat().await
    }

    fn begin(self: &Arc<Self>) {}

    async fn farewell(&self) {
        if self.settings.auto_commit {
            let queues: Vec<Arc<Assigned>> = self.queues.lock().values().cloned().collect();
            // Of one that was dropped, perhaps by a failure or a panic, the application may still be at the latest messages.
            let everything = self.all_consumed.load(Ordering::SeqCst);
            if let Err(error) = self.commit(&queues, everything, limits::LAST_COMMIT_PATIENCE).await {
                warn!(group = %self.member.calls.group, %error, "offsets not committed at the end");
            }
            let all_left = until(&self.left, || self.leaving.lock().is_empty());
            let _ = timeout(limits::LAST_COMMIT_PATIENCE, all_left).await;
        }
    }
}

impl Holder for Core {
    fn topics(&self) -> Vec<String> {
        match &*self.mode.lock() {
            Mode::Subscribed(subscriptions) => subscriptions.keys().cloned().collect(),
            Mode::Open | Mode::Assigned => Vec::new(),
        }
    }

    fn held(&self, topic: &str) -> BTreeSet<MessageQueue> {
        self.queues.lock().keys().filter(|queue| queue.topic == topic).cloned().collect()
    }

    fn give_up(&self, queues: Vec<MessageQueue>) {
        let Some(me) = self.me.upgrade() else { return };
        let mut lost = Vec::new();
        for name in &queues {
            let Some(assigned) = self.queues.lock().remove(name) else { continue };
            assigned.dropped.cancel();
            let dropped = assigned.state.lock().clear();
            self.note_taken(dropped);
            lost.push(assigned);
        }
        if self.settings.auto_commit && !lost.is_empty() {
            let mut leaving = self.leaving.lock();
            for assigned in &lost {
                *leaving.entry((*assigned.queue).clone()).or_default() += 1;
            }
            drop(leaving);
            self.member.tracker.spawn(async move { me.leave(lost).await });
        }
    }

    async fn take(&self, queues: Vec<MessageQueue>, contested: bool) -> bool {
        for queue in queues {
            self.add(queue, contested);
        }
        true
    }
}
