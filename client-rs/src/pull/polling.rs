//! Polls, seeks and commits. Source: RocketMQ 5.3 DefaultLitePullConsumerImpl.

use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;
use tokio::time::Instant;
use tracing::warn;

use super::core::{Assigned, Core};
use crate::error::{ClientError, Result};
use crate::metrics::Event;
use crate::received::ReceivedMessage;

impl Core {
    /// Messages of one queue, as soon as there are some.
    pub(super) async fn poll(&self, timeout: Duration) -> Result<Vec<ReceivedMessage>> {
        if self.member.stop.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        self.begin_poll();
        let deadline = Instant::now() + timeout;
        loop {
            let arrived = self.arrived.notified();
            if let Some(messages) = self.take_ready() {
                return Ok(messages);
            }
            tokio::select! {
                () = self.member.stop.cancelled() => return Err(ClientError::Stopped),
                () = arrived => {}
                () = tokio::time::sleep_until(deadline) => return Ok(Vec::new()),
            }
        }
    }

    /// What earlier polls gave is consumed, and committed if it is time.
    fn begin_poll(&self) {
        let queues: Vec<Arc<Assigned>> = self.queues.lock().values().cloned().collect();
        for assigned in &queues {
            assigned.state.lock().note_poll();
        }
        if !self.settings.auto_commit {
            return;
        }
        {
            let mut due = self.auto_commit_due.lock();
            let now = Instant::now();
            if *due > now {
                return;
            }
            *due = now + self.settings.auto_commit_interval;
        }
        if let Some(me) = self.me.upgrade() {
            self.member.tracker.spawn(async move {
                if let Err(error) = me.commit(&queues, false, Duration::ZERO).await {
                    warn!(group = %me.member.calls.group, %error, "offsets not committed: the next time tries again");
                }
            });
        }
    }

    fn take_ready(&self) -> Option<Vec<ReceivedMessage>> {
        loop {
            let assigned = self.ready.lock().pop_front()?;
            let messages = {
                let mut state = assigned.state.lock();
                state.in_line = false;
                state.take()
            };
            // Behind the others; this also wakes another poll that waits at the same time.
            self.line_up(&assigned);
            let Some(messages) = messages else { continue };
            self.note_taken(messages.len());
            assigned.changed.notify_one();
            let (topic, group) = (assigned.queue.topic.as_str(), &*self.member.calls.group);
            let (count, took) = (messages.len(), Duration::ZERO);
            self.member.stats.topic(topic).consumed(count, 0, took);
            let event = Event::Consumed { topic, group, messages: count, took, ok: true };
            self.member.calls.client.metrics.event(event);
            return Some(messages);
        }
    }

    /// Goes on at an offset that the queue has.
    pub(super) async fn seek(&self, queue: &MessageQueue, offset: i64) -> Result<()> {
        if self.queue(queue).is_none() {
            return Err(not_assigned(queue));
        }
        let (min, max) = futures::future::try_join(
            self.member.calls.min_offset(queue),
            self.member.calls.max_offset(queue),
        )
        .await?;
        if !(min..=max).contains(&offset) {
            return Err(ClientError::Invalid(format!(
                "offset {offset} is not within {min} to {max} of {queue:?}"
            )));
        }
        self.set_position(queue, offset)
    }

    /// Goes on at an offset.
    pub(super) fn set_position(&self, queue: &MessageQueue, offset: i64) -> Result<()> {
        let assigned = self.queue(queue).ok_or_else(|| not_assigned(queue))?;
        let dropped = assigned.state.lock().seek(offset);
        self.note_taken(dropped);
        assigned.changed.notify_one();
        Ok(())
    }

    pub(super) fn set_paused(&self, queues: &[MessageQueue], paused: bool) {
        for assigned in queues.iter().filter_map(|queue| self.queue(queue)) {
            assigned.state.lock().paused = paused;
            assigned.changed.notify_one();
            self.line_up(&assigned);
        }
    }

    /// Commits the positions of all queues.
    pub(super) async fn commit_positions(&self) -> Result<()> {
        if self.member.stop.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        let queues: Vec<Arc<Assigned>> = self.queues.lock().values().cloned().collect();
        self.commit(&queues, true, self.member.calls.client.remote.call_timeout()).await
    }

    /// Commits what polls gave: `everything`, or only what those before the latest one gave.
    pub(super) async fn commit(
        &self,
        queues: &[Arc<Assigned>],
        everything: bool,
        patience: Duration,
    ) -> Result<()> {
        let _storing = self.member.storing.lock().await;
        let new: Vec<(&Arc<Assigned>, i64)> = queues
            .iter()
            .filter_map(|assigned| Some((assigned, assigned.state.lock().uncommitted(everything)?)))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let offsets = new.iter().map(|(assigned, offset)| (assigned.queue.clone(), *offset)).collect();
        let failed = self.member.offsets.store(offsets, patience).await;
        for (assigned, offset) in new {
            if !failed.iter().any(|(queue, _)| *queue == assigned.queue) {
                assigned.state.lock().note_committed(offset);
            }
        }
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}

fn not_assigned(queue: &MessageQueue) -> ClientError {
    ClientError::Invalid(format!("{queue:?} is not of this consumer, or not yet"))
}
