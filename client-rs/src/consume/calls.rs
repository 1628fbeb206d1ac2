//! Calls to brokers on behalf of a group: offsets, members, locks. All of them do no harm when they are done twice.
//!
//! Each goes to the leader of a broker name. One that fails in a way that a stale route explains makes the client look for
//! the new route at once, and is repeated there for as long as its patience lasts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies::{
    self, CheckClientConfig, ConsumerList, LockBatchRequest, LockBatchResponse, MessageQueue,
    SubscriptionData,
};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    BoundaryType, GetConsumerListRequest, GetMaxOffsetRequest, OffsetResponse, QueryConsumerOffsetRequest,
    QueueRequest, SearchOffsetRequest, UpdateConsumerOffsetRequest,
};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode, names};
use tokio::time::Instant;

use super::ConsumeFrom;
use crate::client::Inner;
use crate::error::{ClientError, Result};
use crate::limits;

/// Calls of one group of one client.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) client: Arc<Inner>,
    pub(crate) group: Arc<str>,
}

/// Where a queue is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) offset: i64,
    /// Claims that the offset is stored, so that it need not be told again.
    pub(crate) stored: bool,
}

impl Calls {
    /// A call to the leader of a broker name, repeated at the new leader while `patience` lasts; with none once.
    pub(crate) async fn at_leader(
        &self,
        topic: &str,
        broker_name: &str,
        request: (RequestCode, ExtFields, Bytes),
        patience: Duration,
    ) -> Result<Frame> {
        let deadline = Instant::now() + patience;
        let (code, ext, body) = request;
        let mut routes = self.client.routes.watch(topic);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let full = self.client.remote.call_timeout();
            let limit = if left.is_zero() { full } else { left.min(full) };
            let error = match self.leader(topic, broker_name).await {
                Ok(address) => {
                    let call =
                        self.client.remote.call_within(&address, code, ext.clone(), body.clone(), limit);
                    match call.await {
                        Ok(frame) => return Ok(frame),
                        Err(error) => {
                            if error.hints_at_stale_route() {
                                self.client.routes.suspect(&address, &error);
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            let transient = error.hints_at_stale_route() || error.may_be_repeated();
            if !transient || Instant::now() + limits::CALL_PAUSE >= deadline {
                return Err(error);
            }
            let _ = tokio::time::timeout(limits::CALL_PAUSE, routes.changed()).await;
        }
    }

    /// Address of a broker name's leader.
    ///
    /// # Errors
    /// `NoRoute`; what kept the name servers from answering.
    pub(crate) async fn leader(&self, topic: &str, broker_name: &str) -> Result<String> {
        let route = self.client.routes.get(topic).await?;
        let found = route.leader_or_any(broker_name).map(str::to_owned);
        found.or_else(|| self.client.routes.leader(broker_name)).ok_or_else(|| ClientError::NoRoute {
            topic: broker_name.to_owned(),
            reason: format!("the route of {topic} does not name this broker"),
        })
    }

    /// Client ids of the group's members.
    pub(crate) async fn members(&self, topic: &str, broker_name: &str) -> Result<Vec<String>> {
        let ext = GetConsumerListRequest { consumer_group: &self.group }.encode();
        let request = (RequestCode::GetConsumerListByGroup, ext, Bytes::new());
        let frame = self.at_leader(topic, broker_name, request, limits::CALL_PATIENCE).await?;
        let list: ConsumerList =
            bodies::decode(&frame.body).map_err(|error| ClientError::malformed(broker_name, error))?;
        Ok(list.consumer_id_list)
    }

    /// The offset that the broker has for the group.
    pub(crate) async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>> {
        let header = QueryConsumerOffsetRequest {
            consumer_group: &self.group,
            topic: &queue.topic,
            queue_id: queue.queue_id,
            set_zero_if_not_found: None,
        };
        match self.offset(queue, RequestCode::QueryConsumerOffset, header.encode()).await {
            Ok(offset) => Ok(Some(offset)),
            Err(error) if error.code() == Some(ResponseCode::QueryNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an offset, told apart from a one-way commit by an answer.
    pub(crate) async fn commit(&self, queue: &MessageQueue, offset: i64, patience: Duration) -> Result<()> {
        let header = UpdateConsumerOffsetRequest {
            consumer_group: &self.group,
            topic: &queue.topic,
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        let request = (RequestCode::UpdateConsumerOffset, header.encode(), Bytes::new());
        self.at_leader(&queue.topic, &queue.broker_name, request, patience).await.map(drop)
    }

    /// Offset behind the newest message.
    pub(crate) async fn max_offset(&self, queue: &MessageQueue) -> Result<i64> {
        let header = GetMaxOffsetRequest { topic: &queue.topic, queue_id: queue.queue_id, committed: true };
        self.offset(queue, RequestCode::GetMaxOffset, header.encode()).await
    }

    /// Offset of the oldest message.
    pub(crate) async fn min_offset(&self, queue: &MessageQueue) -> Result<i64> {
        let header = QueueRequest { topic: &queue.topic, queue_id: queue.queue_id };
        self.offset(queue, RequestCode::GetMinOffset, header.encode()).await
    }

    /// Offset of the first message stored at or after a time.
    pub(crate) async fn offset_at(&self, queue: &MessageQueue, timestamp: i64) -> Result<i64> {
        let header = SearchOffsetRequest {
            topic: &queue.topic,
            queue_id: queue.queue_id,
            timestamp,
            boundary_type: BoundaryType::Lower,
        };
        self.offset(queue, RequestCode::SearchOffsetByTimestamp, header.encode()).await
    }

    /// Where a queue starts for which nothing is stored. Source: RocketMQ 5.3 RebalancePushImpl.computePullFromWhere; its
    /// offset 0 for "first" is corrected by the first pull, the minimum asked for here is what it ends at.
    pub(crate) async fn first_offset(&self, queue: &MessageQueue, from: ConsumeFrom) -> Result<i64> {
        let is_retry = names::is_retry_topic(&queue.topic);
        match from {
            ConsumeFrom::Last if is_retry => Ok(0),
            ConsumeFrom::Last => self.max_offset(queue).await,
            ConsumeFrom::First => self.min_offset(queue).await,
            ConsumeFrom::TimestampMs(_) if is_retry => self.max_offset(queue).await,
            ConsumeFrom::TimestampMs(timestamp) => self.offset_at(queue, timestamp).await,
        }
    }

    async fn offset(&self, queue: &MessageQueue, code: RequestCode, ext: ExtFields) -> Result<i64> {
        let request = (code, ext, Bytes::new());
        let frame = self.at_leader(&queue.topic, &queue.broker_name, request, limits::CALL_PATIENCE).await?;
        let header = OffsetResponse::decode(&frame.header.ext)
            .map_err(|error| ClientError::malformed(&queue.broker_name, error))?;
        Ok(header.offset)
    }

    /// Locks queues of one broker name for this client; gives those that it holds now.
    pub(crate) async fn lock(&self, queues: Vec<MessageQueue>) -> Result<Vec<MessageQueue>> {
        let frame = self.lock_call(RequestCode::LockBatchMq, queues).await?;
        let Some(frame) = frame else { return Ok(Vec::new()) };
        let body: LockBatchResponse =
            bodies::decode(&frame.body).map_err(|error| ClientError::malformed("the broker", error))?;
        Ok(body.lock_ok_mq_set)
    }

    /// Gives up locks of one broker name.
    pub(crate) async fn unlock(&self, queues: Vec<MessageQueue>) -> Result<()> {
        self.lock_call(RequestCode::UnlockBatchMq, queues).await.map(drop)
    }

    async fn lock_call(&self, code: RequestCode, queues: Vec<MessageQueue>) -> Result<Option<Frame>> {
        let Some(first) = queues.first() else { return Ok(None) };
        let (topic, broker_name) = (first.topic.clone(), first.broker_name.clone());
        let body = LockBatchRequest {
            client_id: self.client.client_id.clone(),
            consumer_group: self.group.to_string(),
            mq_set: queues,
            only_this_broker: false,
        };
        let request = (code, ExtFields::new(), bodies::encode(&body));
        self.at_leader(&topic, &broker_name, request, limits::CALL_PATIENCE).await.map(Some)
    }

    /// Asks whether brokers take a subscription; only they know SQL.
    ///
    /// # Errors
    /// `Refused`, with the broker's reason.
    pub(crate) async fn check(&self, subscription: &SubscriptionData) -> Result<()> {
        let route = self.client.routes.get(&subscription.topic).await?;
        let body = bodies::encode(&CheckClientConfig {
            client_id: self.client.client_id.clone(),
            group: self.group.to_string(),
            namespace: None,
            subscription_data: subscription.clone(),
        });
        for broker_name in route.brokers().keys() {
            let request = (RequestCode::CheckClientConfig, ExtFields::new(), body.clone());
            self.at_leader(&subscription.topic, broker_name, request, limits::CALL_PATIENCE).await?;
        }
        Ok(())
    }
}
