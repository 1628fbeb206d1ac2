//! Takes delayed messages back before they are delivered (370).
//! Source: RocketMQ 5.3 DefaultMQProducerImpl.recallMessage, RecallMessageHandle.

use bytes::Bytes;
use flotilla_remoting::headers::{RecallMessageRequest, RecallMessageResponse};
use flotilla_remoting::{RequestCode, base64, names};

use super::Producer;
use crate::error::{ClientError, Result};
use crate::remote::success;

impl Producer {
    /// Takes back a message that was sent with a time of delivery, by the handle of its
    /// [`SendResult`](super::SendResult::recall_handle). Gives its unique id. Dropped, it may have been taken back.
    ///
    /// # Errors
    /// `Invalid` for a handle that is none; `Refused` with ILLEGAL_OPERATION when it is too late, and by a broker that can't take
    /// messages back with NO_PERMISSION (RocketMQ without `recallMessageEnable=true`, its default) or REQUEST_CODE_NOT_SUPPORTED
    /// (RocketMQ before 5.3.2; Flotilla so far); `NoRoute`; `NotSent`; `Unknown`: it may have been taken back, and asking again
    /// does no harm.
    pub async fn recall(&self, topic: &str, handle: &str) -> Result<String> {
        if self.shared.closing.is_cancelled() {
            return Err(ClientError::Stopped);
        }
        if names::is_retry_topic(topic) || names::is_dlq_topic(topic) {
            return Err(ClientError::Invalid(format!("messages of {topic} can't be recalled")));
        }
        let broker_name = broker_of(handle)
            .ok_or_else(|| ClientError::Invalid(format!("{handle:?} is no handle of a recall")))?;
        let client = &self.shared.client.inner;
        let route = client.routes.get(topic).await?;
        let address = route.leader_or_any(&broker_name).map(str::to_owned);
        let address = address.or_else(|| client.routes.leader(&broker_name)).ok_or_else(|| {
            ClientError::NoRoute { topic: topic.to_owned(), reason: format!("no broker {broker_name}") }
        })?;
        let header = RecallMessageRequest {
            producer_group: Some(self.group()),
            topic,
            recall_handle: handle,
            broker_name: Some(&broker_name),
        };
        let (ext, limit) = (header.encode(), self.shared.options.send_timeout);
        let asked = client.remote.ask(&address, RequestCode::RecallMessage, ext, Bytes::new(), limit).await;
        let frame = asked.inspect_err(|error| client.routes.suspect(&address, error))?;
        let frame = success(&address, frame)?;
        let answer = RecallMessageResponse::decode(&frame.header.ext);
        let answer = answer.map_err(|error| ClientError::malformed(&address, error))?;
        Ok(answer.message_id.to_owned())
    }
}

/// Broker name in a handle: base64 of `v1 topic broker time id`.
fn broker_of(handle: &str) -> Option<String> {
    let text = String::from_utf8(base64::decode(handle)?).ok()?;
    let mut parts = text.split(' ');
    let (version, _topic, broker) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.count() >= 2 && version == "v1" && !broker.is_empty();
    is_whole.then(|| broker.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_its_broker() {
        let handle = base64::encode_url_safe(b"v1 orders broker-a 1700000000000 0A000005FFFF");
        assert_eq!(broker_of(&handle).as_deref(), Some("broker-a"));
        for wrong in ["", "%%%", "djEgeCB5", &base64::encode_url_safe(b"v2 t b 1 id")] {
            assert_eq!(broker_of(wrong), None, "{wrong}");
        }
    }
}
