//! Messages that wait a little for others, to go as one batch.
//!
//! There is a lane for each topic, and one for each queue that was chosen by the caller or by a key. A lane's batch goes when it
//! is full, or when its first message has waited for the linger time. Batches of a lane leave in the order of their messages:
//! they are handed to the connection under the lock. What waits is bounded by the room in flight, which each message takes
//! before it comes here.

use std::collections::HashMap;
use std::sync::Arc;

use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::message::properties;
use flotilla_remoting::names;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::{Batch, record_size};
use super::engine::Shared;
use super::gate::Permit;
use super::job::{Job, Place, codec_for};
use super::options::Options;
use super::result::SendResult;
use crate::error::Result;
use crate::message::Message;

/// The lanes of a producer.
#[derive(Default)]
pub(super) struct Linger {
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    by_topic: HashMap<String, Vec<Lane>>,
    opened: u64,
}

/// The batch of a lane that is being filled. A lane without one does not exist.
struct Lane {
    topic: String,
    queue: Option<Arc<MessageQueue>>,
    number: u64,
    batch: Batch,
    permit: Permit,
    waiters: Vec<Waiter>,
}

/// Who gets the result of a message.
pub(super) enum Waiter {
    Future(oneshot::Sender<Result<SendResult>>),
    Callback(Box<dyn FnOnce(Result<SendResult>) + Send>),
}

impl Waiter {
    fn tell(self, result: Result<SendResult>) {
        match self {
            // Whoever waited may have gone.
            Waiter::Future(sender) => drop(sender.send(result)),
            Waiter::Callback(callback) => callback(result),
        }
    }
}

/// A message that may go into a batch, checked and with its unique id.
pub(super) struct Passenger {
    pub(super) message: Message,
    pub(super) queue: Option<Arc<MessageQueue>>,
    pub(super) record_size: usize,
    /// When its caller called, if it had to wait for room: that is part of its time.
    pub(super) began: Option<Instant>,
}

impl Passenger {
    /// The message, if it may share a batch: neither delayed nor to be compressed nor part of anything larger.
    ///
    /// # Errors
    /// Gives the message back with its place when it must go alone.
    pub(super) fn board(
        shared: &Shared,
        message: Message,
        mut place: Place,
    ) -> std::result::Result<Result<Passenger>, (Message, Place)> {
        if !may_share(&message, &shared.options) {
            return Err((message, place));
        }
        if let Place::Hashed(_) = &place {
            let topic = shared.topics.topic(&shared.client.inner, message.topic());
            if let Some(snapshot) = shared.topics.known(&shared.client.inner, &topic) {
                // Settling a hash does not fail; without queues it stays as it is.
                let _ = place.settle(snapshot.queues());
            }
        }
        let queue = match place {
            Place::Any => None,
            Place::Queue(queue) => Some(queue),
            // Not known yet which queue it will be.
            place @ (Place::Hashed(_) | Place::Chosen(_)) => return Err((message, place)),
        };
        Ok(Passenger::checked(message, queue, &shared.options))
    }

    fn checked(
        mut message: Message,
        queue: Option<Arc<MessageQueue>>,
        options: &Options,
    ) -> Result<Passenger> {
        message.check_reserved()?;
        message.ensure_unique_id();
        message.check(options.body_size_max)?;
        let record_size = record_size(&message);
        Ok(Passenger { message, queue, record_size, began: None })
    }
}

impl Passenger {
    /// Notes that it must wait for room; since when.
    pub(super) fn waits(&mut self) -> Instant {
        *self.began.get_or_insert_with(Instant::now)
    }
}

fn may_share(message: &Message, options: &Options) -> bool {
    !message.is_delayed()
        && codec_for(message.body().len(), options).is_none()
        && message.get_property(properties::REPLY_TO_CLIENT).is_none()
        && !names::is_retry_topic(message.topic())
}

impl Linger {
    /// Puts a message into its lane's batch.
    pub(super) fn add(shared: &Arc<Shared>, passenger: Passenger, permit: Permit, waiter: Waiter) {
        let Passenger { message, queue, record_size, began } = passenger;
        let options = &shared.options;
        let mut table = shared.linger.lanes.lock();
        let Lanes { by_topic, opened } = &mut *table;
        let lanes = match by_topic.get_mut(message.topic()) {
            Some(lanes) => lanes,
            None => by_topic.entry(message.topic().to_owned()).or_default(),
        };
        let mut found = lanes.iter().position(|lane| lane.queue == queue);
        if let Some(full) = found.filter(|index| lanes[*index].batch.is_full_for(record_size, options)) {
            lanes.swap_remove(full).depart(shared);
            found = None;
        }
        // Its oldest message decides when it must go at the latest, so the clock is looked at only when there is another one.
        let (index, must_go) = match found {
            Some(index) => {
                let lane = &mut lanes[index];
                lane.permit.absorb(permit);
                let older = began.filter(|began| *began < lane.batch.began);
                lane.batch.began = older.unwrap_or(lane.batch.began);
                (index, older.is_some_and(|older| must_go(older, Instant::now(), options)))
            }
            None => {
                *opened += 1;
                let topic = message.topic().to_owned();
                Linger::watch(shared, topic.clone(), *opened);
                let now = Instant::now();
                let began = began.unwrap_or(now);
                let (batch, waiters) = (Batch::new(began), Vec::new());
                lanes.push(Lane { topic, queue, number: *opened, batch, permit, waiters });
                (lanes.len() - 1, must_go(began, now, options))
            }
        };
        let lane = &mut lanes[index];
        let refused = match lane.batch.push(message) {
            Ok(()) => {
                lane.waiters.push(waiter);
                None
            }
            Err(error) => Some((waiter, error)),
        };
        if must_go || lane.is_due(options) {
            let lane = lanes.swap_remove(index);
            if lanes.is_empty() {
                by_topic.remove(&lane.topic);
            }
            lane.depart(shared);
        }
        drop(table);
        // It may be a function of the caller's, which may send.
        if let Some((waiter, error)) = refused {
            waiter.tell(Err(error));
        }
    }

    /// Lets the batch with this number go when its time has come, unless it has gone before.
    fn watch(shared: &Arc<Shared>, topic: String, number: u64) {
        let shared = shared.clone();
        let linger = shared.options.linger;
        shared.client.inner.tracker.clone().spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(linger) => {}
                () = shared.closing.cancelled() => {}
                () = shared.client.inner.stop.cancelled() => {}
            }
            let mut table = shared.linger.lanes.lock();
            if let Some(lane) = table.take(&topic, |lane| lane.number == number) {
                lane.depart(&shared);
            }
        });
    }

    /// Lets everything go that waits.
    pub(super) fn flush(shared: &Arc<Shared>) {
        let mut table = shared.linger.lanes.lock();
        for lane in std::mem::take(&mut table.by_topic).into_values().flatten() {
            lane.depart(shared);
        }
    }
}

/// Claims that a message has waited too long elsewhere to wait for others.
fn must_go(began: Instant, now: Instant, options: &Options) -> bool {
    began + options.send_timeout <= now + options.linger
}

impl Lanes {
    /// Takes a lane out, and its topic with the last one.
    fn take(&mut self, topic: &str, which: impl Fn(&Lane) -> bool) -> Option<Lane> {
        let lanes = self.by_topic.get_mut(topic)?;
        let index = lanes.iter().position(which)?;
        let lane = lanes.swap_remove(index);
        if lanes.is_empty() {
            self.by_topic.remove(topic);
        }
        Some(lane)
    }
}

impl Lane {
    /// Claims that it should not wait for more: it is full, or nobody is in it.
    fn is_due(&self, options: &Options) -> bool {
        self.waiters.is_empty() || self.batch.is_full_for(1, options)
    }

    /// Sends the batch; each waiter gets the result of its own message.
    fn depart(self, shared: &Arc<Shared>) {
        let Lane { topic, queue, batch, permit, waiters, .. } = self;
        if waiters.is_empty() {
            return;
        }
        let place = queue.map_or(Place::Any, Place::Queue);
        let job = Job::batch(topic, batch, place, &shared.options);
        shared.launch_with(job, permit, move |result, mut job| match result {
            Ok(result) => {
                for (waiter, result) in waiters.into_iter().zip(result.of_messages(job.message_ids())) {
                    waiter.tell(Ok(result));
                }
            }
            Err(error) => waiters.into_iter().for_each(|waiter| waiter.tell(Err(error.clone()))),
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::super::Producer;
    use crate::client::Client;
    use crate::message::Message;

    #[tokio::test]
    async fn a_topic_is_forgotten_with_its_last_lane() {
        let client = Client::connect("127.0.0.1:1").unwrap();
        let builder = Producer::builder(&client).linger(Duration::from_secs(1));
        let producer = builder.batch_count_max(2).start().await.unwrap();
        let topics = || producer.shared.linger.lanes.lock().by_topic.len();
        let _first = producer.send(Message::new("t", "b"));
        assert_eq!(topics(), 1);
        let _second = producer.send(Message::new("t", "b"));
        assert_eq!(topics(), 0);
    }
}
