//! Clients and tools at a running name server: the bytes of routes, many queries at once, key-values and settings on disk.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::*;
use flotilla_namesrv::{NameServer, NameServerOptions, StartError};
use flotilla_remoting::bodies::{self, KvTable, TopicRouteData};
use flotilla_remoting::headers::{GetKvConfigResponse, KvConfigRequest, PutKvConfigRequest};
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};
use tokio::task::JoinSet;

async fn put(client: &Client, namespace: &str, key: &str, value: &str) -> Frame {
    let header = PutKvConfigRequest { namespace, key, value };
    client.ask(RequestCode::PutKvConfig, header.encode(), "").await
}

async fn update(client: &Client, text: &'static str) -> ResponseCode {
    code(&client.ask(RequestCode::UpdateNamesrvConfig, ExtFields::new(), text).await)
}

#[tokio::test]
async fn the_bytes_of_a_route_are_the_recorded_ones_for_old_and_new_clients() {
    let server = start().await;
    let client = Client::connect(&server).await;
    assert_eq!(update(&client, "orderMessageEnable=true\n").await, ResponseCode::Success);
    client.register(&Broker::apache(0)).await;
    client.register(&Broker::apache(1)).await;
    assert!(!client.route("TopicTest").await.body.is_empty());
    put(&client, "ORDER_TOPIC_CONFIG", "TopicTest", "broker-a:4").await;
    let recorded = recorded_text("topic_route_standard");
    assert_eq!(client.route("TopicTest").await.body, recorded);
    let mut old = Frame::request(
        RequestCode::GetRouteInfoByTopic,
        ExtFields::from_iter([("topic", "TopicTest")]),
        Bytes::new(),
    );
    old.header.version = 317;
    assert_eq!(client.0.request(old, LONG).await.unwrap().body, recorded, "old decoders take quoted keys");
}

#[tokio::test]
async fn characters_beyond_ascii_are_escaped_in_routes() {
    let server = start().await;
    let client = Client::connect(&server).await;
    client.register(&Broker { name: "brökér", ..Broker::apache(0) }).await;
    let body = client.route("TopicTest").await.body;
    assert!(body.is_ascii());
    let route: TopicRouteData = bodies::decode(&body).unwrap();
    assert_eq!(route.broker_datas[0].broker_name, "brökér");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_queries_at_once_see_whole_routes_while_brokers_register() {
    let server = start().await;
    let registering = Client::connect(&server).await;
    registering.register(&Broker::apache(0)).await;
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let client = Client::connect(&server).await;
        for _ in 0..500 {
            let client = client.clone();
            asking.spawn(async move { client.route("TopicTest").await });
        }
    }
    for counter in 2..50 {
        let mut broker = Broker::apache(0);
        broker.version.counter = counter;
        broker.topics[0].write_queue_nums = i32::try_from(counter).unwrap();
        broker.topics[0].read_queue_nums = i32::try_from(counter).unwrap();
        registering.register(&broker).await;
        // Whoever was answered sees its change from then on.
        let route: TopicRouteData = bodies::decode(&registering.route("TopicTest").await.body).unwrap();
        assert_eq!(i64::from(route.queue_datas[0].write_queue_nums), counter);
    }
    let mut count = 0;
    while let Some(reply) = asking.join_next().await {
        let route: TopicRouteData = bodies::decode(&reply.unwrap().body).unwrap();
        assert_eq!(route.queue_datas[0].read_queue_nums, route.queue_datas[0].write_queue_nums);
        count += 1;
    }
    assert_eq!(count, 5_000);
    server.stop().await;
}

#[tokio::test]
async fn key_values_survive_a_restart_and_order_conf_reaches_brokers() {
    let folder = tempfile::tempdir().unwrap();
    let options = || NameServerOptions {
        kv_path: Some(folder.path().join("kvConfig.json")),
        ..NameServerOptions::new(localhost())
    };
    let server = NameServer::start(options()).await.unwrap();
    let client = Client::connect(&server).await;
    assert!(client.register(&Broker::apache(0)).await.body.is_empty());
    assert_eq!(code(&put(&client, "ORDER_TOPIC_CONFIG", "t", "broker-a:4").await), ResponseCode::Success);
    server.stop().await;
    client.0.closed().cancelled().await;

    let server = NameServer::start(options()).await.unwrap();
    let client = Client::connect(&server).await;
    let header = KvConfigRequest { namespace: "ORDER_TOPIC_CONFIG", key: "t" };
    let reply = client.ask(RequestCode::GetKvConfig, header.encode(), "").await;
    assert_eq!(GetKvConfigResponse::decode(&reply.header.ext).unwrap().value, Some("broker-a:4"));
    let registered = client.register(&Broker::apache(0)).await;
    let table: KvTable = bodies::decode(&registered.body).unwrap();
    assert_eq!(table.table.into_iter().collect::<Vec<_>>(), [("t".to_owned(), "broker-a:4".to_owned())]);
    assert_eq!(update(&client, "returnOrderTopicConfigToBroker=false").await, ResponseCode::Success);
    assert!(client.register(&Broker::apache(0)).await.body.is_empty());
}

#[tokio::test]
async fn a_key_value_that_cannot_be_saved_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    let options = NameServerOptions { kv_path: Some(path.clone()), ..NameServerOptions::new(localhost()) };
    let server = NameServer::start(options).await.unwrap();
    // Nothing can be renamed onto a folder.
    std::fs::create_dir(&path).unwrap();
    let client = Client::connect(&server).await;
    assert_eq!(code(&put(&client, "n", "k", "v").await), ResponseCode::SystemError);
    let header = KvConfigRequest { namespace: "n", key: "k" };
    let reply = client.ask(RequestCode::GetKvConfig, header.encode(), "").await;
    assert_eq!(code(&reply), ResponseCode::QueryNotFound);
}

#[tokio::test]
async fn settings_survive_a_restart_and_fixed_ones_cannot_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let options = || NameServerOptions {
        config_path: Some(folder.path().join("namesrv.properties")),
        ..NameServerOptions::new(localhost())
    };
    let server = NameServer::start(options()).await.unwrap();
    let client = Client::connect(&server).await;
    assert_eq!(
        update(&client, "kvConfigPath=/tmp/x\nenableAllTopicList=false").await,
        ResponseCode::NoPermission
    );
    assert_eq!(update(&client, "no pair").await, ResponseCode::SystemError);
    assert_eq!(update(&client, "enableAllTopicList=false").await, ResponseCode::Success);
    server.stop().await;
    client.0.closed().cancelled().await;

    let server = NameServer::start(options()).await.unwrap();
    let client = Client::connect(&server).await;
    let text = client.ask(RequestCode::GetNamesrvConfig, ExtFields::new(), "").await.body;
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.contains("enableAllTopicList=false\n"), "{text}");
    assert!(text.contains(&format!("listenPort={}\n", server.local_addr().port())), "{text}");
    let reply = client.ask(RequestCode::GetAllTopicListFromNameServer, ExtFields::new(), "").await;
    assert_eq!(code(&reply), ResponseCode::SystemError);
    assert_eq!(reply.header.remark.as_deref(), Some("disable"));
}

#[tokio::test]
async fn a_damaged_file_or_a_taken_port_refuses_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    std::fs::write(&path, "damaged").unwrap();
    let options = NameServerOptions { kv_path: Some(path), ..NameServerOptions::new(localhost()) };
    assert!(matches!(NameServer::start(options).await, Err(StartError::KeyValues { .. })));
    let server = start().await;
    let taken = NameServer::start(NameServerOptions::new(server.local_addr())).await;
    assert!(matches!(taken, Err(StartError::Listen { .. })));
}

#[tokio::test]
async fn a_oneway_request_is_done_and_not_answered() {
    let server = start().await;
    let client = Client::connect(&server).await;
    client.register(&Broker::apache(0)).await;
    client
        .0
        .oneway(Frame::request(RequestCode::UnregisterBroker, Broker::apache(0).identity(), Bytes::new()))
        .unwrap();
    assert_eq!(client.addresses("TopicTest").await, None);
}
