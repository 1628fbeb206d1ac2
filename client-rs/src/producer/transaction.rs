//! Messages that are sent together with a local transaction, or not at all.
//!
//! ```text
//! send half message --stored--> local transaction --> commit or rollback (37)
//!                                      \--unknown, or this process ends--> the broker asks (39) a producer of the group
//!                                                                           --> check --> commit or rollback (37)
//! ```
//! Consumers see a half message only after its commit. Flotilla refuses transactional messages so far, with code 13.
//! Source: RocketMQ 5.3 DefaultMQProducerImpl.sendMessageInTransaction, endTransaction, checkTransactionState.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::headers::EndTransactionRequest;
use flotilla_remoting::message::{OffsetMessageId, SysFlag, properties};
use flotilla_remoting::{RequestCode, ResponseCode};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::engine::Grounded;
use super::job::{Job, Place};
use super::options::Options;
use super::result::{SendResult, SendStatus};
use super::retry::{Verdict, verdict};
use super::{Producer, ProducerBuilder};
use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::limits::CALLBACKS_MAX;
use crate::members::{ProducerMember, TransactionCheck};
use crate::message::Message;
use crate::received::ReceivedMessage;
use crate::remote::refusal;

/// Pause before a decision is sent again.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of a local transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// It is done: consumers get the message.
    Commit,
    /// It is not and will not be: nobody gets the message.
    Rollback,
    /// Not decided yet: the broker will ask.
    Unknown,
}

impl TransactionState {
    /// Bits of `sysFlag` that tell it. Source: RocketMQ 5.3 MessageSysFlag.
    fn bits(self) -> i32 {
        match self {
            TransactionState::Commit => SysFlag::TRANSACTION_COMMIT,
            TransactionState::Rollback => SysFlag::TRANSACTION,
            TransactionState::Unknown => 0,
        }
    }
}

/// What a send in a transaction ends with.
#[derive(Clone, Debug)]
pub struct TransactionOutcome {
    /// Where the half message is stored.
    pub sent: SendResult,
    /// What the local transaction ended with; rollback when the half message was not stored well enough to begin it.
    pub state: TransactionState,
    /// Why the broker could not be told, or did not do it. It will ask a producer of the group then, so that the state comes
    /// true all the same.
    pub not_told: Option<ClientError>,
}

/// A producer that can send in transactions. Everything else is done by its [`producer`](TransactionProducer::producer).
#[derive(Clone, Debug)]
pub struct TransactionProducer {
    producer: Producer,
}

type Check = dyn Fn(ReceivedMessage) -> BoxFuture<'static, TransactionState> + Send + Sync;

/// Answers the brokers' questions.
struct Checker {
    client: Client,
    group: String,
    check: Arc<Check>,
    running: Arc<Semaphore>,
}

impl TransactionProducer {
    /// Settings of a new producer; start it by [`ProducerBuilder::start_transactional`].
    pub fn builder(client: &Client) -> ProducerBuilder {
        ProducerBuilder::new(client)
    }

    pub(super) fn start<F, D>(client: Client, options: Options, check: F) -> Result<TransactionProducer>
    where
        F: Fn(ReceivedMessage) -> D + Send + Sync + 'static,
        D: Future<Output = TransactionState> + Send + 'static,
    {
        let checker = Checker {
            client: client.clone(),
            group: options.group.clone(),
            check: Arc::new(move |message| Box::pin(check(message))),
            running: Arc::new(Semaphore::new(CALLBACKS_MAX)),
        };
        let producer = Producer::start(client, options, Some(Arc::new(checker)))?;
        Ok(TransactionProducer { producer })
    }

    /// The producer for everything outside transactions.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Stores the message where nobody sees it, runs `local`, and commits or rolls back as it says. `local` gets the result of
    /// the send: the ids are what the check will know the message by, so that they belong into the transaction's records.
    ///
    /// Dropped half-way, or when `local` panics, the half message stays undecided and the broker asks the check.
    ///
    /// # Errors
    /// As [`Producer::send`], and `Invalid` for a delayed message; `local` was not run then. `Refused` by brokers without
    /// transactions. When the outcome of storing the half message is unknown, `local` is not run either, and the broker will
    /// ask about it if it is there.
    pub async fn send_in_transaction<F>(&self, mut message: Message, local: F) -> Result<TransactionOutcome>
    where
        F: AsyncFnOnce(&SendResult) -> TransactionState,
    {
        let shared = &self.producer.shared;
        if shared.closing.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        if message.is_delayed() {
            return Err(ClientError::Invalid("a message in a transaction can't be delayed".into()));
        }
        message.check_reserved()?;
        message.set(properties::TRANSACTION_PREPARED, "true");
        message.set(properties::PRODUCER_GROUP, self.producer.group());
        let topic = message.topic().to_owned();
        let (code, flag) = (RequestCode::SendMessageV2, SysFlag::TRANSACTION_PREPARED);
        let job = Job::of(message, Place::Any, &shared.options, code, flag)?;
        let sent = shared.drive(&mut Grounded::new(job)).await?;
        let state = match sent.status() {
            SendStatus::Ok => local(&sent).await,
            // The half message may be lost with its machine: nothing must depend on it.
            SendStatus::FlushDiskTimeout | SendStatus::SlaveNotAvailable | SendStatus::FlushSlaveTimeout => {
                TransactionState::Rollback
            }
        };
        let not_told = self.end(&topic, &sent, state).await.err();
        if let Some(error) = &not_told {
            warn!(topic, message_id = sent.message_id(), ?state, %error, "the broker will have to ask");
        }
        Ok(TransactionOutcome { sent, state, not_told })
    }

    /// Takes no more messages and leaves the group, as [`Producer::shutdown`] does. Brokers that ask then ask others.
    pub async fn shutdown(&self) {
        self.producer.shutdown().await;
    }

    /// Tells the broker. An answer is asked for, unlike Java does it, so that a failure is noticed; RocketMQ answers to a
    /// decision that is one.
    async fn end(&self, topic: &str, sent: &SendResult, state: TransactionState) -> Result<()> {
        if state == TransactionState::Unknown {
            // It would not be answered, and changes nothing. Source: RocketMQ 5.3 EndTransactionProcessor.
            return Ok(());
        }
        let broker_name = &sent.queue().broker_name;
        let id: OffsetMessageId = sent
            .offset_message_id()
            .parse()
            .map_err(|error| ClientError::malformed(broker_name, format!("offset id: {error}")))?;
        let header = EndTransactionRequest {
            producer_group: self.producer.group(),
            half_queue_offset: sent.queue_offset(),
            commit_log_offset: id.physical_offset,
            commit_or_rollback: state.bits(),
            from_transaction_check: false,
            message_id: sent.message_id(),
            transaction_id: sent.transaction_id(),
            topic: Some(topic),
            broker_name: Some(broker_name),
        };
        let shared = &self.producer.shared;
        let client = &shared.client.inner;
        let deadline = Instant::now() + shared.options.send_timeout;
        loop {
            let address = client.routes.leader(broker_name).ok_or_else(|| ClientError::NoRoute {
                topic: topic.to_owned(),
                reason: format!("no broker {broker_name}"),
            })?;
            let (code, ext) = (RequestCode::EndTransaction, header.encode());
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match client.remote.ask(&address, code, ext, Bytes::new(), left).await {
                Ok(frame) if frame.header.response_code() == ResponseCode::Success => return Ok(()),
                Ok(frame) => refusal(&address, &frame),
                Err(error) => error,
            };
            if error.hints_at_stale_route() || error.code() == Some(ResponseCode::SlaveNotAvailable) {
                client.routes.suspect(&address, &error);
            }
            // Deciding twice would put the message there twice at RocketMQ: only what was surely not done is repeated.
            let again =
                verdict(&error) == Verdict::Again || error.code() == Some(ResponseCode::SlaveNotAvailable);
            if !again || Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }
}

impl ProducerMember for Checker {
    fn check_transaction(&self, question: TransactionCheck) {
        // The broker asks again later.
        let Ok(turn) = self.running.clone().try_acquire_owned() else {
            return warn!(broker = question.broker, "too many transactions to check: one was passed over");
        };
        let (client, group, check) = (self.client.inner.clone(), self.group.clone(), self.check.clone());
        let stop = client.stop.clone();
        client.tracker.clone().spawn(async move {
            let message = question.message.clone();
            let state = tokio::select! {
                state = check(message) => state,
                () = stop.cancelled() => return,
            };
            drop(turn);
            let message_id = question.message.message_id();
            debug!(broker = question.broker, message_id, ?state, "transaction checked");
            if state == TransactionState::Unknown {
                return;
            }
            let header = EndTransactionRequest {
                producer_group: &group,
                half_queue_offset: question.half_queue_offset,
                commit_log_offset: question.commit_log_offset,
                commit_or_rollback: state.bits(),
                from_transaction_check: true,
                message_id: &message_id,
                transaction_id: question.transaction_id.as_deref(),
                topic: Some(question.message.topic()),
                broker_name: Some(&question.message.queue().broker_name),
            };
            let (code, ext) = (RequestCode::EndTransaction, header.encode());
            let answer = client.remote.call(&question.broker, code, ext, Bytes::new()).await;
            if let Err(error) = answer {
                warn!(broker = question.broker, message_id, ?state, %error, "the broker will ask again");
            }
        });
    }
}
