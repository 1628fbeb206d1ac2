//! Listener calls of concurrent consumers, and what becomes of the messages.
//! Source: RocketMQ 5.3 ConsumeMessageConcurrentlyService.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, debug, debug_span, warn};

use super::Outcome;
use super::core::Core;
use super::listener::{Listener, Verdict};
use super::owned::Owned;
use super::work::Batch;
use crate::consume::Model;
use crate::limits;
use crate::metrics::Event;
use crate::received::ReceivedMessage;

/// Attempts after the first before a message is a dead letter. Source: RocketMQ 5.3
/// DefaultMQPushConsumerImpl.getMaxReconsumeTimes.
const MAX_RECONSUME_TIMES: i32 = 16;

impl Core {
    /// Works until the farewell.
    pub(super) async fn worker(self: Arc<Self>, listener: Arc<Listener>) {
        while let Some(batch) = self.work.next().await {
            self.consume(&listener, batch).await;
        }
    }

    async fn consume(&self, listener: &Arc<Listener>, batch: Batch) {
        let Batch { owned, messages } = batch;
        let Some(_running) = owned.enter() else { return };
        let began = Instant::now();
        let span = debug_span!("consume", topic = %owned.queue.topic, queue_id = owned.queue.queue_id, count = messages.len());
        let given = messages.clone();
        let call = guarded(|| listener(given)).instrument(span);
        let verdict = match timeout(self.settings.consume_timeout, call).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(panic)) => {
                warn!(group = %self.member.calls.group, queue = ?owned.queue, panic, "listener panicked");
                Verdict::Decided(Outcome::Retry)
            }
            Err(_) => {
                let limit = self.settings.consume_timeout;
                warn!(group = %self.member.calls.group, queue = ?owned.queue, ?limit, "listener call given up");
                Verdict::Decided(Outcome::RetryAtLevel(limits::TIMED_OUT_LEVEL))
            }
        };
        let Verdict::Decided(outcome) = verdict else { return };
        let ok = match outcome {
            Outcome::Success => messages.len(),
            Outcome::Partly(consumed) => consumed.min(messages.len()),
            Outcome::Retry | Outcome::RetryAtLevel(_) | Outcome::DeadLetter => 0,
        };
        self.note_consumed(&owned, ok, messages.len() - ok, began.elapsed());
        if owned.is_released() {
            debug!(queue = ?owned.queue, "the queue has gone: messages come again at its next owner");
            return;
        }
        self.settle(&owned, messages, ok, outcome).await;
    }

    /// The first `ok` messages are consumed; the others are handed back, or wait here to be given to the listener again.
    async fn settle(
        &self,
        owned: &Arc<Owned>,
        mut messages: Vec<ReceivedMessage>,
        ok: usize,
        outcome: Outcome,
    ) {
        let failed = messages.split_off(ok);
        self.finish(owned, &messages);
        if failed.is_empty() {
            return;
        }
        if self.settings.common.model == Model::Broadcasting {
            let offsets: Vec<i64> = failed.iter().map(ReceivedMessage::queue_offset).collect();
            warn!(group = %self.member.calls.group, queue = ?owned.queue, ?offsets, "not consumed, and broadcast messages come only once");
            return self.finish(owned, &failed);
        }
        let level = match outcome {
            Outcome::RetryAtLevel(level) => i32::try_from(level).unwrap_or(i32::MAX),
            Outcome::DeadLetter => -1,
            Outcome::Success | Outcome::Partly(_) | Outcome::Retry => 0,
        };
        let handed_back = failed.iter().map(|message| self.hand_back(owned, message, level));
        let handed_back = join_all(handed_back).await;
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        for (message, handed_back) in failed.into_iter().zip(handed_back) {
            if handed_back { gone.push(message) } else { left.push(message) }
        }
        self.finish(owned, &gone);
        self.again_here(owned, left);
    }

    async fn hand_back(&self, owned: &Owned, message: &ReceivedMessage, level: i32) -> bool {
        if !owned.process.lock().holds(message.queue_offset()) {
            return true;
        }
        let times = self.settings.max_reconsume_times;
        let max = times.map_or(MAX_RECONSUME_TIMES, |times| i32::try_from(times).unwrap_or(i32::MAX));
        match self.member.calls.send_back(message, level, max).await {
            Ok(()) => true,
            Err(error) => {
                warn!(group = %self.member.calls.group, queue = ?owned.queue, queue_offset = message.queue_offset(), %error,
                    "message can't be handed back: the listener gets it again");
                false
            }
        }
    }

    /// Gives messages to the listener again after a pause.
    fn again_here(&self, owned: &Arc<Owned>, mut messages: Vec<ReceivedMessage>) {
        if messages.is_empty() {
            return;
        }
        for message in &mut messages {
            message.set_reconsume_times(message.reconsume_times().saturating_add(1));
        }
        let (me, owned) = (self.me.clone(), owned.clone());
        self.member.tracker.spawn(async move {
            tokio::select! {
                () = owned.dropped.cancelled() => {}
                () = sleep(limits::LOCAL_RETRY_PAUSE) => if let Some(core) = me.upgrade() {
                    core.work.push(&owned, messages, core.settings.consume_batch_size);
                },
            }
        });
    }

    /// These messages are consumed.
    pub(super) fn finish(&self, owned: &Owned, messages: &[ReceivedMessage]) {
        let freed = owned.process.lock().finish(messages.iter().map(ReceivedMessage::queue_offset));
        self.free(freed);
        owned.note_consumed();
    }

    /// Counts a listener call.
    pub(super) fn note_consumed(&self, owned: &Owned, ok: usize, failed: usize, took: Duration) {
        owned.stats.consumed(ok, failed, took);
        let (topic, group) = (owned.queue.topic.as_str(), &*self.member.calls.group);
        for (messages, ok) in [(ok, true), (failed, false)] {
            if messages > 0 {
                self.member.calls.client.metrics.event(Event::Consumed { topic, group, messages, took, ok });
            }
        }
    }
}

/// The result of a listener call, or the text of its panic.
pub(super) async fn guarded<T>(call: impl FnOnce() -> BoxFuture<'static, T>) -> Result<T, String> {
    // What the listener left half done is its own; nothing of this crate is borrowed by it.
    let outcome = AssertUnwindSafe(async { call().await }).catch_unwind().await;
    outcome.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            panic.downcast_ref::<&str>().map_or_else(|| "no text".to_owned(), |text| (*text).to_owned())
        }
    })
}
