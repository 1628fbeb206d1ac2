//! Listener calls of orderly consumers: one batch of a queue at a time, under its lock.
//! Source: RocketMQ 5.3 ConsumeMessageOrderlyService.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{Instrument, debug_span, warn};

use super::OrderlyOutcome;
use super::core::Core;
use super::listener::OrderlyListener;
use super::owned::Owned;
use super::workers::guarded;
use crate::limits;
use crate::received::ReceivedMessage;

/// Shortest and longest pause of a queue. Source: ConsumeMessageOrderlyService.submitConsumeRequestLater.
const SUSPEND_MIN: Duration = Duration::from_millis(10);
const SUSPEND_MAX: Duration = Duration::from_secs(30);

impl Core {
    /// Gives the messages of a queue to the listener until the queue is dropped. A call that runs then is waited for.
    pub(super) async fn consume_queue(self: Arc<Self>, owned: Arc<Owned>, listener: Arc<OrderlyListener>) {
        while !owned.dropped.is_cancelled() {
            if !owned.process.lock().has_waiting() {
                tokio::select! {
                    () = owned.dropped.cancelled() => return,
                    () = owned.arrived.notified() => {}
                }
                continue;
            }
            let pause = tokio::select! {
                () = owned.dropped.cancelled() => return,
                turn = self.turns.acquire() => {
                    if turn.is_err() {
                        return;
                    }
                    // The turn is held over the call, which is not cancelled: see `consume_next`.
                    self.consume_next(&owned, &listener).await
                }
            };
            if !pause.is_zero() {
                tokio::select! {
                    () = owned.dropped.cancelled() => return,
                    () = sleep(pause) => {}
                }
            }
        }
    }

    /// One listener call; gives the pause before the next one.
    async fn consume_next(&self, owned: &Arc<Owned>, listener: &Arc<OrderlyListener>) -> Duration {
        if self.locks() && !owned.is_locked() {
            // A lock that has grown old: another member may have the queue by now.
            self.lock(std::slice::from_ref(owned)).await;
            return if owned.is_locked() { Duration::ZERO } else { limits::LOCK_PAUSE };
        }
        let Some(_running) = owned.enter() else { return Duration::ZERO };
        let messages = owned.process.lock().take(self.settings.consume_batch_size);
        let began = Instant::now();
        let given = messages.clone();
        let span = debug_span!("consume", topic = %owned.queue.topic, queue_id = owned.queue.queue_id, count = messages.len());
        let outcome = match guarded(|| listener(given)).instrument(span).await {
            Ok(outcome) => outcome,
            Err(panic) => {
                warn!(group = %self.member.calls.group, queue = ?owned.queue, panic, "listener panicked");
                OrderlyOutcome::Suspend
            }
        };
        let suspend = match outcome {
            OrderlyOutcome::Success => None,
            OrderlyOutcome::Suspend => Some(self.settings.suspend),
            OrderlyOutcome::SuspendFor(pause) => Some(pause),
        };
        let (ok, failed) = if suspend.is_none() { (messages.len(), 0) } else { (0, messages.len()) };
        self.note_consumed(owned, ok, failed, began.elapsed());
        if owned.is_released() {
            return Duration::ZERO;
        }
        match suspend {
            None => {
                self.finish(owned, &messages);
                Duration::ZERO
            }
            Some(pause) if self.again(owned, messages).await => pause.clamp(SUSPEND_MIN, SUSPEND_MAX),
            Some(_) => Duration::ZERO,
        }
    }

    /// Messages that were not consumed wait again, in front; those that were tried too often are sent to the dead letters.
    /// Tells whether any waits. Java gives even those that were sent away to the listener again.
    async fn again(&self, owned: &Arc<Owned>, messages: Vec<ReceivedMessage>) -> bool {
        let times = self.settings.max_reconsume_times;
        let max = times.map_or(i32::MAX, |times| i32::try_from(times).unwrap_or(i32::MAX));
        let mut left = Vec::with_capacity(messages.len());
        for mut message in messages {
            if message.reconsume_times() >= max {
                match self.member.calls.send_again(&message, max).await {
                    Ok(()) => {
                        self.finish(owned, std::slice::from_ref(&message));
                        continue;
                    }
                    Err(error) => {
                        let queue_offset = message.queue_offset();
                        warn!(queue = ?owned.queue, queue_offset, %error, "dead letter can't be sent");
                    }
                }
            }
            message.set_reconsume_times(message.reconsume_times().saturating_add(1));
            left.push(message);
        }
        let any = !left.is_empty();
        owned.process.lock().put_back(left);
        any
    }
}
