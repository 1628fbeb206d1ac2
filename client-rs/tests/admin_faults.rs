//! The admin client where servers refuse, or don't answer: against servers that do what a test says.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flotilla_client::admin::{AdminClient, Scope};
use flotilla_client::{Client, ClientError, ResponseCode};
use flotilla_net::{BytesPermit, CloseReason, Connection, Service};
use flotilla_remoting::bodies::{self, BrokerData, ClusterInfo, TopicRouteData};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::message::{LayoutVersion, OffsetMessageId, StoredMessage, SysFlag, encode_stored};
use flotilla_remoting::{ExtFields, RequestCode};
use support::scripted::{nobody, serve};
use tokio_util::sync::CancellationToken;

type Answer = dyn Fn(&Frame) -> Option<Frame> + Send + Sync;

/// Answers as a test says; without an answer it closes the connection.
struct Script {
    answer: Box<Answer>,
    asked: Mutex<Vec<RequestCode>>,
}

impl Service for Script {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        self.asked.lock().unwrap().push(request.header.request_code());
        match (self.answer)(&request) {
            Some(answer) => drop(connection.reply(answer, permit)),
            None => connection.close(CloseReason::Requested("script".into())),
        }
    }
}

struct Scripted {
    address: SocketAddr,
    script: Arc<Script>,
    stop: CancellationToken,
}

impl Scripted {
    fn start(answer: impl Fn(&Frame) -> Option<Frame> + Send + Sync + 'static) -> Scripted {
        let script = Arc::new(Script { answer: Box::new(answer), asked: Mutex::default() });
        let (address, stop) = serve(script.clone());
        Scripted { address, script, stop }
    }

    fn admin(&self) -> AdminClient {
        let client = Client::connect(&self.address.to_string()).unwrap();
        AdminClient::new(&client).patience(Duration::ZERO)
    }

    fn was_asked(&self, code: RequestCode) -> bool {
        self.script.asked.lock().unwrap().contains(&code)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn broker(name: &str, address: SocketAddr) -> BrokerData {
    BrokerData {
        broker_name: name.to_owned(),
        broker_addrs: [(0, address.to_string())].into(),
        ..BrokerData::default()
    }
}

fn body(request: &Frame, body: Bytes) -> Option<Frame> {
    Some(request.reply_with(ExtFields::new(), body))
}

#[tokio::test]
async fn name_servers_keep_a_topic_when_nobody_says_that_other_brokers_lack_it() {
    let at_brokers = Scripted::start(|request| Some(request.reply(ResponseCode::Success, None)));
    let address = at_brokers.address;
    let name_server = Scripted::start(move |request| match request.header.request_code() {
        RequestCode::GetBrokerClusterInfo => {
            let names = ["a", "b"].map(|name| (name.to_owned(), broker(name, address)));
            let info = ClusterInfo { broker_addr_table: names.into(), ..ClusterInfo::default() };
            body(request, bodies::encode(&info))
        }
        RequestCode::GetRouteInfoByTopic => None,
        _ => Some(request.reply(ResponseCode::Success, None)),
    });
    let outcome = name_server.admin().delete_topic("t", &Scope::Broker("a".to_owned())).await;
    assert!(matches!(outcome, Err(ClientError::Unknown { .. })), "{outcome:?}");
    assert!(at_brokers.was_asked(RequestCode::DeleteTopicInBroker));
    assert!(!name_server.was_asked(RequestCode::DeleteTopicInNamesrv), "b may have it");
}

/// A record as a broker stores it.
fn record(host: SocketAddr, physical_offset: i64) -> Bytes {
    let message = StoredMessage {
        topic: "t",
        queue_id: 0,
        flag: 0,
        sys_flag: SysFlag(0),
        queue_offset: 3,
        physical_offset,
        born_timestamp: 1,
        born_host: host,
        store_timestamp: 1,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"found",
        properties: "",
        added_properties: &[],
        layout: LayoutVersion::V1,
        with_property_crc: false,
    };
    let mut record = BytesMut::new();
    encode_stored(&message, &mut record).unwrap();
    record.freeze()
}

#[tokio::test]
async fn a_message_is_found_though_another_broker_name_has_nothing_at_its_position() {
    let gone = nobody();
    let id = OffsetMessageId { host: gone, physical_offset: 42 }.to_string();
    let refuses = || Scripted::start(|request| Some(request.reply(ResponseCode::SystemError, None)));
    let (a, b) = (refuses(), refuses());
    let has = Scripted::start(move |request| body(request, record(gone, 42)));
    let unreadable = Scripted::start(|request| body(request, Bytes::from_static(b"no record")));
    let other = Scripted::start(move |request| body(request, record(gone, 41)));
    let find = async |brokers: &[&Scripted]| {
        let names = ["a", "b", "c", "d"].iter().zip(brokers);
        let broker_datas = names.map(|(name, at)| broker(name, at.address)).collect();
        let route = bodies::encode(&TopicRouteData { broker_datas, ..TopicRouteData::default() });
        let name_server = Scripted::start(move |request| body(request, route.clone()));
        name_server.admin().message_by_offset_id("t", &id).await
    };
    let message = find(&[&a, &unreadable, &other, &has]).await.unwrap();
    assert_eq!((message.body(), message.queue().broker_name.as_str()), (&"found".into(), "d"));
    let nowhere = find(&[&a, &b]).await.unwrap_err();
    assert_eq!(nowhere.code(), Some(ResponseCode::SystemError));
    let elsewhere = find(&[&other, &unreadable]).await.unwrap_err();
    assert!(matches!(elsewhere, ClientError::NotSent { .. }), "{elsewhere}");
}
