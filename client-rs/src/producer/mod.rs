//! Sends messages.
//!
//! ```no_run
//! # async fn example() -> flotilla_client::Result<()> {
//! use flotilla_client::{Client, Message, Producer};
//! let client = Client::connect("127.0.0.1:9876")?;
//! let producer = Producer::builder(&client).group("orders").start().await?;
//! let result = producer.send(Message::new("orders", "paid").key("order-17")).await?;
//! println!("{} is at {:?}, {}", result.message_id(), result.queue(), result.queue_offset());
//! producer.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! | file             | subject                                                     |
//! |------------------|-------------------------------------------------------------|
//! | `options.rs`     | settings                                                    |
//! | `future.rs`      | a send under way                                            |
//! | `engine.rs`      | its way, when nothing is missing and nothing fails          |
//! | `drive.rs`       | its way otherwise: waiting, and trying again                |
//! | `retry.rs`       | when trying again is safe: the table of codes               |
//! | `topics.rs`      | queues and addresses, turns, brokers that just failed       |
//! | `gate.rs`        | bounds of what is in flight                                 |
//! | `job.rs`         | what a request carries                                      |
//! | `batch.rs`       | messages as one request                                     |
//! | `linger.rs`      | batches that gather by themselves                           |
//! | `selector.rs`    | from a key to a queue                                       |
//! | `request.rs`     | request and reply                                           |
//! | `recall.rs`      | taking delayed messages back                                |
//! | `transaction.rs` | messages that are sent with a local transaction, or not     |
//! | `result.rs`      | what a send ends with                                       |
//!
//! Order: whoever depends on it awaits each send before the next one of its key. Sends from one task to one queue that are in
//! flight together leave in the order of the calls, as long as none of them has to wait for room, route or connection or is
//! repeated, and Flotilla stores them so; RocketMQ works on the requests of a connection with many threads.

mod batch;
mod drive;
mod engine;
mod future;
mod gate;
mod job;
mod linger;
mod options;
mod recall;
mod request;
mod result;
mod retry;
mod selector;
mod topics;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flotilla_remoting::bodies::MessageQueue;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use future::SendFuture;
pub use options::ProducerBuilder;
pub use result::{BatchError, SendResult, SendStatus};
pub use transaction::{TransactionOutcome, TransactionProducer, TransactionState};

use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::members::{ProducerMember, TransactionCheck};
use crate::message::Message;
use batch::Batch;
use engine::{Grounded, Shared};
use gate::Gate;
use job::{Job, Place};
use linger::{Linger, Passenger, Waiter};
use options::Options;
use topics::Topics;

/// Sends messages; cheap to clone, to be shared by all tasks of a process.
///
/// The last handle that is dropped ends the producer; what was handed over by then is sent on. [`Producer::shutdown`] also
/// waits for it.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    membership: Arc<Membership>,
}

/// The producer as a member of its group, as long as somebody holds it.
struct Membership {
    client: Client,
    group: String,
    has_left: AtomicBool,
    _member: Arc<dyn ProducerMember>,
}

/// The group's name at the client; given free when dropped.
struct Name<'a>(&'a Membership);

impl Membership {
    /// The name, once: another producer may have it afterwards.
    fn give_up(&self) -> Option<Name<'_>> {
        (!self.has_left.swap(true, Ordering::AcqRel)).then(|| Name(self))
    }
}

impl Drop for Name<'_> {
    fn drop(&mut self) {
        self.0.client.inner.members.remove_producer(&self.0.group);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}

/// A producer without transactions.
struct Plain;

impl ProducerMember for Plain {
    fn check_transaction(&self, check: TransactionCheck) {
        // Another producer of the group sends in transactions: the broker asks again, and it in the end.
        warn!(
            broker = check.broker,
            "asked for the outcome of a transaction by mistake: this producer has none"
        );
    }
}

impl Producer {
    /// Settings of a new producer.
    pub fn builder(client: &Client) -> ProducerBuilder {
        ProducerBuilder::new(client)
    }

    fn start(client: Client, options: Options, member: Option<Arc<dyn ProducerMember>>) -> Result<Producer> {
        let member = member.unwrap_or_else(|| Arc::new(Plain));
        client.inner.members.add_producer(&options.group, &member)?;
        let membership = Membership {
            client: client.clone(),
            group: options.group.clone(),
            has_left: AtomicBool::new(false),
            _member: member,
        };
        let shared = Arc::new(Shared {
            topics: Topics::new(options.topic_queue_count),
            gate: Gate::new(options.in_flight_max, options.in_flight_bytes_max),
            linger: Linger::default(),
            closing: CancellationToken::new(),
            client,
            options,
        });
        // Brokers that other members use already hear of this one.
        shared.client.inner.beat_soon();
        Ok(Producer { shared, membership: Arc::new(membership) })
    }

    /// Name of the group.
    pub fn group(&self) -> &str {
        &self.shared.options.group
    }

    /// Client that it was made of.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Queues of a topic that take messages, in the order that selectors see. Safe to drop.
    ///
    /// # Errors
    /// `NoRoute` when there is no such topic; `NotSent` when no name server answers.
    pub async fn queues(&self, topic: &str) -> Result<Vec<Arc<MessageQueue>>> {
        let topic = self.shared.topics.topic(&self.shared.client.inner, topic);
        let deadline = Instant::now() + self.shared.options.send_timeout;
        Ok(self.shared.snapshot(&topic, deadline).await?.queues().to_vec())
    }

    /// Sends a message to one of the topic's queues, by turns. Begins at once; see [`SendFuture`].
    ///
    /// # Errors
    /// `Invalid` for a message that can't be sent; `Busy` when the bounds were reached all the time; `NoRoute` when there is no
    /// such topic and none is made; `NotSent`, `Refused` or `Deadline` when it was not stored in time; `Unknown`, `Malformed`
    /// and `Refused` with code 1 when it may have been ([`ClientError::outcome_is_unknown`]); `Stopped` when the client was
    /// shut down before anything was sent.
    pub fn send(&self, message: Message) -> SendFuture {
        SendFuture::start(&self.shared, message, Place::Any)
    }

    /// Sends a message to this queue.
    ///
    /// # Errors
    /// As [`Producer::send`]; `Invalid` when the queue is of another topic.
    pub fn send_to(&self, message: Message, queue: &MessageQueue) -> SendFuture {
        match check_queue(message.topic(), queue) {
            Ok(()) => SendFuture::start(&self.shared, message, Place::Queue(Arc::new(queue.clone()))),
            Err(error) => SendFuture::failed(error),
        }
    }

    /// Sends a message to the queue of a key, the same for all messages of the key as long as the number of queues stays: so
    /// their order is that of the sends, if each is awaited before the next. Retries stay with the queue.
    ///
    /// The queue is `String.hashCode` of the key modulo the number of write queues, as with Java's SelectMessageQueueByHash.
    /// When the number of write queues changes, most keys move to another queue, and messages sent before the change may be
    /// consumed after those sent later: change it while nothing is sent and everything is consumed.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send_by_key(&self, message: Message, key: impl AsRef<str>) -> SendFuture {
        SendFuture::start(&self.shared, message, Place::Hashed(selector::hash(key.as_ref())))
    }

    /// Sends a message to the queue whose number in the list `choose` gives. It is asked once, when the queues are known;
    /// retries stay with the queue. Unlike the other sends this one begins when the future is polled.
    ///
    /// # Errors
    /// As [`Producer::send`]; `Invalid` when there is no such number.
    pub fn send_with<F>(&self, message: Message, choose: F) -> SendFuture
    where
        F: FnOnce(&[Arc<MessageQueue>]) -> usize + Send + 'static,
    {
        SendFuture::start(&self.shared, message, Place::Chosen(Mutex::new(Box::new(choose))))
    }

    /// Sends a message as [`Producer::send`] does and gives the result to `done`, which needs no task and no future of the
    /// caller: the way for very many messages. Returns when the message has its room in flight, so that the caller is slowed
    /// down when the bounds are reached. `done` runs on the task that reads the connection: it must be quick, must not block,
    /// and must not panic, which would close the connection.
    ///
    /// Dropped before it returns, the message is not sent.
    ///
    /// # Errors
    /// `Invalid`, `Busy`, `Stopped`: `done` is not called then. All else goes to `done`.
    pub async fn send_with_callback<F>(&self, message: Message, done: F) -> Result<()>
    where
        F: FnOnce(Result<SendResult>) + Send + 'static,
    {
        let shared = &self.shared;
        if shared.closing.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        let message = if shared.options.linger.is_zero() {
            message
        } else {
            match Passenger::board(shared, message, Place::Any) {
                Ok(passenger) => {
                    let mut passenger = passenger?;
                    let permit = match shared.gate.try_enter(1, passenger.record_size) {
                        Some(permit) => permit,
                        None => {
                            let deadline = passenger.waits() + shared.options.send_timeout;
                            shared.enter(1, passenger.record_size, deadline).await?
                        }
                    };
                    Linger::add(shared, passenger, permit, Waiter::Callback(Box::new(done)));
                    return Ok(());
                }
                Err((message, _)) => message,
            }
        };
        let mut job = Job::message(message, Place::Any, &shared.options)?;
        let permit = match shared.gate.try_enter(1, job.size()) {
            Some(permit) => permit,
            None => shared.enter(1, job.size(), job.deadline).await?,
        };
        job.compress().await?;
        shared.launch_with(job, permit, move |result, _| done(result));
        Ok(())
    }

    /// Hands a message over without asking for an answer: it may be lost, and nothing tells. Dropped, it may have been handed
    /// over.
    ///
    /// # Errors
    /// As [`Producer::send`], only for what kept the message from leaving this process.
    pub async fn send_oneway(&self, message: Message) -> Result<()> {
        if self.shared.closing.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        let mut job = Job::message(message, Place::Any, &self.shared.options)?;
        self.shared.drive_oneway(&mut job).await
    }

    /// Sends messages of one topic as one request: stored together, one after the other in one queue, or not at all. Results
    /// are in the order of the messages.
    ///
    /// What exceeds the batch bounds goes in parts, one after the other, all to the same queue; each part is stored as a whole
    /// and has the send time-out for itself. Bodies of a batch are not compressed. Dropped, some parts may be stored.
    ///
    /// # Errors
    /// [`BatchError`], with the results of the parts that were stored before. `Invalid` when the messages differ in topic, or
    /// one is delayed, or can't be sent: nothing was sent then.
    pub async fn send_batch(
        &self,
        messages: Vec<Message>,
    ) -> std::result::Result<Vec<SendResult>, BatchError> {
        self.send_batch_at(messages, Place::Any).await
    }

    /// As [`Producer::send_batch`], to this queue.
    ///
    /// # Errors
    /// As [`Producer::send_batch`].
    pub async fn send_batch_to(
        &self,
        messages: Vec<Message>,
        queue: &MessageQueue,
    ) -> std::result::Result<Vec<SendResult>, BatchError> {
        if let Some(Err(error)) = messages.first().map(|first| check_queue(first.topic(), queue)) {
            return Err(BatchError { stored: Vec::new(), error });
        }
        self.send_batch_at(messages, Place::Queue(Arc::new(queue.clone()))).await
    }

    async fn send_batch_at(
        &self,
        mut messages: Vec<Message>,
        mut place: Place,
    ) -> std::result::Result<Vec<SendResult>, BatchError> {
        let mut stored = Vec::with_capacity(messages.len());
        if let Err(error) = self.check_batch(&mut messages) {
            return Err(BatchError { stored, error });
        }
        for part in batch::split(messages, &self.shared.options) {
            let sent = match self.part(part, place) {
                Ok(job) => {
                    let mut grounded = Grounded::new(job);
                    let result = self.shared.drive(&mut grounded).await;
                    result.map(|result| (result, grounded.job.message_ids()))
                }
                Err(error) => Err(error),
            };
            match sent {
                Ok((result, message_ids)) => {
                    place = Place::Queue(result.queue().clone());
                    if message_ids.iter().all(String::is_empty) {
                        stored.push(result);
                    } else {
                        stored.extend(result.of_messages(message_ids));
                    }
                }
                Err(error) => return Err(BatchError { stored, error }),
            }
        }
        Ok(stored)
    }

    fn check_batch(&self, messages: &mut [Message]) -> Result<()> {
        if self.shared.closing.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        batch::check(messages)?;
        for message in messages {
            message.check_reserved()?;
            message.ensure_unique_id();
            message.check(self.shared.options.body_size_max)?;
        }
        Ok(())
    }

    /// One request of a batch: a message that is a part alone needs no batch, and may be larger.
    fn part(&self, mut part: Vec<Message>, place: Place) -> Result<Job> {
        let options = &self.shared.options;
        if part.len() == 1
            && let Some(message) = part.pop()
        {
            return Job::message(message, place, options);
        }
        let topic = part.first().map(|message| message.topic().to_owned()).unwrap_or_default();
        let mut batch = Batch::new(Instant::now());
        for message in part {
            batch.push(message)?;
        }
        Ok(Job::batch(topic, batch, place, options))
    }

    /// Sends what waits for the linger time now. Returns at once.
    pub fn flush(&self) {
        Linger::flush(&self.shared);
    }

    /// Takes no more messages, waits for those that are in flight (at most for the send time-out) and leaves the group. The
    /// client goes on. Dropped half-way, what is in flight goes on, and brokers forget the producer by themselves.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        shared.closing.cancel();
        Linger::flush(shared);
        if timeout(shared.options.send_timeout, shared.gate.idle()).await.is_err() {
            warn!(group = self.group(), "shut down with messages in flight");
        }
        // A clone that is shut down later must not take the next producer of the group out of it.
        if let Some(name) = self.membership.give_up() {
            shared.client.inner.leave(Some(self.group()), None, name).await;
            debug!(group = self.group(), "producer has left");
        }
    }
}

fn check_queue(topic: &str, queue: &MessageQueue) -> Result<()> {
    if queue.topic == topic {
        return Ok(());
    }
    Err(ClientError::Invalid(format!("the message is for topic {topic}, the queue is of {}", queue.topic)))
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
