//! Request and reply: a message that another client answers.
//!
//! The request is an ordinary message with three properties: an id, the requester's client id and how long it waits. The reply
//! is a message for the topic `CLUSTER_REPLY_TOPIC`, sent (325) to the broker that the request came from, because the requester
//! is known there; that broker pushes it to the requester (326).
//! Source: RocketMQ 5.3 DefaultMQProducerImpl.request, prepareSendRequest, MessageUtil.createReplyMessage.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::message::properties;
use flotilla_remoting::{RequestCode, names};
use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Producer;
use super::engine::{Grounded, left};
use super::job::{Job, Place};
use super::topics::{Broker, Hearing};
use crate::client::{Inner, spawn_until};
use crate::error::{ClientError, Result};
use crate::limits::ANNOUNCE_PATIENCE;
use crate::message::Message;
use crate::received::ReceivedMessage;
use crate::replies::Reply;
use crate::unique_id;

/// Value of MSG_TYPE on replies.
const REPLY: &str = "reply";

impl Producer {
    /// Sends a request and waits for the reply; `timeout` is for both. Dropped, the request may be stored and answered; the
    /// reply is then ignored.
    ///
    /// # Errors
    /// As [`Producer::send`]. `Unknown` when no reply came in time: somebody may have worked on it, or may yet.
    pub async fn request(&self, mut message: Message, timeout: Duration) -> Result<Reply> {
        let shared = &self.shared;
        if shared.closing.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        message.check_reserved()?;
        let (client, deadline) = (&shared.client.inner, Instant::now() + timeout);
        let correlation_id = unique_id::next().to_string();
        message.set(properties::CORRELATION_ID, &correlation_id);
        message.set(properties::REPLY_TO_CLIENT, &client.client_id);
        message.set(properties::TTL, timeout.as_millis().to_string());
        let mut waiting = client.replies.expect(correlation_id)?;
        self.be_known(message.topic(), deadline).await?;
        let mut job = Job::of(message, Place::Any, &shared.options, RequestCode::SendMessageV2, 0)?;
        job.deadline = job.deadline.min(deadline);
        let result = shared.drive(&mut Grounded::new(job)).await?;
        match timeout_at(deadline, waiting.reply()).await {
            Ok(reply) => reply,
            Err(_) => Err(ClientError::Unknown {
                address: result.queue().broker_name.clone(),
                reason: format!("request {} was stored, no reply within {timeout:?}", result.message_id()),
            }),
        }
    }

    /// Answers a request that was received. Dropped, the reply may have been sent.
    ///
    /// # Errors
    /// `Invalid` when the message is no request; `Refused` (1) when the requester has gone or is not connected; as
    /// [`Producer::send`] otherwise.
    pub async fn reply(&self, request: &ReceivedMessage, body: impl Into<Bytes>) -> Result<()> {
        if self.shared.closing.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        let needed = |name: &str| {
            let missing = || ClientError::Invalid(format!("the message is no request: it has no {name}"));
            request.property(name).ok_or_else(missing)
        };
        let topic = names::reply_topic(needed(properties::CLUSTER)?);
        let mut reply = Message::new(topic.clone(), body);
        for name in [properties::CORRELATION_ID, properties::REPLY_TO_CLIENT, properties::TTL] {
            reply.set(name, needed(name)?);
        }
        reply.set(properties::MESSAGE_TYPE, REPLY);
        let broker_name = request.queue().broker_name.clone();
        let queue = MessageQueue { topic, broker_name, queue_id: 0 };
        let (place, options) = (Place::Queue(Arc::new(queue)), &self.shared.options);
        let job = Job::of(reply, place, options, RequestCode::SendReplyMessageV2, 0)?;
        self.shared.drive(&mut Grounded::new(job)).await.map(drop)
    }

    /// Makes sure that the leaders of a topic have heard of this client: one of them will push the reply to it. Takes half of
    /// the time at most: one that does not answer may not be the one that the request goes to.
    async fn be_known(&self, topic: &str, deadline: Instant) -> Result<()> {
        let topic = self.shared.topics.topic(&self.shared.client.inner, topic);
        let snapshot = self.shared.snapshot(&topic, deadline).await?;
        if snapshot.must_be_announced() {
            let until = Instant::now() + left(deadline) / 2;
            // A failure is logged there; the request is still worth a try.
            let heard = snapshot.leaders().map(|broker| self.be_known_at(broker, until));
            if join_all(heard).await.into_iter().all(|heard| heard) {
                snapshot.announced();
            }
        }
        Ok(())
    }

    /// Waits until a leader has heard of this client, and claims that it has. All requests of a time share one heartbeat, and
    /// none waits for one that has not been answered for [`ANNOUNCE_PATIENCE`].
    async fn be_known_at(&self, broker: &Arc<Broker>, until: Instant) -> bool {
        let (hearing, now) = (&broker.hearing, Instant::now());
        let is_mine = hearing.send_if_modified(|hearing| {
            let is_new = *hearing == Hearing::Not;
            if is_new {
                *hearing = Hearing::Asked(now);
            }
            is_new
        });
        if is_mine {
            let (client, broker) = (self.shared.client.inner.clone(), broker.clone());
            let Inner { tracker, stop, .. } = &*self.shared.client.inner;
            spawn_until(tracker, stop, async move {
                let heard = client.announce(broker.name(), broker.leader()).await;
                broker.hearing.send_replace(if heard { Hearing::Heard } else { Hearing::Not });
            });
        }
        let mut hearing = hearing.subscribe();
        let asked = *hearing.borrow();
        if let Hearing::Asked(since) = asked {
            let until = until.min(since + ANNOUNCE_PATIENCE);
            let _ =
                timeout_at(until, hearing.wait_for(|hearing| !matches!(hearing, Hearing::Asked(_)))).await;
        }
        *hearing.borrow() == Hearing::Heard
    }
}
