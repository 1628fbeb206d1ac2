//! The task of a queue: finds where it starts, then pulls for as long as there is room.
//! Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.pullMessage.

use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::names;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::core::Core;
use super::owned::Owned;
use super::process_queue::Amount;
use crate::consume::Model;
use crate::consume::calls::Start;
use crate::consume::pulling::{Pulled, Puller, Wish};
use crate::limits;
use crate::metrics::Event;
use crate::received::ReceivedMessage;

impl Core {
    /// Pulls a queue until it is dropped.
    pub(super) async fn pull_queue(self: Arc<Self>, owned: Arc<Owned>, contested: bool) {
        tokio::select! {
            () = owned.dropped.cancelled() => {}
            () = self.pull_for_ever(&owned, contested) => {}
        }
    }

    async fn pull_for_ever(&self, owned: &Arc<Owned>, contested: bool) {
        if contested && !self.locks() {
            sleep(limits::TAKE_WAIT).await;
        }
        let start = self.where_to_start(owned).await;
        debug!(group = %self.member.calls.group, queue = ?owned.queue, ?start, "queue begins");
        owned.start_at(start.offset, start.stored);
        let mut puller = Puller::new(self.member.calls.clone(), owned.queue.clone(), false);
        loop {
            self.wait_for_room(owned).await;
            let offset = owned.process.lock().next();
            let wish = Wish {
                subscription: &owned.subscription,
                offset,
                messages_max: self.settings.common.pull_batch_size,
                commit: match self.settings.common.model {
                    Model::Clustering => owned.consumed_to().filter(|offset| *offset > 0),
                    Model::Broadcasting => None,
                },
            };
            let began = Instant::now();
            match puller.pull(&wish).await {
                Ok(Pulled::Messages { messages, next }) => {
                    self.arrived(owned, messages, next, began.elapsed());
                    if !self.settings.pull_interval.is_zero() {
                        sleep(self.settings.pull_interval).await;
                    }
                }
                Ok(Pulled::Nothing { next }) => {
                    owned.process.lock().advance(next);
                    owned.note_answer();
                }
                Ok(Pulled::OffsetMoved { next }) => {
                    warn!(group = %self.member.calls.group, queue = ?owned.queue, offset, next,
                        "offset is not within the queue: it is corrected");
                    // What was pulled and is not consumed yet may be nowhere else any more.
                    self.until_empty(owned).await;
                    self.move_soon(vec![((*owned.queue).clone(), next)], Duration::ZERO);
                    // The move drops this queue and takes it anew.
                    return std::future::pending().await;
                }
                Err(error) => {
                    if names::is_retry_topic(&owned.queue.topic) {
                        debug!(group = %self.member.calls.group, queue = ?owned.queue, %error, "pull failed");
                    } else {
                        warn!(group = %self.member.calls.group, queue = ?owned.queue, %error, "pull failed");
                    }
                    puller.recover(&error).await;
                }
            }
        }
    }

    async fn where_to_start(&self, owned: &Owned) -> Start {
        let mut pause = limits::REBALANCE_PAUSE_MIN;
        loop {
            match self.member.offsets.start(&owned.queue, self.settings.common.consume_from).await {
                Ok(start) => return start,
                Err(error) => {
                    warn!(group = %self.member.calls.group, queue = ?owned.queue, %error, "offset not known yet");
                    sleep(pause).await;
                    pause = (pause * 2).min(limits::PULL_PAUSE_REFUSED);
                }
            }
        }
    }

    /// Waits until the consumer is not paused, the bounds leave room, and the queue is locked if it must be.
    async fn wait_for_room(&self, owned: &Owned) {
        let settings = &self.settings;
        loop {
            if *self.paused.borrow() {
                let mut paused = self.paused.subscribe();
                let _ = paused.wait_for(|paused| !paused).await;
                continue;
            }
            let (held, span) = {
                let process = owned.process.lock();
                (process.held(), process.span())
            };
            let full = held.messages > settings.common.queue_messages_max
                || held.bytes > settings.common.queue_bytes_max
                || (!self.listener.is_orderly() && span > settings.span_max)
                || (self.locks() && !owned.is_locked());
            if full {
                // Wakes when something of this queue was consumed, or when it is locked; a lock also expires by itself.
                let _ = tokio::time::timeout(limits::LOCK_PAUSE, owned.room.notified()).await;
            } else if !self.has_room() {
                sleep(limits::FLOW_CONTROL_PAUSE).await;
            } else {
                return;
            }
        }
    }

    /// Waits until everything that is held of a queue is consumed.
    async fn until_empty(&self, owned: &Owned) {
        while owned.process.lock().held() != Amount::default() {
            // Wakes when something was consumed; others may have been woken for it.
            let _ = tokio::time::timeout(limits::LOCK_PAUSE, owned.room.notified()).await;
        }
    }

    /// Messages came: they wait for a listener call.
    fn arrived(&self, owned: &Arc<Owned>, mut messages: Vec<ReceivedMessage>, next: i64, took: Duration) {
        let new = {
            let mut process = owned.process.lock();
            // Whoever releases a queue clears it behind that.
            if owned.is_released() {
                return;
            }
            let new = process.put(&mut messages, next);
            if self.listener.is_orderly() {
                process.wait(std::mem::take(&mut messages));
            }
            // Counted before the queue is let go of: whoever consumes or forgets them takes off as much.
            self.hold(new);
            new
        };
        owned.note_answer();
        if new == Amount::default() {
            return;
        }
        owned.stats.pulled(new.messages, took);
        let (topic, group) = (owned.queue.topic.as_str(), &*self.member.calls.group);
        let event = Event::Received { topic, group, messages: new.messages, bytes: new.bytes };
        self.member.calls.client.metrics.event(event);
        if self.listener.is_orderly() {
            owned.arrived.notify_one();
        } else {
            self.work.push(owned, messages, self.settings.consume_batch_size);
        }
    }
}
