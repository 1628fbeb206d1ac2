//! Messages that a listener failed on, back to the broker: to be delivered again, or as dead letters.
//!
//! An unknown outcome is tried again: a message is delivered twice rather than lost.
//! Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.sendMessageBack, sendMessageBackAsNormalMessage.

use flotilla_remoting::headers::{ConsumerSendMessageBackRequest, SendMessageRequest};
use flotilla_remoting::message::properties;
use flotilla_remoting::names;
use flotilla_remoting::{RequestCode, names::AUTO_CREATE_TOPIC};
use tracing::warn;

use super::calls::Calls;
use crate::error::{ClientError, Result};
use crate::limits;
use crate::received::ReceivedMessage;
use crate::unique_id::now_ms;

/// Producer group of messages that consumers send.
const INNER_PRODUCER: &str = "CLIENT_INNER_PRODUCER";

/// Properties that a message sent anew gets new values of, or must not have.
const REPLACED: [&str; 6] = [
    properties::TRANSACTION_PREPARED,
    properties::RETRY_TOPIC,
    properties::RECONSUME_TIME,
    properties::MAX_RECONSUME_TIMES,
    properties::ORIGIN_MESSAGE_ID,
    properties::DELAY,
];

impl Calls {
    /// Hands a message back (36): level 0 delays by the number of attempts, a negative one makes a dead letter. When the broker
    /// can't take it back, it is sent anew to the group's retry topic.
    ///
    /// # Errors
    /// Both ways failed. The message may be delivered again all the same.
    pub(crate) async fn send_back(
        &self,
        message: &ReceivedMessage,
        level: i32,
        max_times: i32,
    ) -> Result<()> {
        let queue = message.queue();
        let message_id = message.message_id();
        let header = ConsumerSendMessageBackRequest {
            offset: message.physical_offset(),
            group: &self.group,
            delay_level: level,
            origin_message_id: Some(&message_id),
            origin_topic: Some(message.topic()),
            unit_mode: false,
            max_reconsume_times: Some(max_times),
            broker_name: Some(&queue.broker_name),
        };
        let request = (RequestCode::ConsumerSendMessageBack, header.encode(), bytes::Bytes::new());
        let patience = limits::SEND_BACK_PATIENCE;
        let Err(error) = self.at_leader(&queue.topic, &queue.broker_name, request, patience).await else {
            return Ok(());
        };
        warn!(group = %self.group, ?queue, queue_offset = message.queue_offset(), %error,
            "message can't be handed back: it is sent to the retry topic");
        if level < 0 {
            // The broker takes more attempts than allowed for a dead letter.
            return self.send_again(message, 0).await;
        }
        self.send_again(message, max_times).await
    }

    /// Sends a message anew to the group's retry topic, for its next attempt.
    ///
    /// # Errors
    /// It could not be sent, or what became of it is unknown.
    pub(crate) async fn send_again(&self, message: &ReceivedMessage, max_times: i32) -> Result<()> {
        let topic = names::retry_topic(&self.group);
        let route = self.client.routes.get(&topic).await?;
        let queues = route.write_queues();
        let Some(queue) = queues.get(rand::random_range(0..queues.len().max(1))) else {
            return Err(ClientError::NoRoute { topic, reason: "no queue can be written".into() });
        };
        let times = message.reconsume_times();
        let text = properties_again(message, times);
        let header = SendMessageRequest {
            producer_group: INNER_PRODUCER,
            topic: &topic,
            default_topic: AUTO_CREATE_TOPIC,
            default_topic_queue_nums: 4,
            queue_id: queue.queue_id,
            // The body is plain here, whatever it was on its way.
            sys_flag: 0,
            born_timestamp: now_ms(),
            flag: message.flag(),
            properties: Some(&text),
            reconsume_times: Some(times.saturating_add(1)),
            unit_mode: false,
            batch: false,
            max_reconsume_times: Some(max_times),
            broker_name: Some(&queue.broker_name),
        };
        let request = (RequestCode::SendMessageV2, header.encode_short(), message.body().clone());
        let patience = limits::SEND_BACK_PATIENCE;
        self.at_leader(&topic, &queue.broker_name, request, patience).await.map(drop)
    }
}

/// Property text of the message's next attempt.
fn properties_again(message: &ReceivedMessage, times: i32) -> String {
    let origin = message.property(properties::ORIGIN_MESSAGE_ID).map(str::to_owned);
    let origin = origin.unwrap_or_else(|| message.message_id());
    let mut text = properties::without(message.properties_text(), &REPLACED);
    properties::append(&mut text, properties::ORIGIN_MESSAGE_ID, &origin);
    properties::append(&mut text, properties::RETRY_TOPIC, message.topic());
    properties::append(&mut text, properties::DELAY, &times.saturating_add(3).to_string());
    text
}
