//! Messages: by offset id (33), by key or unique id (12), by place (11).

use std::sync::Arc;

use flotilla_remoting::bodies::{BrokerData, MessageQueue};
use flotilla_remoting::headers::{
    PullMessageRequest, PullMessageResponse, QueryMessageRequest, ViewMessageRequest, key,
};
use flotilla_remoting::message::OffsetMessageId;
use flotilla_remoting::{RequestCode, ResponseCode};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::AdminClient;
use super::reach::{Answer, Ask, By};
use crate::error::{ClientError, Result};
use crate::received::ReceivedMessage;

/// Group that tools read as; every broker has it. Source: RocketMQ 5.3 MixAll.TOOLS_CONSUMER_GROUP.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";

/// Brokers give no more at once. Source: RocketMQ 5.3 MessageStoreConfig.maxMsgsNumBatch.
const FOUND_MAX: i32 = 64;

/// Answers to a pull that bring no message and tell the ends of the queue.
const NOTHING_THERE: [ResponseCode; 3] =
    [ResponseCode::PullNotFound, ResponseCode::PullRetryImmediately, ResponseCode::PullOffsetMoved];

/// Answer to a search that brings no message.
const NOTHING_FOUND: [ResponseCode; 1] = [ResponseCode::QueryNotFound];

/// A search by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    /// Most messages wanted, of each broker name; brokers give at most 64, the newest ones.
    pub max: i32,
    /// First store time wanted, in ms since 1970.
    pub from_ms: i64,
    /// Last store time wanted, in ms since 1970.
    pub to_ms: i64,
}

impl Default for KeyQuery {
    /// At most 64, of any time.
    fn default() -> KeyQuery {
        KeyQuery { max: FOUND_MAX, from_ms: 0, to_ms: i64::MAX }
    }
}

/// What was read at a place.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Messages, in order; none when there are none at that offset.
    pub messages: Vec<ReceivedMessage>,
    /// Queue offset to read next.
    pub next_offset: i64,
    /// First queue offset that is available.
    pub min_offset: i64,
    /// Queue offset of the next message to be written.
    pub max_offset: i64,
}

impl AdminClient {
    /// The message with an offset id: what [`ReceivedMessage::offset_message_id`] gives. Asks the address in the id first; when
    /// that is gone, the leaders of the topic's brokers, whose replicas have the same log.
    ///
    /// # Errors
    /// `Invalid` when the text is no such id; `Refused` when the message is gone; who could not be asked, when nobody else has
    /// the message.
    pub async fn message_by_offset_id(&self, topic: &str, id: &str) -> Result<ReceivedMessage> {
        let parsed: OffsetMessageId =
            id.parse().map_err(|error| ClientError::Invalid(format!("offset id {id}: {error}")))?;
        let ext = ViewMessageRequest { offset: parsed.physical_offset, topic: Some(topic) }.encode();
        let ask = Ask::new(RequestCode::ViewMessageById, ext);
        let gone = match self.at(&parsed.host.to_string(), &ask).await {
            Ok(answer) => return one(&answer, &self.name_at(topic, &answer.address).await),
            Err(error @ (ClientError::NotSent { .. } | ClientError::Unknown { .. })) => error,
            Err(error) => return Err(error),
        };
        let route = self.topic_route(topic).await?;
        let asked = route.broker_datas.iter().map(async |broker| {
            let answer = self.at_leader(By::Topic(topic), &broker.broker_name, &ask).await?;
            one(&answer, &broker.broker_name)
        });
        // As they answer: who has the message need not wait for who can't be reached.
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut failure: Option<ClientError> = None;
        while let Some(found) = asked.next().await {
            match found {
                Ok(message) if message.offset_message_id().eq_ignore_ascii_case(id) => return Ok(message),
                // Another broker name has another message at this position, or the middle of one, or nothing.
                Ok(_) | Err(ClientError::Malformed { .. }) => {}
                // Who can't be asked may have it; who refuses has it not.
                Err(error) if failure.as_ref().is_none_or(|known| known.code().is_some()) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or(gone))
    }

    /// Broker name of an address in the route of a topic; empty when it is not in it.
    async fn name_at(&self, topic: &str, address: &str) -> String {
        let Ok(route) = self.topic_route(topic).await else { return String::new() };
        let of = |broker: &BrokerData| broker.broker_addrs.values().any(|known| known == address);
        route.broker_datas.into_iter().find(of).map(|broker| broker.broker_name).unwrap_or_default()
    }

    /// Messages of a topic with a key, from every broker name, oldest first. Messages are found a moment after they were stored.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic; a broker that can't be reached.
    pub async fn messages_by_key(
        &self,
        topic: &str,
        key: &str,
        query: KeyQuery,
    ) -> Result<Vec<ReceivedMessage>> {
        let found = self.query(topic, key, query, false).await?;
        // Brokers compare hashes.
        Ok(found.into_iter().filter(|message| message.keys().any(|known| known == key)).collect())
    }

    /// The message with a unique id: what a send gives, and [`ReceivedMessage::message_id`]. An id that was sent several times
    /// gives its oldest message. `None` when there is none, or not yet: messages are found a moment after they were stored.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic; a broker that can't be reached.
    pub async fn message_by_unique_id(&self, topic: &str, id: &str) -> Result<Option<ReceivedMessage>> {
        // The time in an id counts from the start of a month, so it limits nothing here.
        let query = KeyQuery { max: 32, ..KeyQuery::default() };
        let found = self.query(topic, id, query, true).await?;
        Ok(found.into_iter().find(|message| message.message_id() == id))
    }

    async fn query(
        &self,
        topic: &str,
        key: &str,
        query: KeyQuery,
        unique: bool,
    ) -> Result<Vec<ReceivedMessage>> {
        if key.is_empty() || query.max < 1 {
            return Err(ClientError::Invalid("a search needs a key and a number of messages".into()));
        }
        let header = QueryMessageRequest {
            topic,
            key,
            max_num: query.max,
            begin_timestamp: query.from_ms,
            end_timestamp: query.to_ms,
        };
        let mut ext = header.encode();
        ext.insert(key::UNIQUE_KEY_QUERY, if unique { "true" } else { "false" });
        // Source: RocketMQ 5.3 MQAdminImpl.queryMessage: three times as long as other calls.
        let ask = Ask::new(RequestCode::QueryMessage, ext).within(self.inner().remote.call_timeout() * 3);
        let mut found = Vec::new();
        // The leader has the newest index; without one any replica has most of it.
        for (broker_name, answer) in self.at_leaders_of(topic, &ask.accepting(&NOTHING_FOUND)).await? {
            if answer.frame.header.response_code() == ResponseCode::Success {
                found.extend(all(&answer, &broker_name, topic)?);
            }
        }
        found.sort_by_key(|message| (message.store_timestamp(), message.physical_offset()));
        Ok(found)
    }

    /// Messages of a queue from an offset on, read without being a member of any group. Nothing is waited for.
    ///
    /// # Errors
    /// `NoRoute` when no broker of that name has the topic; `Refused` for a queue that does not exist.
    pub async fn messages_at(&self, queue: &MessageQueue, queue_offset: i64, max: i32) -> Result<Pulled> {
        let (topic, queue_id) = (&queue.topic, queue.queue_id);
        let header = PullMessageRequest::plain(TOOLS_GROUP, topic, queue_id, queue_offset, max);
        let ask = Ask::new(RequestCode::PullMessage, header.encode());
        let found = self.at_queue(queue, &ask.accepting(&NOTHING_THERE)).await?;
        let ends = found.header(PullMessageResponse::decode)?;
        let messages = match found.frame.header.response_code() {
            ResponseCode::Success => all(&found, &queue.broker_name, &queue.topic)?,
            _ => Vec::new(),
        };
        Ok(Pulled {
            messages,
            next_offset: ends.next_begin_offset,
            min_offset: ends.min_offset,
            max_offset: ends.max_offset,
        })
    }
}

/// The message that is an answer's body.
fn one(answer: &Answer, broker_name: &str) -> Result<ReceivedMessage> {
    let mut messages = all(answer, broker_name, "")?;
    match messages.len() {
        1 => Ok(messages.remove(0)),
        count => Err(ClientError::malformed(&answer.address, format!("{count} messages instead of one"))),
    }
}

/// The messages that are an answer's body.
fn all(answer: &Answer, broker_name: &str, topic: &str) -> Result<Vec<ReceivedMessage>> {
    let queue = MessageQueue { broker_name: broker_name.to_owned(), queue_id: -1, topic: topic.to_owned() };
    let messages = ReceivedMessage::all(&Arc::new(queue), &answer.frame.body);
    messages.map_err(|error| ClientError::malformed(&answer.address, error))
}
