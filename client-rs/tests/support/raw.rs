//! Requests of a test that are made without the library under test: topics, sends, offsets, what is stored where. What one
//! client says is checked by another.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::Bytes;
use flotilla_client::{MessageQueue, ReceivedMessage};
use flotilla_net::options::PoolOptions;
use flotilla_net::{BytesPermit, ClientPool, Connection, Service};
use flotilla_remoting::bodies::{self, TopicRouteData};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    CreateTopicRequest, GetRouteInfoRequest, OffsetResponse, PullMessageRequest, PullMessageResponse,
    QueryConsumerOffsetRequest, SendMessageRequest, SendMessageResponse,
};
use flotilla_remoting::message::properties;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};

const LIMIT: Duration = Duration::from_secs(10);

/// Asks brokers and the name server directly.
pub struct Raw {
    pool: ClientPool,
    name_server: String,
}

/// What a send was answered with.
#[derive(Clone, Debug)]
pub struct Sent {
    pub offset_id: String,
    pub unique_id: String,
    pub queue_id: i32,
    pub queue_offset: i64,
}

/// Nobody asks the tests anything.
struct Deaf;

impl Service for Deaf {
    fn call(&self, _connection: &Arc<Connection>, _request: Frame, _permit: BytesPermit) {}
}

impl Raw {
    pub fn new(name_server: &str) -> Raw {
        let pool = ClientPool::new(PoolOptions::default(), Arc::new(Deaf));
        // Of several any will do.
        let name_server = name_server.split(';').next().unwrap_or_default().to_owned();
        Raw { pool, name_server }
    }

    /// The answer if it is a success.
    pub async fn ask(
        &self,
        address: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
    ) -> anyhow::Result<Frame> {
        let answer = self.pool.request(address, Frame::request(code, ext, body), LIMIT).await?;
        match answer.header.response_code() {
            ResponseCode::Success => Ok(answer),
            other => bail!("{code} at {address}: {other} {:?}", answer.header.remark),
        }
    }

    async fn route(&self, topic: &str) -> anyhow::Result<TopicRouteData> {
        let header = GetRouteInfoRequest { topic, accept_standard_json_only: true };
        let answer =
            self.ask(&self.name_server, RequestCode::GetRouteInfoByTopic, header.encode(), Bytes::new());
        Ok(bodies::decode(&answer.await?.body)?)
    }

    /// Address of the leader, by the route of any topic.
    pub async fn leader(&self, topic: &str) -> anyhow::Result<String> {
        let route = self.route(topic).await?;
        let broker = route.broker_datas.first().context("no broker")?;
        broker.broker_addrs.get(&0).cloned().context("no leader")
    }

    /// Makes a topic and returns when its route is known.
    pub async fn create_topic(&self, topic: &str, queues: i32) -> anyhow::Result<()> {
        let header = CreateTopicRequest {
            topic,
            default_topic: Some("TBW102"),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            topic_filter_type: Some("SINGLE_TAG"),
            topic_sys_flag: Some(0),
            order: false,
            attributes: None,
            force: None,
        };
        let leader = self.leader("TBW102").await?;
        self.ask(&leader, RequestCode::UpdateAndCreateTopic, header.encode(), Bytes::new()).await?;
        super::eventually_on_a_task("route of the new topic", || async {
            self.leader(topic).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        Ok(())
    }

    /// Sends a message to a queue; tries again for as long as there is no leader.
    pub async fn send(&self, topic: &str, queue_id: i32, tag: &str, body: &str) {
        super::eventually_on_a_task("send", || async {
            self.try_send(topic, queue_id, tag, body).await.map_err(|error| error.to_string())
        })
        .await;
    }

    async fn try_send(&self, topic: &str, queue_id: i32, tag: &str, body: &str) -> anyhow::Result<Sent> {
        let tags = [(properties::TAGS, tag)];
        let more = if tag.is_empty() { &[][..] } else { &tags };
        self.send_to(&self.leader(topic).await?, topic, queue_id, body, more).await
    }

    /// Sends a message to a queue at an address, with these properties besides its unique id.
    pub async fn send_to(
        &self,
        address: &str,
        topic: &str,
        queue_id: i32,
        body: &str,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Sent> {
        let unique_id = unique_id();
        let named = more.iter().copied().chain([(properties::UNIQUE_KEY, unique_id.as_str())]);
        let text = properties::encode(named);
        let header = SendMessageRequest {
            producer_group: "raw",
            topic,
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id,
            sys_flag: 0,
            born_timestamp: now_ms(),
            flag: 0,
            properties: Some(&text),
            reconsume_times: Some(0),
            unit_mode: false,
            batch: false,
            max_reconsume_times: None,
            broker_name: None,
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let answer = self.ask(address, RequestCode::SendMessageV2, header.encode_short(), body).await?;
        let header = SendMessageResponse::decode(&answer.header.ext).context("answer of a send")?;
        Ok(Sent {
            offset_id: header.message_id.to_owned(),
            unique_id,
            queue_id: header.queue_id,
            queue_offset: header.queue_offset,
        })
    }

    /// The committed offset of a group.
    pub async fn committed(&self, group: &str, topic: &str, queue_id: i32) -> anyhow::Result<i64> {
        let header = QueryConsumerOffsetRequest {
            consumer_group: group,
            topic,
            queue_id,
            set_zero_if_not_found: None,
        };
        let leader = self.leader(topic).await?;
        let answer =
            self.ask(&leader, RequestCode::QueryConsumerOffset, header.encode(), Bytes::new()).await?;
        Ok(OffsetResponse::decode(&answer.header.ext)?.offset)
    }

    /// The message at an offset, as soon as it is there.
    pub async fn at(&self, queue: &MessageQueue, offset: i64) -> ReceivedMessage {
        let what = format!("message {offset} of {queue:?}");
        super::eventually(&what, || async {
            let messages = self.from(queue, offset).await.map_err(|error| format!("{error:#}"))?;
            messages.into_iter().find(|message| message.queue_offset() == offset).ok_or("not there".into())
        })
        .await
    }

    /// The first `count` messages of a queue, as soon as they are there.
    pub async fn first(&self, queue: &MessageQueue, count: usize) -> Vec<ReceivedMessage> {
        let mut all: Vec<ReceivedMessage> = Vec::with_capacity(count);
        while all.len() < count {
            let next = all.last().map_or(0, |last| last.queue_offset() + 1);
            all.push(self.at(queue, next).await);
            let rest = self.from(queue, next + 1).await.unwrap_or_default();
            all.extend(rest.into_iter().take(count - all.len()));
        }
        all
    }

    /// What one pull gives; nothing when there is nothing.
    pub async fn from(&self, queue: &MessageQueue, offset: i64) -> anyhow::Result<Vec<ReceivedMessage>> {
        let answer = self.pull(queue, offset, 32).await?;
        match answer.header.response_code() {
            ResponseCode::Success => {
                Ok(ReceivedMessage::all(&Arc::new(queue.clone()), &answer.body).context("records")?)
            }
            ResponseCode::PullNotFound
            | ResponseCode::PullRetryImmediately
            | ResponseCode::PullOffsetMoved => Ok(Vec::new()),
            code => bail!("{code}: {:?}", answer.header.remark),
        }
    }

    /// First and next offset of a queue.
    pub async fn range(&self, queue: &MessageQueue) -> anyhow::Result<(i64, i64)> {
        let answer = self.pull(queue, 0, 1).await?;
        let header = PullMessageResponse::decode(&answer.header.ext)?;
        Ok((header.min_offset, header.max_offset))
    }

    /// The answer to a pull, whatever its code.
    async fn pull(&self, queue: &MessageQueue, offset: i64, max: i32) -> anyhow::Result<Frame> {
        let group = "client_tests_pull";
        let header = PullMessageRequest::plain(group, &queue.topic, queue.queue_id, offset, max);
        let route = self.route(&queue.topic).await?;
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == queue.broker_name);
        let leader = broker.and_then(|broker| broker.broker_addrs.get(&0)).context("no leader")?;
        let frame = Frame::request(RequestCode::PullMessage, header.encode(), Bytes::new());
        Ok(self.pool.request(leader, frame, LIMIT).await?)
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("not that far")
}

/// In the form of Java's: 32 hex digits.
fn unique_id() -> String {
    format!("7F000001{:08X}{:016X}", super::rand_suffix() as u32, super::rand_suffix())
}
