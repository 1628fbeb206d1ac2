//! What the suites share: a running name server, a client, brokers that register.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_namesrv::{NameServer, NameServerHandle, NameServerOptions, ours};
use flotilla_net::{ByteBudget, BytesPermit, CloseReason, Connection, ConnectionOptions, Service};
use flotilla_remoting::bodies::{self, DataVersion, RegisterBrokerBody, TopicConfig, TopicRouteData};
use flotilla_remoting::headers::{BrokerRequest, GetRouteInfoRequest, RegisterBrokerRequest};
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};
use tokio::net::TcpStream;

pub const LONG: Duration = Duration::from_secs(60);

pub fn localhost() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub async fn start() -> NameServerHandle {
    NameServer::start(NameServerOptions::new(localhost())).await.unwrap()
}

struct Nobody;

impl Service for Nobody {
    fn call(&self, _: &Arc<Connection>, _: Frame, _: BytesPermit) {}
}

/// A connection to a name server.
#[derive(Clone)]
pub struct Client(pub Arc<Connection>);

impl Client {
    pub async fn connect(server: &NameServerHandle) -> Client {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let budget = ByteBudget::new(1 << 20);
        let options = ConnectionOptions::default();
        Client(Connection::over(stream, options, budget, Arc::new(Nobody)).unwrap())
    }

    pub async fn ask(&self, code: RequestCode, ext: ExtFields, body: impl Into<Bytes>) -> Frame {
        self.0.request(Frame::request(code, ext, body.into()), LONG).await.unwrap()
    }

    pub async fn route(&self, topic: &str) -> Frame {
        let header = GetRouteInfoRequest { topic, accept_standard_json_only: false };
        self.ask(RequestCode::GetRouteInfoByTopic, header.encode(), "").await
    }

    /// Addresses of `broker-a` in the route; `None` when there is no route.
    pub async fn addresses(&self, topic: &str) -> Option<Vec<(i64, String)>> {
        let reply = self.route(topic).await;
        match reply.header.response_code() {
            ResponseCode::Success => {
                let route: TopicRouteData = bodies::decode(&reply.body).unwrap();
                Some(route.broker_datas[0].broker_addrs.clone().into_iter().collect())
            }
            ResponseCode::TopicNotExist => None,
            other => panic!("{other}: {:?}", reply.header.remark),
        }
    }

    pub async fn register(&self, broker: &Broker) -> Frame {
        self.ask(RequestCode::RegisterBroker, broker.fields(), broker.body().encode()).await
    }

    pub fn close(&self) {
        self.0.close(CloseReason::Requested("test".into()));
    }
}

/// A broker that registers.
#[derive(Clone)]
pub struct Broker {
    pub name: &'static str,
    pub address: String,
    pub id: i64,
    pub ours: bool,
    pub applied: u64,
    pub silence_ms: Option<i64>,
    pub version: DataVersion,
    pub topics: Vec<TopicConfig>,
}

impl Broker {
    pub fn apache(id: i64) -> Broker {
        Broker {
            name: "broker-a",
            address: format!("10.0.0.{}:10911", 5 + id),
            id,
            ours: false,
            applied: 0,
            silence_ms: None,
            version: DataVersion { counter: 1, state_version: 0, timestamp: 1 },
            topics: ["TopicTest", "TBW102"].map(|name| topic(name, 4, 6)).to_vec(),
        }
    }

    /// Replica `id` of ours in term 1.
    pub fn ours(id: i64, applied: u64) -> Broker {
        let mut broker = Broker { ours: true, applied, silence_ms: Some(30_000), ..Broker::apache(id) };
        broker.version.state_version = 2 + i64::from(id == 0);
        broker
    }

    pub fn fields(&self) -> ExtFields {
        let header = RegisterBrokerRequest {
            broker_name: self.name,
            broker_addr: &self.address,
            cluster_name: "DefaultCluster",
            ha_server_addr: "",
            broker_id: self.id,
            heartbeat_timeout_ms: self.silence_ms,
            enable_acting_master: Some(false),
            compressed: false,
            body_crc32: 0,
        };
        let mut ext = header.encode();
        if self.ours {
            ext.insert(ours::MARK, "1");
            ext.insert_display(ours::APPLIED, self.applied);
        }
        ext
    }

    pub fn body(&self) -> RegisterBrokerBody {
        let mut body = RegisterBrokerBody::default();
        let wrapper = &mut body.topic_config_serialize_wrapper;
        wrapper.data_version = self.version;
        wrapper.topic_config_table =
            self.topics.iter().map(|topic| (topic.topic_name.clone(), topic.clone())).collect();
        body
    }

    /// Header of 104 and 322.
    pub fn identity(&self) -> ExtFields {
        let header = BrokerRequest {
            broker_name: self.name,
            broker_addr: &self.address,
            cluster_name: "DefaultCluster",
            broker_id: self.id,
        };
        header.encode()
    }
}

pub fn topic(name: &str, queues: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.into(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    }
}

pub fn code(reply: &Frame) -> ResponseCode {
    reply.header.response_code()
}

/// Yields until `claim` holds.
pub async fn until<F: Future<Output = bool>>(claim: impl Fn() -> F) {
    while !claim().await {
        tokio::task::yield_now().await;
    }
}

/// Test data shared by the workspace, recorded from official programs.
pub fn vectors(file: &str) -> serde_json::Value {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Text of a recorded JSON body.
pub fn recorded_text(name: &str) -> String {
    let vectors = vectors("vectors.json");
    let vector = vectors.as_array().unwrap().iter().find(|vector| vector["name"] == name).unwrap();
    vector["fields"]["text"].as_str().unwrap().to_owned()
}
