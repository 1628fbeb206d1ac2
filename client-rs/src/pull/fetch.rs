//! The task of a queue: fetches ahead within the bounds. Source: RocketMQ 5.3 DefaultLitePullConsumerImpl.PullTaskImpl.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::assigned::Next;
use super::core::{Assigned, Core, Mode};
use crate::consume::pulling::{Pulled, Puller, Wish};
use crate::limits;
use crate::metrics::Event;
use crate::received::ReceivedMessage;
use crate::unique_id::now_ms;

impl Core {
    /// Fetches a queue until it is dropped.
    pub(super) async fn fetch_queue(self: Arc<Self>, assigned: Arc<Assigned>, contested: bool) {
        tokio::select! {
            () = assigned.dropped.cancelled() => {}
            () = self.fetch_for_ever(&assigned, contested) => {}
        }
    }

    async fn fetch_for_ever(&self, assigned: &Arc<Assigned>, contested: bool) {
        if contested {
            // The queue's owner until now may be storing its offset.
            sleep(limits::TAKE_WAIT).await;
        }
        // This consumer may have had it before, and its offset may be under way.
        self.until_left(&assigned.queue).await;
        self.find_start(assigned).await;
        if let Mode::Assigned = *self.mode.lock() {
            // The first to talk to this broker, which must hear of its members; of queues that the group shares out the
            // balancer tells it.
            self.member.calls.client.beat_soon();
        }
        let mut puller = Puller::new(self.member.calls.clone(), assigned.queue.clone(), true);
        loop {
            let next = self.wait_for_room(assigned).await;
            let began = Instant::now();
            let fetched = match self.subscription(&assigned.queue.topic) {
                Ok(subscription) => {
                    let wish = Wish {
                        subscription: &subscription,
                        offset: next.offset,
                        messages_max: self.settings.common.pull_batch_size,
                        commit: None,
                    };
                    tokio::select! {
                        fetched = puller.pull(&wish) => fetched,
                        () = self.sought(assigned, next) => continue,
                    }
                }
                Err(error) => Err(error),
            };
            assigned.last_pull_ms.store(now_ms(), Ordering::Relaxed);
            match fetched {
                Ok(Pulled::Messages { messages, next: behind }) => {
                    if !messages.is_empty() {
                        let stats = self.member.stats.topic(&assigned.queue.topic);
                        stats.pulled(messages.len(), began.elapsed());
                    }
                    self.fetched(assigned, next, messages, behind);
                }
                Ok(Pulled::Nothing { next: behind }) => self.fetched(assigned, next, Vec::new(), behind),
                Ok(Pulled::OffsetMoved { next: behind }) => {
                    warn!(group = %self.member.calls.group, queue = ?assigned.queue, offset = next.offset, next = behind,
                        "offset is not within the queue: it is corrected");
                    self.fetched(assigned, next, Vec::new(), behind);
                }
                Err(error) => {
                    warn!(group = %self.member.calls.group, queue = ?assigned.queue, %error, "pull failed");
                    puller.recover(&error).await;
                }
            }
        }
    }

    async fn find_start(&self, assigned: &Assigned) {
        let mut pause = limits::REBALANCE_PAUSE_MIN;
        while assigned.state.lock().next().is_none() {
            match self.member.offsets.start(&assigned.queue, self.settings.common.consume_from).await {
                Ok(start) => {
                    debug!(group = %self.member.calls.group, queue = ?assigned.queue, ?start, "queue begins");
                    assigned.state.lock().start_at(start.offset, start.stored);
                }
                Err(error) => {
                    warn!(group = %self.member.calls.group, queue = ?assigned.queue, %error, "offset not known yet");
                    // A seek also tells where to start.
                    let _ = tokio::time::timeout(pause, assigned.changed.notified()).await;
                    pause = (pause * 2).min(limits::PULL_PAUSE_REFUSED);
                }
            }
        }
    }

    /// Waits until the queue is not paused and the bounds leave room; gives what to fetch.
    async fn wait_for_room(&self, assigned: &Assigned) -> Next {
        loop {
            let (next, paused, (messages, bytes)) = {
                let state = assigned.state.lock();
                (state.next(), state.paused, state.ahead())
            };
            let settings = &self.settings;
            let full =
                messages > settings.common.queue_messages_max || bytes > settings.common.queue_bytes_max;
            match next {
                Some(next) if !paused && !full => {
                    if self.ahead.load(Ordering::Relaxed) <= settings.common.messages_max {
                        return next;
                    }
                    sleep(limits::FLOW_CONTROL_PAUSE).await;
                }
                _ => assigned.changed.notified().await,
            }
        }
    }

    /// Returns when a seek has made what is being fetched useless.
    async fn sought(&self, assigned: &Assigned, asked: Next) {
        while assigned.state.lock().next().is_some_and(|next| next.epoch == asked.epoch) {
            assigned.changed.notified().await;
        }
    }

    fn fetched(&self, assigned: &Arc<Assigned>, asked: Next, messages: Vec<ReceivedMessage>, next: i64) {
        let count = messages.len();
        let bytes = messages.iter().map(|message| message.body().len()).sum();
        // Counted first: a poll may take them as soon as they are there.
        self.ahead.fetch_add(count, Ordering::Relaxed);
        let kept = {
            let mut state = assigned.state.lock();
            // Whoever drops a queue clears it behind that.
            !assigned.dropped.is_cancelled() && state.put(asked, messages, next)
        };
        if !kept {
            return self.note_taken(count);
        }
        if count > 0 {
            let (topic, group) = (assigned.queue.topic.as_str(), &*self.member.calls.group);
            self.member.calls.client.metrics.event(Event::Received { topic, group, messages: count, bytes });
            self.line_up(assigned);
        }
    }
}
