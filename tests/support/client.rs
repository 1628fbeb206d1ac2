//! A remoting client of the tests: one connection per address, and the requests of producers, consumers and tools.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_net::{BytesPermit, ClientPool, Connection, PoolOptions, RequestError, Service};
use flotilla_remoting::bodies::{
    self, BrokerMemberGroupBody, ConsumerList, HeartbeatData, LockBatchRequest, LockBatchResponse,
    MessageQueue, TopicRouteData,
};
use flotilla_remoting::headers::{
    ConsumerSendMessageBackRequest, CreateTopicRequest, GetBrokerMemberGroupRequest, GetConsumerListRequest,
    GetMaxOffsetRequest, GetRouteInfoRequest, QueryConsumerOffsetRequest, QueueRequest,
    UnregisterClientRequest, UpdateConsumerOffsetRequest, ViewMessageRequest,
};
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};
use parking_lot::Mutex;

use super::exchange::{
    Failure, Message, Pull, Pulled, Sent, batch_body, offset, pulled, send_header, sent, succeeded,
};
use super::settings::{BROKER, CLUSTER};
use super::stored::{Stored, decode};

/// Time-out of official producers.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Time that a client waits for a pull beyond the time for which it may be held.
const PULL_SLACK: Duration = Duration::from_secs(5);

/// Requests that brokers sent to the client, and what it answers to them.
#[derive(Default)]
pub struct Inbox {
    frames: Mutex<Vec<Frame>>,
    answers: Mutex<HashMap<i32, Frame>>,
}

impl Inbox {
    /// Number of requests with this code.
    pub fn count(&self, code: RequestCode) -> usize {
        self.received(code).len()
    }

    /// Requests with this code, in the order in which they came.
    pub fn received(&self, code: RequestCode) -> Vec<Frame> {
        let frames = self.frames.lock();
        frames.iter().filter(|frame| frame.header.request_code() == code).cloned().collect()
    }

    /// From now on each request with this code is answered like this; without it there is no answer.
    pub fn answer(&self, code: RequestCode, answer: Frame) {
        self.answers.lock().insert(code.as_i32(), answer);
    }
}

impl Service for Inbox {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let answer = self.answers.lock().get(&request.header.code).cloned();
        if let Some(mut answer) = answer {
            answer.header.opaque = request.header.opaque;
            // A failure means that the connection is gone, and whoever asked with it.
            let _ = connection.reply(answer, permit);
        }
        self.frames.lock().push(request);
    }
}

/// A client with its own connections.
#[derive(Clone)]
pub struct Client {
    pool: ClientPool,
    name_server: String,
    pub inbox: Arc<Inbox>,
}

impl Client {
    /// A client of the name server at this address.
    pub fn new(name_server: &str) -> Client {
        let inbox = Arc::new(Inbox::default());
        let pool = ClientPool::new(PoolOptions::default(), inbox.clone());
        Client { pool, name_server: name_server.to_owned(), inbox }
    }

    /// Closes all connections, as the end of the client's process would.
    pub async fn close(&self) {
        self.pool.stop().await;
    }

    /// Sends any request and gives whatever is answered.
    pub async fn ask(&self, address: &str, frame: Frame, limit: Duration) -> Result<Frame, Failure> {
        self.pool.request(address, frame, limit).await.map_err(|error| match error {
            RequestError::NotSent(reason) => Failure::NotSent(reason.to_string()),
            other => Failure::Unknown(other.to_string()),
        })
    }

    /// Sends a request and wants success.
    pub async fn request(
        &self,
        address: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
    ) -> Result<Frame, Failure> {
        succeeded(self.ask(address, Frame::request(code, ext, body), TIMEOUT).await?)
    }

    /// Sends a request that wants no answer.
    pub async fn oneway(
        &self,
        address: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
    ) -> anyhow::Result<()> {
        self.pool.get(address).await?.oneway(Frame::oneway_request(code, ext, body))?;
        Ok(())
    }

    /// The route of a topic as the name server tells it.
    pub async fn route(&self, topic: &str) -> Result<TopicRouteData, Failure> {
        let header = GetRouteInfoRequest { topic, accept_standard_json_only: true };
        let code = RequestCode::GetRouteInfoByTopic;
        let answer = self.request(&self.name_server, code, header.encode(), Bytes::new()).await?;
        bodies::decode(&answer.body).map_err(|error| Failure::Answer(error.to_string()))
    }

    /// The addresses by broker id of the group's route for a topic.
    pub async fn addresses(&self, topic: &str) -> anyhow::Result<Vec<(i64, String)>> {
        let route = self.route(topic).await?;
        ensure!(route.broker_datas.len() == 1, "one broker name, not {:?}", route.broker_datas);
        Ok(route.broker_datas[0].broker_addrs.clone().into_iter().collect())
    }

    /// Address of broker id 0 in the route of a topic.
    pub async fn leader(&self, topic: &str) -> anyhow::Result<String> {
        let addresses = self.addresses(topic).await?;
        let zero = addresses.into_iter().find(|(id, _)| *id == 0);
        Ok(zero.context("the route lacks id 0")?.1)
    }

    /// The entries of the group at the name server, without stand-ins.
    pub async fn member_group(&self) -> anyhow::Result<Vec<(i64, String)>> {
        let header = GetBrokerMemberGroupRequest { cluster_name: CLUSTER, broker_name: BROKER };
        let code = RequestCode::GetBrokerMemberGroup;
        let answer = self.request(&self.name_server, code, header.encode(), Bytes::new()).await?;
        let body: BrokerMemberGroupBody = bodies::decode(&answer.body)?;
        Ok(body.broker_member_group.broker_addrs.into_iter().collect())
    }

    /// Makes a topic, or changes it.
    pub async fn create_topic(
        &self,
        address: &str,
        topic: &str,
        queues: i32,
        perm: i32,
    ) -> Result<(), Failure> {
        let header = CreateTopicRequest {
            topic,
            default_topic: Some("TBW102"),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm,
            topic_filter_type: Some("SINGLE_TAG"),
            topic_sys_flag: Some(0),
            order: false,
            attributes: None,
            force: None,
        };
        self.request(address, RequestCode::UpdateAndCreateTopic, header.encode(), Bytes::new())
            .await
            .map(drop)
    }

    /// Sends one message with code 310, once.
    pub async fn send(&self, address: &str, message: &Message) -> Result<Sent, Failure> {
        self.send_as(RequestCode::SendMessageV2, address, message).await
    }

    /// Sends one message with the given code, once.
    pub async fn send_as(
        &self,
        code: RequestCode,
        address: &str,
        message: &Message,
    ) -> Result<Sent, Failure> {
        let header = send_header(message, false);
        let ext = match code {
            RequestCode::SendMessage => header.encode(),
            _ => header.encode_short(),
        };
        sent(&self.request(address, code, ext, message.body.clone()).await?)
    }

    /// Sends messages of one queue as a batch (code 320), once.
    pub async fn send_batch(&self, address: &str, messages: &[Message]) -> Result<Sent, Failure> {
        let body = batch_body(messages)?;
        let first = messages.first().ok_or_else(|| Failure::NotSent("an empty batch".to_owned()))?;
        let ext = send_header(first, true).encode_short();
        sent(&self.request(address, RequestCode::SendBatchMessage, ext, body).await?)
    }

    /// Pulls once.
    pub async fn pull(&self, address: &str, pull: &Pull<'_>) -> Result<Pulled, Failure> {
        let frame = Frame::request(RequestCode::PullMessage, pull.ext(), Bytes::new());
        pulled(self.ask(address, frame, pull.hold + PULL_SLACK).await?)
    }

    /// All messages of a queue from an offset to the end that the replica tells.
    pub async fn read(
        &self,
        address: &str,
        topic: &str,
        queue: i32,
        from: i64,
    ) -> anyhow::Result<Vec<Stored>> {
        let mut messages: Vec<Stored> = Vec::new();
        let mut next = from;
        loop {
            let pull = Pull { messages_max: 512, ..Pull::from(topic, queue, next) };
            let pulled =
                self.pull(address, &pull).await.with_context(|| format!("{topic} {queue} at {next}"))?;
            if pulled.code != ResponseCode::Success {
                ensure!(pulled.code == ResponseCode::PullNotFound, "{:?} at {next} of {queue}", pulled.code);
                return Ok(messages);
            }
            ensure!(pulled.next > next, "a pull at {next} found messages and goes on at {}", pulled.next);
            next = pulled.next;
            messages.extend(pulled.messages);
        }
    }

    /// GET_MAX_OFFSET or GET_MIN_OFFSET.
    pub async fn bound(
        &self,
        code: RequestCode,
        address: &str,
        topic: &str,
        queue: i32,
    ) -> Result<i64, Failure> {
        let ext = match code {
            RequestCode::GetMaxOffset => {
                GetMaxOffsetRequest { topic, queue_id: queue, committed: true }.encode()
            }
            _ => QueueRequest { topic, queue_id: queue }.encode(),
        };
        offset(&self.request(address, code, ext, Bytes::new()).await?)
    }

    /// GET_MAX_OFFSET.
    pub async fn max(&self, address: &str, topic: &str, queue: i32) -> Result<i64, Failure> {
        self.bound(RequestCode::GetMaxOffset, address, topic, queue).await
    }

    /// QUERY_CONSUMER_OFFSET, without the zero for groups that never committed.
    pub async fn committed(
        &self,
        address: &str,
        group: &str,
        topic: &str,
        queue: i32,
    ) -> Result<i64, Failure> {
        let header = QueryConsumerOffsetRequest {
            consumer_group: group,
            topic,
            queue_id: queue,
            set_zero_if_not_found: Some(false),
        };
        let code = RequestCode::QueryConsumerOffset;
        offset(&self.request(address, code, header.encode(), Bytes::new()).await?)
    }

    /// UPDATE_CONSUMER_OFFSET, with an answer.
    pub async fn commit(
        &self,
        address: &str,
        group: &str,
        topic: &str,
        queue: i32,
        offset: i64,
    ) -> Result<(), Failure> {
        let header = UpdateConsumerOffsetRequest {
            consumer_group: group,
            topic,
            queue_id: queue,
            commit_offset: offset,
        };
        let code = RequestCode::UpdateConsumerOffset;
        self.request(address, code, header.encode(), Bytes::new()).await.map(drop)
    }

    /// HEART_BEAT.
    pub async fn heartbeat(&self, address: &str, data: &HeartbeatData) -> Result<(), Failure> {
        self.request(address, RequestCode::Heartbeat, ExtFields::new(), bodies::encode(data)).await.map(drop)
    }

    /// UNREGISTER_CLIENT of a consumer.
    pub async fn leave(&self, address: &str, client_id: &str, group: &str) -> Result<(), Failure> {
        let header = UnregisterClientRequest { client_id, producer_group: None, consumer_group: Some(group) };
        self.request(address, RequestCode::UnregisterClient, header.encode(), Bytes::new()).await.map(drop)
    }

    /// CONSUMER_SEND_MSG_BACK of the message at a commit-log offset.
    pub async fn send_back(
        &self,
        address: &str,
        group: &str,
        offset: i64,
        level: i32,
        times_max: Option<i32>,
    ) -> Result<(), Failure> {
        let header = ConsumerSendMessageBackRequest {
            offset,
            group,
            delay_level: level,
            origin_message_id: None,
            origin_topic: Some("origin"),
            unit_mode: false,
            max_reconsume_times: times_max,
            broker_name: Some(BROKER),
        };
        let code = RequestCode::ConsumerSendMessageBack;
        self.request(address, code, header.encode(), Bytes::new()).await.map(drop)
    }

    /// VIEW_MESSAGE_BY_ID, by the commit-log offset in the id.
    pub async fn view(&self, address: &str, offset: i64) -> Result<Stored, Failure> {
        let ext = ViewMessageRequest { offset, topic: None }.encode();
        let answer = self.request(address, RequestCode::ViewMessageById, ext, Bytes::new()).await?;
        let mut messages = decode(&answer.body).map_err(|error| Failure::Answer(format!("{error:#}")))?;
        messages.pop().ok_or_else(|| Failure::Answer("no message".to_owned()))
    }

    /// LOCK_BATCH_MQ: the queues of the topic that the client holds now.
    pub async fn lock(
        &self,
        address: &str,
        group: &str,
        client_id: &str,
        topic: &str,
        queues: &[i32],
    ) -> Result<Vec<i32>, Failure> {
        let body = bodies::encode(&lock_body(group, client_id, topic, queues));
        let frame = Frame::request(RequestCode::LockBatchMq, ExtFields::new(), body);
        let answer = succeeded(self.ask(address, frame, TIMEOUT).await?)?;
        let locked: LockBatchResponse =
            bodies::decode(&answer.body).map_err(|error| Failure::Answer(error.to_string()))?;
        let mut held: Vec<i32> = locked.lock_ok_mq_set.iter().map(|queue| queue.queue_id).collect();
        held.sort_unstable();
        Ok(held)
    }

    /// UNLOCK_BATCH_MQ.
    pub async fn unlock(
        &self,
        address: &str,
        group: &str,
        client_id: &str,
        topic: &str,
        queues: &[i32],
    ) -> Result<(), Failure> {
        let body = bodies::encode(&lock_body(group, client_id, topic, queues));
        self.request(address, RequestCode::UnlockBatchMq, ExtFields::new(), body).await.map(drop)
    }

    /// GET_CONSUMER_LIST_BY_GROUP, sorted.
    pub async fn consumers(&self, address: &str, group: &str) -> Result<Vec<String>, Failure> {
        let ext = GetConsumerListRequest { consumer_group: group }.encode();
        let answer = self.request(address, RequestCode::GetConsumerListByGroup, ext, Bytes::new()).await?;
        let list: ConsumerList =
            bodies::decode(&answer.body).map_err(|error| Failure::Answer(error.to_string()))?;
        let mut ids = list.consumer_id_list;
        ids.sort();
        Ok(ids)
    }
}

/// Body of a lock or unlock.
pub fn lock_body(group: &str, client_id: &str, topic: &str, queues: &[i32]) -> LockBatchRequest {
    let queue = |queue_id: &i32| MessageQueue {
        broker_name: BROKER.to_owned(),
        queue_id: *queue_id,
        topic: topic.to_owned(),
    };
    LockBatchRequest {
        client_id: client_id.to_owned(),
        consumer_group: group.to_owned(),
        mq_set: queues.iter().map(queue).collect(),
        only_this_broker: false,
    }
}
