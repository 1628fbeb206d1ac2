//! Acknowledging (200051, 200151) and hiding for another time (200053).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies::{self, BatchAck, BatchAckRequest};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    AckMessageRequest, ChangeInvisibleTimeRequest, ChangeInvisibleTimeResponse,
};
use flotilla_remoting::names::{pop_retry_topic, pop_retry_topic_v2};
use flotilla_remoting::pop::{ReceiptHandle, TopicMark};
use flotilla_remoting::{ExtFields, RequestCode};

use super::{PoppedMessage, SimpleConsumer};
use crate::error::{ClientError, Result};
use crate::remote::success;

/// Offsets of one pop that a bit set spans; a pop has at most 32 messages, but filtered ones lie between them.
const SPAN_MAX: u16 = 4_096;

impl SimpleConsumer {
    /// Acknowledges a message: no member gets it again. Doing it twice, or after its time was over, is answered with success by
    /// brokers; in the latter case the message comes again all the same.
    ///
    /// Can be dropped half-way: the message may be acknowledged then.
    ///
    /// # Errors
    /// `Refused` with NO_MESSAGE when the queue has no such offset; `Unknown` when the outcome is not known: trying again does no
    /// harm.
    pub async fn ack(&self, message: &PoppedMessage) -> Result<()> {
        self.ack_handle(message.topic(), message.handle()).await
    }

    /// [`SimpleConsumer::ack`] by handle, for handles that were kept as text. `topic` is the one that was subscribed.
    ///
    /// # Errors
    /// As [`SimpleConsumer::ack`]; `Invalid` for a handle without message offset.
    pub async fn ack_handle(&self, topic: &str, handle: &ReceiptHandle) -> Result<()> {
        let real = self.real_topic(topic, handle.mark);
        let header = AckMessageRequest {
            consumer_group: self.group(),
            topic: &real,
            queue_id: handle.queue_id,
            extra_info: &handle.to_string(),
            offset: message_offset(handle)?,
        };
        self.at_broker_of(topic, handle, RequestCode::AckMessage, header.encode(), Bytes::new())
            .await
            .map(drop)
    }

    /// Acknowledges several messages with one request for each topic and broker. Gives the outcome of each, in their order;
    /// brokers answer for a whole request, and count a message that they don't know as acknowledged.
    ///
    /// Can be dropped half-way: some may be acknowledged then.
    pub async fn ack_many(&self, messages: &[PoppedMessage]) -> Vec<Result<()>> {
        let mut groups: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (index, message) in messages.iter().enumerate() {
            groups.entry((message.topic(), message.handle().broker_name.as_str())).or_default().push(index);
        }
        let asked = groups.into_iter().map(|((topic, _), indices)| async move {
            let handles: Vec<&ReceiptHandle> =
                indices.iter().map(|index| messages[*index].handle()).collect();
            (self.ack_at_once(topic, &handles).await, indices)
        });
        let mut outcomes = vec![Ok(()); messages.len()];
        for (outcome, indices) in futures::future::join_all(asked).await {
            for index in indices {
                outcomes[index] = outcome.clone();
            }
        }
        outcomes
    }

    /// `handles` are of one broker.
    async fn ack_at_once(&self, topic: &str, handles: &[&ReceiptHandle]) -> Result<()> {
        let Some(first) = handles.first() else { return Ok(()) };
        let body = BatchAckRequest {
            acks: batches(self.group(), topic, handles)?,
            broker_name: first.broker_name.clone(),
        };
        let body = bodies::encode(&body);
        self.at_broker_of(topic, first, RequestCode::BatchAckMessage, ExtFields::new(), body).await.map(drop)
    }

    /// Hides a message for another time, from now on; the message gets a new handle, its old one is of no use any more. Zero
    /// makes it visible at once, which counts as an attempt.
    ///
    /// Can be dropped half-way: the message may have a handle then that nobody knows, and comes again when its time is over.
    ///
    /// # Errors
    /// `Refused` with NO_MESSAGE when the queue has no such offset, or the message was acknowledged or its time is over.
    pub async fn change_invisible(&self, message: &mut PoppedMessage, invisible: Duration) -> Result<()> {
        let handle = self.change_invisible_handle(message.topic(), message.handle(), invisible).await?;
        message.set_handle(handle);
        Ok(())
    }

    /// [`SimpleConsumer::change_invisible`] by handle; gives the new one.
    ///
    /// # Errors
    /// As [`SimpleConsumer::change_invisible`]; `Invalid` for a handle without message offset.
    pub async fn change_invisible_handle(
        &self,
        topic: &str,
        handle: &ReceiptHandle,
        invisible: Duration,
    ) -> Result<ReceiptHandle> {
        let offset = message_offset(handle)?;
        let real = self.real_topic(topic, handle.mark);
        let header = ChangeInvisibleTimeRequest {
            consumer_group: self.group(),
            topic: &real,
            queue_id: handle.queue_id,
            extra_info: &handle.to_string(),
            offset,
            invisible_time_ms: super::receive::ms(invisible),
        };
        let code = RequestCode::ChangeMessageInvisibleTime;
        let (address, frame) = self.at_broker_of(topic, handle, code, header.encode(), Bytes::new()).await?;
        let answer = ChangeInvisibleTimeResponse::decode(&frame.header.ext)
            .map_err(|error| ClientError::malformed(&address, error))?;
        // From now on the message is a pop of its own. Source: RocketMQ 5.3 MQClientAPIImpl.changeInvisibleTimeAsync.
        Ok(ReceiptHandle {
            start_offset: offset,
            pop_time: answer.pop_time,
            invisible_time_ms: answer.invisible_time_ms,
            revive_queue_id: answer.revive_queue_id,
            message_offset: Some(offset),
            ..handle.clone()
        })
    }

    /// Topic that a message really lies in. Source: RocketMQ 5.3 ExtraInfoUtil.getRealTopic.
    fn real_topic(&self, topic: &str, mark: TopicMark) -> String {
        match mark {
            TopicMark::Normal => topic.to_owned(),
            TopicMark::RetryV1 => pop_retry_topic(self.group(), topic),
            TopicMark::RetryV2 => pop_retry_topic_v2(self.group(), topic),
        }
    }

    async fn at_broker_of(
        &self,
        topic: &str,
        handle: &ReceiptHandle,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
    ) -> Result<(String, Frame)> {
        let limit = self.shared.client.inner.remote.call_timeout();
        let (address, frame) = self.ask(topic, &handle.broker_name, code, ext, body, limit).await?;
        let frame = success(&address, frame)?;
        Ok((address, frame))
    }
}

fn message_offset(handle: &ReceiptHandle) -> Result<i64> {
    handle.message_offset.ok_or_else(|| ClientError::Invalid("the handle has no message offset".into()))
}

/// One entry for each queue of each pop: its messages are bits. Source: RocketMQ 5.3 MQClientAPIImpl.batchAckMessageAsync.
fn batches(group: &str, topic: &str, handles: &[&ReceiptHandle]) -> Result<Vec<BatchAck>> {
    // By what their handles have in common.
    let mut pops: BTreeMap<String, (&ReceiptHandle, Vec<u16>)> = BTreeMap::new();
    for handle in handles {
        let difference = message_offset(handle)? - handle.start_offset;
        let Some(difference) = u16::try_from(difference).ok().filter(|difference| *difference < SPAN_MAX)
        else {
            let reason = format!("handle {handle}: its message lies {difference} after its start");
            return Err(ClientError::Invalid(reason));
        };
        let pop = ReceiptHandle { message_offset: None, ..(*handle).clone() };
        pops.entry(pop.to_string()).or_insert_with(|| (handle, Vec::new())).1.push(difference);
    }
    let acks = pops.into_values().map(|(handle, differences)| BatchAck {
        bit_set: BatchAck::bit_set_of(&differences),
        consumer_group: group.to_owned(),
        invisible_time_ms: handle.invisible_time_ms,
        pop_time: handle.pop_time,
        queue_id: handle.queue_id,
        retry: handle.mark.text().to_owned(),
        revive_queue_id: handle.revive_queue_id,
        start_offset: handle.start_offset,
        topic: topic.to_owned(),
    });
    Ok(acks.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn handle(text: &str) -> ReceiptHandle {
        text.parse().unwrap()
    }

    #[test]
    fn messages_of_one_pop_and_queue_share_an_entry() {
        let handles =
            ["100 9 60 3 0 b 1 100", "100 9 60 3 0 b 1 109", "7 9 60 3 0 b 2 7", "4 9 60 3 1 b 1 4"]
                .map(handle);
        let acks = batches("g", "t", &handles.iter().collect::<Vec<_>>()).unwrap();
        let mut offsets: Vec<(String, i32, Vec<i64>)> =
            acks.iter().map(|ack| (ack.retry.clone(), ack.queue_id, ack.offsets().unwrap())).collect();
        offsets.sort();
        assert_eq!(
            offsets,
            [("0".to_owned(), 1, vec![100, 109]), ("0".to_owned(), 2, vec![7]), ("1".to_owned(), 1, vec![4]),]
        );
        assert!(acks.iter().all(|ack| ack.topic == "t" && ack.consumer_group == "g" && ack.pop_time == 9));
    }

    #[test]
    fn handles_that_can_not_be_acknowledged_are_the_callers_mistake() {
        for wrong in ["100 9 60 3 0 b 1", "100 9 60 3 0 b 1 99", "100 9 60 3 0 b 1 9999999"].map(handle) {
            assert!(matches!(batches("g", "t", &[&wrong]), Err(ClientError::Invalid(_))), "{wrong}");
        }
    }
}
