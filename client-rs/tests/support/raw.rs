//! Requests as bytes would make them, past the client under test: topics, sends, offsets.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use flotilla_net::options::PoolOptions;
use flotilla_net::{BytesPermit, ClientPool, Connection, Service};
use flotilla_remoting::bodies::{self, TopicRouteData};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    CreateTopicRequest, GetRouteInfoRequest, OffsetResponse, QueryConsumerOffsetRequest, SendMessageRequest,
};
use flotilla_remoting::message::properties;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};

const LIMIT: Duration = Duration::from_secs(10);

/// Asks brokers and the name server directly.
pub struct Raw {
    pool: ClientPool,
    name_server: String,
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

    /// Address of the leader, by the route of any topic.
    pub async fn leader(&self, topic: &str) -> anyhow::Result<String> {
        let header = GetRouteInfoRequest { topic, accept_standard_json_only: true };
        let answer =
            self.ask(&self.name_server, RequestCode::GetRouteInfoByTopic, header.encode(), Bytes::new());
        let route: TopicRouteData = bodies::decode(&answer.await?.body)?;
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

    pub async fn try_send(&self, topic: &str, queue_id: i32, tag: &str, body: &str) -> anyhow::Result<()> {
        let mut text = String::new();
        properties::append(&mut text, properties::UNIQUE_KEY, &format!("{topic}-{body}"));
        if !tag.is_empty() {
            properties::append(&mut text, properties::TAGS, tag);
        }
        let header = SendMessageRequest {
            producer_group: "raw",
            topic,
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id,
            sys_flag: 0,
            born_timestamp: 0,
            flag: 0,
            properties: Some(&text),
            reconsume_times: None,
            unit_mode: false,
            batch: false,
            max_reconsume_times: None,
            broker_name: None,
        };
        let leader = self.leader(topic).await?;
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.ask(&leader, RequestCode::SendMessageV2, header.encode_short(), body).await.map(drop)
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
}
