//! Producers, consumers and an admin client for Apache RocketMQ's remoting protocol: they work against Flotilla and
//! against RocketMQ alike.
//!
//! | module        | subject                                                                          |
//! |---------------|----------------------------------------------------------------------------------|
//! | [`client`]    | [`Client`]: connections, routes, heartbeats; everything else is made of it        |
//! | [`options`]   | what can be set for a client                                                      |
//! | [`message`]   | [`Message`], what is sent                                                         |
//! | [`PushConsumer`] | a consumer that calls a listener                                               |
//! | [`PullConsumer`] | a consumer that is polled                                                      |
//! | [`allocate`]  | who of a group gets which queue                                                   |
//! | [`received`]  | [`ReceivedMessage`], what arrives                                                 |
//! | [`producer`]  | [`Producer`] and [`TransactionProducer`]: what sends                              |
//! | [`error`]     | [`ClientError`], by what the caller can do                                        |
//! | [`metrics`]   | hook for an application's metrics                                                 |
//! | [`NameServers`] | where name servers are: a list, the environment, an HTTP endpoint                |
//! | [`admin`]     | [`AdminClient`]: topics, groups, offsets, brokers, name servers, messages         |
//! | [`simple`]    | [`SimpleConsumer`]: receive, acknowledge, hide for longer (pop)                   |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
mod callbacks;
pub mod client;
mod compression;
mod consume;
pub mod error;
mod limits;
mod members;
pub mod message;
pub mod metrics;
mod name_servers;
pub mod options;
pub mod producer;
mod pull;
mod push;
pub mod received;
mod remote;
mod replies;
mod routes;
mod signature;
pub mod simple;
mod unique_id;
mod vigil;

pub use admin::AdminClient;
pub use client::Client;
pub use compression::Codec;
pub use consume::{ConsumeFrom, Expression, Model, allocate};
pub use error::{ClientError, Result};
pub use flotilla_remoting::ResponseCode;
pub use flotilla_remoting::bodies::MessageQueue;
pub use message::Message;
pub use metrics::{Event, Metrics};
pub use name_servers::NameServers;
pub use options::{ClientOptions, Credentials};
pub use producer::{
    BatchError, Producer, ProducerBuilder, SendFuture, SendResult, SendStatus, TransactionOutcome,
    TransactionProducer, TransactionState,
};
pub use pull::{PullConsumer, PullConsumerBuilder};
pub use push::{Delivery, MessageStream, OrderlyOutcome, Outcome, PushConsumer, PushConsumerBuilder};
pub use received::ReceivedMessage;
pub use replies::Reply;
pub use routes::TopicRoute;
pub use simple::SimpleConsumer;

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
