//! A consumer that asks for messages when it wants some, and keeps each of them until it says otherwise (pop consumption).
//!
//! ```text
//! waiting --receive--> hidden from others for a time --ack--> done
//!    ^                    |   \--change_invisible--> hidden for another time
//!    '----time is over----'   (comes again, with one more attempt counted)
//! ```
//! Any member of a group can get a message of any queue, so there is no rebalance and a member that hangs holds up nobody. Order
//! is kept only with [`SimpleConsumerBuilder::ordered`]. Each message is known by its receipt handle.
//!
//! | file        | subject                                     |
//! |-------------|---------------------------------------------|
//! | `receive.rs`| finding messages: which broker, how long     |
//! | `popped.rs` | a message and its handle, read from an answer |
//! | `ack.rs`    | acknowledging, hiding for another time       |
//! | `member.rs` | what brokers may ask this consumer           |
//!
//! LIMIT: Flotilla's brokers have no pop yet: they refuse with REQUEST_CODE_NOT_SUPPORTED and say so in the remark. RocketMQ has
//! it since 5.0. Source: RocketMQ 5.3 PopMessageProcessor, AckMessageProcessor, MQClientAPIImpl.popMessageAsync.

mod ack;
mod member;
mod popped;
mod receive;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use flotilla_remoting::bodies::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
};
use flotilla_remoting::message::tags::java_hash;
use flotilla_remoting::names;
pub use flotilla_remoting::pop::{ReceiptHandle, TopicMark};
pub use popped::PoppedMessage;

use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::members::ConsumerMember;
use crate::unique_id::now_ms;
use member::Member;

/// Who shares out the queues among the members of a group.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Assignment {
    /// Nobody: each member gets messages of all queues, which is what pop is for.
    #[default]
    All,
    /// The brokers (400), by the name of a strategy: `AVG`, `AVG_BY_CIRCLE`, ... They give whole brokers or single queues,
    /// depending on what `set_request_mode` has said.
    Broker(String),
}

/// Where a group without offsets starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StartAt {
    /// With the first message that is available.
    #[default]
    Earliest,
    /// With the next message. A young topic that is still in the broker's memory is read from its start all the same.
    Latest,
}

/// A consumer that asks for messages when it wants some. Cheap to clone; clones are the same member of the group.
///
/// ```no_run
/// # async fn example() -> flotilla_client::Result<()> {
/// use std::time::Duration;
/// use flotilla_client::{Client, SimpleConsumer};
/// let client = Client::connect("127.0.0.1:9876")?;
/// let consumer = SimpleConsumer::builder(&client).group("billing").subscribe("orders", "*").start().await?;
/// loop {
///     for message in consumer.receive(16, Duration::from_secs(30), Duration::from_secs(10)).await? {
///         println!("{}: {:?}", message.topic(), message.body());
///         consumer.ack(&message).await?;
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct SimpleConsumer {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    group: String,
    subscriptions: Vec<SubscriptionData>,
    assignment: Assignment,
    start: StartAt,
    ordered: bool,
    /// Which place is asked first by the next call.
    turn: AtomicUsize,
    _member: Arc<dyn ConsumerMember>,
}

/// Settings of a [`SimpleConsumer`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct SimpleConsumerBuilder {
    client: Client,
    group: String,
    subscriptions: Vec<SubscriptionData>,
    assignment: Assignment,
    start: StartAt,
    ordered: bool,
}

impl SimpleConsumer {
    /// Begins a consumer of a client.
    pub fn builder(client: &Client) -> SimpleConsumerBuilder {
        SimpleConsumerBuilder {
            client: client.clone(),
            group: String::new(),
            subscriptions: Vec::new(),
            assignment: Assignment::All,
            start: StartAt::Earliest,
            ordered: false,
        }
    }

    /// Group.
    pub fn group(&self) -> &str {
        &self.shared.group
    }

    /// Leaves the group. Messages received and not acknowledged come again, to other members, when their time is over.
    /// Dropped half-way, brokers notice the absence by themselves.
    pub async fn shutdown(&self) {
        let inner = &self.shared.client.inner;
        inner.members.remove_consumer(&self.shared.group);
        inner.leave(None, Some(&self.shared.group), ()).await;
    }
}

impl std::fmt::Debug for SimpleConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimpleConsumer").field("group", &self.shared.group).finish_non_exhaustive()
    }
}

impl SimpleConsumerBuilder {
    /// Group. All members of a group must subscribe to the same topics by the same expressions.
    pub fn group(mut self, group: impl Into<String>) -> SimpleConsumerBuilder {
        self.group = group.into();
        self
    }

    /// Subscribes a topic by tags: `*` for all, else tags separated by `||`. The last call for a topic counts.
    pub fn subscribe(self, topic: impl Into<String>, tags: impl Into<String>) -> SimpleConsumerBuilder {
        self.with(topic.into(), tags.into(), "TAG")
    }

    /// Subscribes a topic by an SQL92 expression over properties; brokers need `enablePropertyFilter=true`.
    pub fn subscribe_sql(
        self,
        topic: impl Into<String>,
        expression: impl Into<String>,
    ) -> SimpleConsumerBuilder {
        self.with(topic.into(), expression.into(), "SQL92")
    }

    /// Sets who shares out the queues.
    pub fn assignment(mut self, assignment: Assignment) -> SimpleConsumerBuilder {
        self.assignment = assignment;
        self
    }

    /// Sets where a group without offsets starts.
    pub fn start_at(mut self, start: StartAt) -> SimpleConsumerBuilder {
        self.start = start;
        self
    }

    /// Keeps the order of each queue: while messages of a queue are out, nobody of the group gets more of it.
    pub fn ordered(mut self) -> SimpleConsumerBuilder {
        self.ordered = true;
        self
    }

    /// Joins the group. Brokers are told in the background, unless they share out the queues.
    ///
    /// # Errors
    /// `Invalid` for names that no broker takes, without subscription, or when this client has a consumer of the group already;
    /// `NoRoute` when no broker has a subscribed topic; `Refused` with NO_PERMISSION when brokers share out the queues and none lets
    /// this client consume. Otherwise the first [`SimpleConsumer::receive`] says so.
    pub async fn start(self) -> Result<SimpleConsumer> {
        let client = self.client;
        if self.subscriptions.is_empty() {
            return Err(ClientError::Invalid("a consumer subscribes at least one topic".into()));
        }
        for subscription in &self.subscriptions {
            names::check_topic(&subscription.topic)
                .map_err(|error| ClientError::Invalid(error.to_string()))?;
            client.inner.routes.get(&subscription.topic).await?;
        }
        let data = ConsumerData {
            consume_from_where: match self.start {
                StartAt::Earliest => ConsumeFromWhere::FirstOffset,
                StartAt::Latest => ConsumeFromWhere::LastOffset,
            },
            consume_type: ConsumeType::Pop,
            group_name: self.group.clone(),
            message_model: MessageModel::Clustering,
            subscription_data_set: self.subscriptions.clone(),
            unit_mode: false,
        };
        let member: Arc<dyn ConsumerMember> = Arc::new(Member::new(data));
        client.inner.members.add_consumer(&self.group, &member)?;
        match self.assignment {
            Assignment::All => client.inner.beat_soon(),
            // Brokers give queues to members that they know.
            Assignment::Broker(_) => client.inner.beat().await?,
        }
        Ok(SimpleConsumer {
            shared: Arc::new(Shared {
                client,
                group: self.group,
                subscriptions: self.subscriptions,
                assignment: self.assignment,
                start: self.start,
                ordered: self.ordered,
                turn: AtomicUsize::new(0),
                _member: member,
            }),
        })
    }

    fn with(mut self, topic: String, expression: String, kind: &str) -> SimpleConsumerBuilder {
        let tags: Vec<String> = match kind {
            "TAG" if expression != "*" => expression
                .split("||")
                .map(str::trim)
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        self.subscriptions.retain(|known| known.topic != topic);
        self.subscriptions.push(SubscriptionData {
            class_filter_mode: false,
            code_set: tags.iter().map(|tag| java_hash(tag)).collect(),
            expression_type: Some(kind.to_owned()),
            sub_string: expression,
            sub_version: now_ms(),
            tags_set: tags,
            topic,
        });
        self
    }
}
