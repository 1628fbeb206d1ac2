//! Requests of a test that are made without the library under test: what one client says is checked by another.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::Bytes;
use flotilla_net::options::PoolOptions;
use flotilla_net::{BytesPermit, ClientPool, Connection, Service};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{SendMessageRequest, SendMessageResponse};
use flotilla_remoting::message::properties;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};

/// Connections of a test.
pub struct Raw {
    pool: ClientPool,
}

/// What a send was answered with.
#[derive(Clone, Debug)]
pub struct Sent {
    pub offset_id: String,
    pub unique_id: String,
    pub queue_id: i32,
    pub queue_offset: i64,
}

struct Nobody;

impl Service for Nobody {
    fn call(&self, _connection: &Arc<Connection>, _request: Frame, _permit: BytesPermit) {}
}

impl Raw {
    pub fn new() -> Raw {
        Raw { pool: ClientPool::new(PoolOptions::default(), Arc::new(Nobody)) }
    }

    /// The answer, if it is a success.
    pub async fn call(
        &self,
        address: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
    ) -> anyhow::Result<Frame> {
        let frame = Frame::request(code, ext, body);
        let answer = self.pool.request(address, frame, Duration::from_secs(10)).await?;
        match answer.header.response_code() {
            ResponseCode::Success => Ok(answer),
            code => bail!("{address}: {code}: {}", answer.header.remark.unwrap_or_default()),
        }
    }

    /// Sends a message to a queue, with these properties besides its unique id.
    pub async fn send(
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
        let answer = self.call(address, RequestCode::SendMessageV2, header.encode_short(), body).await?;
        let header = SendMessageResponse::decode(&answer.header.ext).context("answer of a send")?;
        Ok(Sent {
            offset_id: header.message_id.to_owned(),
            unique_id,
            queue_id: header.queue_id,
            queue_offset: header.queue_offset,
        })
    }
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("not that far")
}

/// In the form of Java's: 32 hex digits.
fn unique_id() -> String {
    format!("7F000001{:08X}{:016X}", super::rand_suffix() as u32, super::rand_suffix())
}
