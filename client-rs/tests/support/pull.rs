//! Reads a queue by plain pulls (11), without any consumer: what is stored where.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_client::{MessageQueue, ReceivedMessage, ResponseCode};
use flotilla_net::{BytesPermit, ClientPool, Connection, PoolOptions, Service};
use flotilla_remoting::bodies::{self, TopicRouteData};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{GetRouteInfoRequest, PullMessageRequest, PullMessageResponse, PullSysFlag};
use flotilla_remoting::{ExtFields, RequestCode};

use super::{Server, eventually};

/// Nobody asks this side anything.
struct Nobody;

impl Service for Nobody {
    fn call(&self, _: &Arc<Connection>, _: Frame, _: BytesPermit) {}
}

/// Reads queues.
pub struct Puller {
    pool: ClientPool,
    name_server: String,
}

impl Puller {
    pub fn new(server: &Server) -> Puller {
        let pool = ClientPool::new(PoolOptions::default(), Arc::new(Nobody));
        Puller { pool, name_server: server.name_server().split(';').next().unwrap_or_default().to_owned() }
    }

    /// The message at an offset, as soon as it is there.
    pub async fn at(&self, queue: &MessageQueue, offset: i64) -> ReceivedMessage {
        let what = format!("message {offset} of {queue:?}");
        eventually(&what, || async {
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
        let header = PullMessageRequest {
            consumer_group: "client_tests_pull",
            topic: &queue.topic,
            queue_id: queue.queue_id,
            queue_offset: offset,
            max_message_nums: 32,
            sys_flag: PullSysFlag::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_ms: 0,
            subscription: Some("*"),
            subscription_version: 1,
            expression_type: None,
            max_message_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: Some(&queue.broker_name),
        };
        let address = self.leader(queue).await?;
        let frame = Frame::request(RequestCode::PullMessage, header.encode(), Bytes::new());
        let answer = self.pool.request(&address, frame, Duration::from_secs(5)).await?;
        match answer.header.response_code() {
            ResponseCode::Success => {
                Ok(ReceivedMessage::all(&Arc::new(queue.clone()), &answer.body).context("records")?)
            }
            ResponseCode::PullNotFound
            | ResponseCode::PullRetryImmediately
            | ResponseCode::PullOffsetMoved => Ok(Vec::new()),
            code => anyhow::bail!("{code}: {:?}", answer.header.remark),
        }
    }

    /// First and next offset of a queue.
    pub async fn range(&self, queue: &MessageQueue) -> anyhow::Result<(i64, i64)> {
        let mut ext = ExtFields::new();
        for (key, value) in [
            ("consumerGroup", "client_tests_pull"),
            ("topic", &queue.topic),
            ("queueOffset", "0"),
            ("maxMsgNums", "1"),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", "*"),
            ("subVersion", "1"),
        ] {
            ext.insert(key, value);
        }
        ext.insert_display("queueId", queue.queue_id);
        let frame = Frame::request(RequestCode::PullMessage, ext, Bytes::new());
        let answer = self.pool.request(&self.leader(queue).await?, frame, Duration::from_secs(5)).await?;
        let header = PullMessageResponse::decode(&answer.header.ext)?;
        Ok((header.min_offset, header.max_offset))
    }

    async fn leader(&self, queue: &MessageQueue) -> anyhow::Result<String> {
        let header = GetRouteInfoRequest { topic: &queue.topic, accept_standard_json_only: true };
        let frame = Frame::request(RequestCode::GetRouteInfoByTopic, header.encode(), Bytes::new());
        let answer = self.pool.request(&self.name_server, frame, Duration::from_secs(5)).await?;
        let code = answer.header.response_code();
        ensure!(code == ResponseCode::Success, "route of {}: {code}", queue.topic);
        let route: TopicRouteData = bodies::decode(&answer.body)?;
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == queue.broker_name);
        broker.and_then(|broker| broker.broker_addrs.get(&0)).cloned().context("no leader")
    }
}
