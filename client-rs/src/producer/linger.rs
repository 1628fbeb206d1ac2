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
        message.check(options.body_size_max)?;
        message.ensure_unique_id();
        let record_size = record_size(&message);
        Ok(Passenger { message, queue, record_size })
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
        let Passenger { message, queue, record_size } = passenger;
        let mut table = shared.linger.lanes.lock();
        let Lanes { by_topic, opened } = &mut *table;
        if !by_topic.contains_key(message.topic()) {
            by_topic.insert(message.topic().to_owned(), Vec::new());
        }
        let topic = message.topic().to_owned();
        let lanes = by_topic.get_mut(&topic).expect("put there above");
        let mut at = lanes.iter().position(|lane| lane.queue == queue);
        if let Some(index) = at.filter(|index| lanes[*index].batch.is_full_for(record_size, &shared.options))
        {
            lanes.swap_remove(index).depart(shared, topic.clone());
            at = None;
        }
        let index = match at {
            Some(index) => {
                lanes[index].permit.absorb(permit);
                index
            }
            None => {
                *opened += 1;
                Linger::watch(shared, topic.clone(), *opened);
                let (batch, waiters) = (Batch::new(), Vec::new());
                lanes.push(Lane { queue, number: *opened, batch, permit, waiters });
                lanes.len() - 1
            }
        };
        let lane = &mut lanes[index];
        match lane.batch.push(message) {
            Ok(()) => lane.waiters.push(waiter),
            Err(error) => return waiter.tell(Err(error)),
        }
        if lane.batch.is_full_for(1, &shared.options) {
            lanes.swap_remove(index).depart(shared, topic);
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
            let Some(lanes) = table.by_topic.get_mut(&topic) else { return };
            if let Some(index) = lanes.iter().position(|lane| lane.number == number) {
                let lane = lanes.swap_remove(index);
                if lanes.is_empty() {
                    table.by_topic.remove(&topic);
                }
                lane.depart(&shared, topic);
            }
        });
    }

    /// Lets everything go that waits.
    pub(super) fn flush(shared: &Arc<Shared>) {
        let mut table = shared.linger.lanes.lock();
        for (topic, lanes) in std::mem::take(&mut table.by_topic) {
            for lane in lanes {
                lane.depart(shared, topic.clone());
            }
        }
    }
}

impl Lane {
    /// Sends the batch; each waiter gets the result of its own message.
    fn depart(self, shared: &Arc<Shared>, topic: String) {
        let Lane { queue, batch, permit, waiters, .. } = self;
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
