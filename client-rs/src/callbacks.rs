//! Requests from brokers to this client: codes 39, 40, 220, 221, 307, 309, 326.
//! Source: RocketMQ 5.3 ClientRemotingProcessor.

use std::sync::{Arc, Weak};

use flotilla_net::{BytesPermit, CloseReason, Connection, Service};
use flotilla_remoting::bodies::{self, ConsumerStatusBody, MessageQueue, ResetOffsetBody};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    CheckTransactionStateRequest, ConsumeMessageDirectlyRequest, GetConsumerRunningInfoRequest,
    GetConsumerStatusRequest, NotifyConsumerIdsChangedRequest, ResetOffsetRequest,
};
use flotilla_remoting::message::{MessageView, properties};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::client::Inner;
use crate::error::ClientError;
use crate::limits::CALLBACKS_MAX;
use crate::members::TransactionCheck;
use crate::received::ReceivedMessage;

/// What the connections of a client call.
pub(crate) struct Callbacks {
    client: Weak<Inner>,
    running: Arc<Semaphore>,
}

impl Callbacks {
    pub(crate) fn new(client: Weak<Inner>) -> Callbacks {
        Callbacks { client, running: Arc::new(Semaphore::new(CALLBACKS_MAX)) }
    }
}

impl Service for Callbacks {
    fn disconnected(&self, connection: &Arc<Connection>, reason: &CloseReason) {
        let Some(client) = self.client.upgrade() else { return };
        let address = connection.peer().to_string();
        // A leader that was killed is noticed here before the first request fails.
        if !matches!(reason, CloseReason::Requested(_) | CloseReason::Idle) {
            let why = ClientError::NotSent { address: address.clone(), reason: reason.to_string() };
            client.routes.suspect(&address, &why);
        }
    }

    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let Some(client) = self.client.upgrade() else { return };
        let Ok(turn) = self.running.clone().try_acquire_owned() else {
            return self.overloaded(connection, request);
        };
        let connection = connection.clone();
        client.tracker.clone().spawn(async move {
            let answer = answer(&client, &connection, &request).await;
            drop(turn);
            if !request.is_oneway() {
                // A failure means that the connection has gone, and with it whoever asked.
                let _ = connection.reply(answer, permit);
            }
        });
    }
}

async fn answer(client: &Arc<Inner>, connection: &Arc<Connection>, request: &Frame) -> Frame {
    let code = request.header.request_code();
    debug!(%code, peer = %connection.peer(), "asked by a broker");
    let done = match code {
        RequestCode::NotifyConsumerIdsChanged => members_changed(client, request),
        RequestCode::CheckTransactionState => check_transaction(client, connection, request),
        RequestCode::ResetConsumerClientOffset => reset_offsets(client, request),
        RequestCode::GetConsumerStatusFromClient => consumer_status(client, request),
        RequestCode::GetConsumerRunningInfo => running_info(client, request),
        RequestCode::ConsumeMessageDirectly => consume_directly(client, request).await,
        RequestCode::PushReplyMessageToClient => client.replies.arrived(request),
        other => {
            let remark = format!("request {other} is not supported by this client");
            return request.reply(ResponseCode::RequestCodeNotSupported, Some(remark));
        }
    };
    done.unwrap_or_else(|reason| {
        warn!(%code, peer = %connection.peer(), reason, "request of a broker can't be served");
        request.reply(ResponseCode::SystemError, Some(reason))
    })
}

type Answer = Result<Frame, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn no_group(group: &str) -> String {
    format!("the group {group} is not of this client")
}

fn members_changed(client: &Arc<Inner>, request: &Frame) -> Answer {
    let header = NotifyConsumerIdsChangedRequest::decode(&request.header.ext).map_err(text)?;
    if let Some(member) = client.members.consumer(header.consumer_group) {
        member.members_changed();
    }
    Ok(request.reply(ResponseCode::Success, None))
}

fn check_transaction(client: &Arc<Inner>, connection: &Arc<Connection>, request: &Frame) -> Answer {
    let header = CheckTransactionStateRequest::decode(&request.header.ext).map_err(text)?;
    let message = message_of(request, header.broker_name.unwrap_or_default())?;
    let group = message.property(properties::PRODUCER_GROUP).ok_or("the half message names no group")?;
    let member = client.members.producer(group).ok_or_else(|| no_group(group))?;
    member.check_transaction(TransactionCheck {
        broker: connection.peer().to_string(),
        half_queue_offset: header.half_queue_offset,
        commit_log_offset: header.commit_log_offset,
        transaction_id: header.transaction_id.map(str::to_owned),
        message,
    });
    Ok(request.reply(ResponseCode::Success, None))
}

fn reset_offsets(client: &Arc<Inner>, request: &Frame) -> Answer {
    let header = ResetOffsetRequest::decode(&request.header.ext).map_err(text)?;
    let body: ResetOffsetBody = bodies::decode(&request.body).map_err(text)?;
    let member = client.members.consumer(header.group).ok_or_else(|| no_group(header.group))?;
    member.reset_offsets(header.topic, body.offset_table);
    Ok(request.reply(ResponseCode::Success, None))
}

fn consumer_status(client: &Arc<Inner>, request: &Frame) -> Answer {
    let header = GetConsumerStatusRequest::decode(&request.header.ext).map_err(text)?;
    let member = client.members.consumer(header.group).ok_or_else(|| no_group(header.group))?;
    let body = ConsumerStatusBody {
        message_queue_table: member.offsets(header.topic),
        ..ConsumerStatusBody::default()
    };
    Ok(request.reply_with(ExtFields::new(), bodies::encode(&body)))
}

fn running_info(client: &Arc<Inner>, request: &Frame) -> Answer {
    let header = GetConsumerRunningInfoRequest::decode(&request.header.ext).map_err(text)?;
    let group = header.consumer_group;
    let member = client.members.consumer(group).ok_or_else(|| no_group(group))?;
    Ok(request.reply_with(ExtFields::new(), bodies::encode(&member.running_info())))
}

async fn consume_directly(client: &Arc<Inner>, request: &Frame) -> Answer {
    let header = ConsumeMessageDirectlyRequest::decode(&request.header.ext).map_err(text)?;
    let message = message_of(request, header.broker_name.unwrap_or_default())?;
    let group = header.consumer_group;
    let member = client.members.consumer(group).ok_or_else(|| no_group(group))?;
    let result = tokio::select! {
        result = member.consume_directly(message) => result,
        // A listener that never ends must not keep the client from ending.
        () = client.stop.cancelled() => return Err("the client was shut down".to_owned()),
    };
    Ok(request.reply_with(ExtFields::new(), bodies::encode(&result)))
}

/// The message that is the body of a request.
fn message_of(request: &Frame, broker_name: &str) -> Result<ReceivedMessage, String> {
    let (view, _) = MessageView::parse(&request.body).map_err(text)?;
    let queue = MessageQueue {
        topic: view.topic().to_owned(),
        broker_name: broker_name.to_owned(),
        queue_id: view.queue_id(),
    };
    Ok(ReceivedMessage::new(&Arc::new(queue), &request.body, &view))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use flotilla_remoting::bodies::{ConsumeDirectlyResult, ConsumerData, ConsumerRunningInfo};
    use futures::future::BoxFuture;

    use super::*;
    use crate::client::Client;
    use crate::members::ConsumerMember;
    use crate::received::tests::record;

    /// A consumer whose listener never ends.
    struct Endless;

    impl ConsumerMember for Endless {
        fn data(&self) -> ConsumerData {
            ConsumerData::default()
        }

        fn members_changed(&self) {}

        fn reset_offsets(&self, _topic: &str, _offsets: BTreeMap<MessageQueue, i64>) {}

        fn offsets(&self, _topic: &str) -> BTreeMap<MessageQueue, i64> {
            BTreeMap::new()
        }

        fn running_info(&self) -> ConsumerRunningInfo {
            ConsumerRunningInfo::default()
        }

        fn consume_directly(&self, _message: ReceivedMessage) -> BoxFuture<'static, ConsumeDirectlyResult> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_listener_that_never_ends_does_not_keep_the_client_from_ending() {
        let client = Client::connect("127.0.0.1:1").unwrap();
        let member: Arc<dyn ConsumerMember> = Arc::new(Endless);
        client.inner.members.add_consumer("g", &member).unwrap();
        let header = ConsumeMessageDirectlyRequest {
            consumer_group: "g",
            client_id: None,
            message_id: None,
            broker_name: None,
            topic: None,
            topic_sys_flag: None,
            group_sys_flag: None,
        };
        let request = Frame::request(
            RequestCode::ConsumeMessageDirectly,
            header.encode(),
            record("t", 0, 0, "").into(),
        );
        let inner = client.inner.clone();
        let working = client.inner.tracker.spawn(async move { consume_directly(&inner, &request).await });
        tokio::time::timeout(Duration::from_secs(30), client.shutdown()).await.unwrap();
        assert!(working.await.unwrap().unwrap_err().contains("shut down"));
    }
}
