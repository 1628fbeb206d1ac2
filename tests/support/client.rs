//! A remoting client of the tests: one connection per address, and the requests of producers, consumers and tools.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use flotilla_net::{BytesPermit, ClientPool, Connection, PoolOptions, RequestError, Service};
use flotilla_remoting::bodies::{self, BrokerMemberGroupBody, ConsumerList, HeartbeatData, TopicRouteData};
use flotilla_remoting::headers::{
    CreateTopicRequest, GetBrokerMemberGroupRequest, GetConsumerListRequest, GetMaxOffsetRequest,
    GetRouteInfoRequest, OffsetResponse, PullMessageRequest, PullMessageResponse, PullSysFlag,
    QueryConsumerOffsetRequest, QueueRequest, SendMessageRequest, SendMessageResponse,
    UnregisterClientRequest, UpdateConsumerOffsetRequest,
};
use flotilla_remoting::message::batch::{BatchRecord, encode_record};
use flotilla_remoting::message::properties;
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};
use parking_lot::Mutex;

use super::settings::{BROKER, CLUSTER};
use super::stored::{Stored, decode};

/// Time-out of official producers.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Time that a client waits for a pull beyond the time for which it may be held.
const PULL_SLACK: Duration = Duration::from_secs(5);

/// Why a request has no successful answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// Answered with another code than success.
    #[error("code {code}: {remark}")]
    Refused { code: i32, remark: String },
    /// No byte of it has left.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Sent, and no answer: it may have taken effect.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The answer can't be read.
    #[error("bad answer: {0}")]
    Answer(String),
}

impl Failure {
    /// The code of a refusal.
    pub fn code(&self) -> Option<i32> {
        match self {
            Failure::Refused { code, .. } => Some(*code),
            Failure::NotSent(_) | Failure::Unknown(_) | Failure::Answer(_) => None,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub queue: i32,
    pub body: Bytes,
    pub properties: String,
    pub flag: i32,
    /// Template of the topic when it has to be made.
    pub default_topic: &'static str,
}

impl Message {
    /// A message without properties.
    pub fn new(topic: &str, queue: i32, body: impl Into<Bytes>) -> Message {
        Message {
            topic: topic.to_owned(),
            queue,
            body: body.into(),
            properties: String::new(),
            flag: 0,
            default_topic: "TBW102",
        }
    }

    /// With one more property.
    pub fn with(mut self, name: &str, value: &str) -> Message {
        properties::append(&mut self.properties, name, value);
        self
    }
}

/// A send's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub id: String,
    pub queue: i32,
    pub offset: i64,
}

/// What to pull.
#[derive(Clone, Debug)]
pub struct Pull<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub queue: i32,
    pub offset: i64,
    pub messages_max: i32,
    /// Offset to commit along.
    pub commit: Option<i64>,
    /// How long it may be held; zero asks for an answer at once.
    pub hold: Duration,
    /// Subscription sent along; without it the group's own counts.
    pub subscription: Option<&'a str>,
}

impl<'a> Pull<'a> {
    /// All messages from an offset on, at once, with the subscription `*`.
    pub fn from(topic: &'a str, queue: i32, offset: i64) -> Pull<'a> {
        Pull {
            group: "reader",
            topic,
            queue,
            offset,
            messages_max: 32,
            commit: None,
            hold: Duration::ZERO,
            subscription: Some("*"),
        }
    }
}

/// A pull's answer with one of the codes 0, 19, 20 and 21.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub code: ResponseCode,
    pub next: i64,
    pub min: i64,
    pub max: i64,
    pub messages: Vec<Stored>,
}

/// Requests that brokers sent to the client.
#[derive(Default)]
pub struct Inbox {
    frames: Mutex<Vec<Frame>>,
}

impl Inbox {
    /// Number of requests with this code.
    pub fn count(&self, code: RequestCode) -> usize {
        self.frames.lock().iter().filter(|frame| frame.header.request_code() == code).count()
    }
}

impl Service for Inbox {
    fn call(&self, _connection: &Arc<Connection>, request: Frame, _permit: BytesPermit) {
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
            RequestError::NotSent(reason) => Failure::NotSent(reason),
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
        let mut body = BytesMut::new();
        for message in messages {
            let (flag, properties) = (message.flag, message.properties.as_str());
            let record = BatchRecord { flag, body: &message.body, properties };
            encode_record(&record, &mut body).map_err(|error| Failure::NotSent(error.to_string()))?;
        }
        let first = messages.first().ok_or_else(|| Failure::NotSent("an empty batch".to_owned()))?;
        let ext = send_header(first, true).encode_short();
        sent(&self.request(address, RequestCode::SendBatchMessage, ext, body.freeze()).await?)
    }

    /// Pulls once.
    pub async fn pull(&self, address: &str, pull: &Pull<'_>) -> Result<Pulled, Failure> {
        let mut flags = 0;
        if pull.commit.is_some() {
            flags |= PullSysFlag::COMMIT_OFFSET;
        }
        if !pull.hold.is_zero() {
            flags |= PullSysFlag::SUSPEND;
        }
        if pull.subscription.is_some() {
            flags |= PullSysFlag::SUBSCRIPTION;
        }
        let header = PullMessageRequest {
            consumer_group: pull.group,
            topic: pull.topic,
            queue_id: pull.queue,
            queue_offset: pull.offset,
            max_message_nums: pull.messages_max,
            sys_flag: flags,
            commit_offset: pull.commit.unwrap_or(0),
            suspend_timeout_ms: i64::try_from(pull.hold.as_millis()).unwrap_or(i64::MAX),
            subscription: pull.subscription,
            subscription_version: 0,
            expression_type: Some("TAG"),
            max_message_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: Some(BROKER),
        };
        let frame = Frame::request(RequestCode::PullMessage, header.encode(), Bytes::new());
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

/// Any other code than success is a failure.
pub fn succeeded(answer: Frame) -> Result<Frame, Failure> {
    if answer.header.code == ResponseCode::Success.as_i32() {
        return Ok(answer);
    }
    let remark = answer.header.remark.unwrap_or_default();
    Err(Failure::Refused { code: answer.header.code, remark })
}

/// Wants a refusal with this code.
pub fn refused_with<T: std::fmt::Debug>(
    outcome: Result<T, Failure>,
    code: ResponseCode,
) -> anyhow::Result<String> {
    match outcome {
        Err(Failure::Refused { code: found, remark }) if found == code.as_i32() => Ok(remark),
        other => bail!("expected {code:?} ({}), found {other:?}", code.as_i32()),
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is beyond 1970");
    i64::try_from(age.as_millis()).expect("the clock is before the year 292 million")
}

pub fn send_header(message: &Message, batch: bool) -> SendMessageRequest<'_> {
    SendMessageRequest {
        producer_group: "tests",
        topic: &message.topic,
        default_topic: message.default_topic,
        default_topic_queue_nums: 4,
        queue_id: message.queue,
        sys_flag: 0,
        born_timestamp: now_ms(),
        flag: message.flag,
        properties: Some(&message.properties),
        reconsume_times: Some(0),
        unit_mode: false,
        batch,
        max_reconsume_times: None,
        broker_name: Some(BROKER),
    }
}

fn sent(answer: &Frame) -> Result<Sent, Failure> {
    let header = SendMessageResponse::decode(&answer.header.ext);
    let header = header.map_err(|error| Failure::Answer(error.to_string()))?;
    Ok(Sent { id: header.message_id.to_owned(), queue: header.queue_id, offset: header.queue_offset })
}

fn offset(answer: &Frame) -> Result<i64, Failure> {
    let header = OffsetResponse::decode(&answer.header.ext);
    Ok(header.map_err(|error| Failure::Answer(error.to_string()))?.offset)
}

fn pulled(answer: Frame) -> Result<Pulled, Failure> {
    let code = answer.header.response_code();
    match code {
        ResponseCode::Success
        | ResponseCode::PullNotFound
        | ResponseCode::PullRetryImmediately
        | ResponseCode::PullOffsetMoved => {}
        other => {
            let remark = answer.header.remark.unwrap_or_default();
            return Err(Failure::Refused { code: other.as_i32(), remark });
        }
    }
    let header = PullMessageResponse::decode(&answer.header.ext);
    let header = header.map_err(|error| Failure::Answer(error.to_string()))?;
    let messages = decode(&answer.body).map_err(|error| Failure::Answer(format!("{error:#}")))?;
    Ok(Pulled {
        code,
        next: header.next_begin_offset,
        min: header.min_offset,
        max: header.max_offset,
        messages,
    })
}
