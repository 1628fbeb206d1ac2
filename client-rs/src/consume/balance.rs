//! Keeps a consumer's queues what its group's strategy says.
//!
//! A round asks for the members of the group, shares out the queues of each topic, gives up what is no longer this member's
//! and takes what is. Rounds come every 20 s, on a notice of the broker, when the queues of a route change, and soon again
//! after one that could not be finished. Without a list of members a topic stays as it is.
//! Source: RocketMQ 5.3 RebalanceImpl, RebalanceService.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::names;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::Model;
use super::allocate::Allocation;
use super::calls::Calls;
use crate::client::spawn_until;
use crate::error::{ClientError, Result};
use crate::limits;
use crate::metrics::Event;
use crate::routes::TopicRoute;

/// Who has the queues.
pub(crate) trait Holder: Send + Sync + 'static {
    /// Topics that are subscribed.
    fn topics(&self) -> Vec<String>;
    /// Queues of a topic that it has.
    fn held(&self, topic: &str) -> BTreeSet<MessageQueue>;
    /// Queues that it has no more; returns at once.
    fn give_up(&self, queues: Vec<MessageQueue>);
    /// New queues. `contested`: there are other members, one of which may be giving them up just now. Tells whether it has
    /// taken all; those that it has not are offered again soon.
    fn take(&self, queues: Vec<MessageQueue>, contested: bool) -> impl Future<Output = bool> + Send;
}

/// Shares out the queues of a group.
pub(crate) struct Balancer {
    pub(crate) calls: Calls,
    pub(crate) model: Model,
    pub(crate) strategy: Arc<dyn Allocation>,
    /// A round is wanted now.
    pub(crate) now: Notify,
}

/// Members by broker name, asked for once a round; `None` for one that could not tell.
type Members = HashMap<String, Option<Vec<String>>>;

impl Balancer {
    pub(crate) fn new(calls: Calls, model: Model, strategy: Arc<dyn Allocation>) -> Balancer {
        Balancer { calls, model, strategy, now: Notify::new() }
    }

    /// Rounds for ever.
    pub(crate) async fn run(&self, holder: &impl Holder) {
        let mut pause = limits::REBALANCE_PAUSE_MIN;
        loop {
            let wait = if self.round(holder).await {
                pause = limits::REBALANCE_PAUSE_MIN;
                limits::REBALANCE_INTERVAL
            } else {
                let wait = pause;
                pause = (pause * 2).min(limits::REBALANCE_INTERVAL);
                wait
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.now.notified() => pause = limits::REBALANCE_PAUSE_MIN,
            }
        }
    }

    /// Wants a round whenever the queues of a topic change, until `stop`.
    pub(crate) fn follow_route(
        self: &Arc<Self>,
        topic: &str,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let this = self.clone();
        let mut route = self.calls.client.routes.watch(topic);
        spawn_until(tracker, stop, async move {
            let queues = |route: &Option<Arc<TopicRoute>>| {
                route.as_ref().map(|route| route.read_queues().to_vec()).unwrap_or_default()
            };
            let mut known = queues(&route.borrow_and_update());
            while route.changed().await.is_ok() {
                let new = queues(&route.borrow_and_update());
                if new != known {
                    known = new;
                    this.now.notify_one();
                }
            }
        });
    }

    /// One round over all topics; tells whether all is as it should be.
    async fn round(&self, holder: &impl Holder) -> bool {
        let mut finished = true;
        let mut members = Members::new();
        for topic in holder.topics() {
            match self.balance(holder, &topic, &mut members).await {
                Ok(done) => finished &= done,
                // A group's retry topic comes with its first heartbeat, or later.
                Err(error) if names::is_retry_topic(&topic) => {
                    debug!(group = %self.calls.group, topic, %error, "retry topic not shared out yet");
                    finished = false;
                }
                Err(error) => {
                    warn!(group = %self.calls.group, topic, %error, "topic not shared out: its queues stay");
                    finished = false;
                }
            }
        }
        finished
    }

    async fn balance(&self, holder: &impl Holder, topic: &str, members: &mut Members) -> Result<bool> {
        let route = self.calls.client.routes.get(topic).await?;
        let queues = route.read_queues();
        let (mine, contested) = match self.model {
            Model::Broadcasting => (queues.to_vec(), false),
            Model::Clustering => {
                let members = self.members(topic, &route, members).await?;
                let me = &self.calls.client.client_id;
                let mine = if queues.is_empty() {
                    Vec::new()
                } else {
                    self.strategy.allocate(me, queues, members).map_err(ClientError::Invalid)?
                };
                (mine, members.len() > 1)
            }
        };
        let mine: BTreeSet<MessageQueue> = mine.into_iter().collect();
        let held = holder.held(topic);
        if mine == held {
            return Ok(true);
        }
        let lost: Vec<MessageQueue> = held.difference(&mine).cloned().collect();
        let new: Vec<MessageQueue> = mine.difference(&held).cloned().collect();
        info!(group = %self.calls.group, topic, ?lost, ?new, "queues change");
        if !lost.is_empty() {
            holder.give_up(lost);
        }
        let all = new.is_empty() || holder.take(new, contested).await;
        let group = &*self.calls.group;
        self.calls.client.metrics.event(Event::Rebalanced { group, topic, queues: holder.held(topic).len() });
        // Brokers that are new to this client must hear of its members.
        self.calls.client.beat_soon();
        Ok(all)
    }

    /// Members, as the first broker name tells that can; all of a topic are told of all members by their heartbeats.
    async fn members<'a>(
        &self,
        topic: &str,
        route: &TopicRoute,
        known: &'a mut Members,
    ) -> Result<&'a [String]> {
        let mut why =
            ClientError::NoRoute { topic: topic.to_owned(), reason: "no broker tells of members".into() };
        for broker_name in route.brokers().keys() {
            if !known.contains_key(broker_name) {
                let list = match self.members_at(topic, broker_name).await {
                    Ok(list) => Some(list),
                    Err(error) => {
                        debug!(group = %self.calls.group, broker_name, %error, "members not told");
                        why = error;
                        None
                    }
                };
                known.insert(broker_name.clone(), list);
            }
            if let Some(Some(_)) = known.get(broker_name) {
                // Looked up again: a borrow that is returned would last over the whole loop.
                return Ok(known[broker_name].as_deref().unwrap_or_default());
            }
        }
        Err(why)
    }

    /// Members, sorted as every member sorts them.
    async fn members_at(&self, topic: &str, broker_name: &str) -> Result<Vec<String>> {
        let me = &self.calls.client.client_id;
        let mut list = match self.calls.members(topic, broker_name).await {
            Ok(list) if list.contains(me) => list,
            Err(error) if error.code().is_none() => return Err(error),
            // The broker has forgotten this client, or never heard of it.
            Ok(_) | Err(_) => {
                self.calls.client.beat().await?;
                self.calls.members(topic, broker_name).await?
            }
        };
        // Java compares UTF-16 units.
        list.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        Ok(list)
    }
}
