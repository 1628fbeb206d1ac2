//! The admin pages, over plain HTTP.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;

use common::*;
use flotilla_namesrv::{NameServer, NameServerHandle, NameServerOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Page {
    status: u16,
    content_type: String,
    body: String,
}

impl Page {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn call(address: SocketAddr, method: &str, path: &str, accept: &str) -> Page {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    Page {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        content_type: content_type.to_owned(),
        body: body.to_owned(),
    }
}

async fn get(address: SocketAddr, path: &str) -> Page {
    call(address, "GET", path, "*/*").await
}

async fn start() -> (NameServerHandle, SocketAddr) {
    let options = NameServerOptions { admin: Some(localhost()), ..NameServerOptions::new(localhost()) };
    let server = NameServer::start(options).await.unwrap();
    let admin = server.admin_addr().unwrap();
    (server, admin)
}

#[tokio::test]
async fn it_is_alive_at_once_and_ready_when_leaders_are_known() {
    let (server, admin) = start().await;
    assert_eq!(get(admin, "/livez").await.status, 200);
    let page = get(admin, "/readyz").await;
    assert_eq!((page.status, &page.json()["checks"][0]["name"]), (503, &Value::from("warm-up")));
    let client = Client::connect(&server).await;
    client.register(&Broker::ours(1, 1)).await;
    let page = get(admin, "/readyz").await;
    assert_eq!(page.status, 503);
    assert!(page.json()["checks"][0]["detail"].as_str().unwrap().contains("broker-a"));
    client.register(&Broker::ours(0, 1)).await;
    assert_eq!(get(admin, "/readyz").await.json()["ready"], true);
    assert_eq!(get(admin, "/healthz").await.status, 200);
    let version = get(admin, "/version").await.json();
    assert_eq!((&version["name"], &version["rocketmq_version_code"]), (&"flotilla".into(), &479.into()));
    server.stop().await;
}

#[tokio::test]
async fn routes_can_be_read_page_by_page() {
    let (server, admin) = start().await;
    assert_eq!(get(admin, "/v1/routes/t0").await.json()["code"], "not_ready");
    let client = Client::connect(&server).await;
    let topics = (0..5).map(|index| topic(&format!("t{index}"), 4, 6)).collect();
    client.register(&Broker { topics, ..Broker::apache(0) }).await;
    let first = get(admin, "/v1/routes?limit=3").await.json();
    assert_eq!(first, serde_json::json!({"topics": ["t0", "t1", "t2"], "next": "t2"}));
    let rest = get(admin, "/v1/routes?limit=3&cursor=t2").await.json();
    assert_eq!(rest, serde_json::json!({"topics": ["t3", "t4"]}));
    let route = get(admin, "/v1/routes/t0").await;
    assert_eq!((route.status, route.content_type.as_str()), (200, "application/json"));
    assert_eq!(route.body.as_bytes(), &client.route("t0").await.body[..]);
    let cluster = get(admin, "/v1/cluster").await.json();
    assert_eq!(cluster["clusterAddrTable"]["DefaultCluster"][0], "broker-a");
}

#[tokio::test]
async fn errors_are_problems() {
    let (server, admin) = start().await;
    Client::connect(&server).await.register(&Broker::ours(0, 1)).await;
    let cases = [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/routes/absent", 404, "not_found"),
        ("GET", "/v1/routes?limit=0", 400, "invalid_request"),
        ("GET", "/v1/routes?limit=x", 400, "invalid_request"),
        ("POST", "/v1/routes", 405, "method_not_allowed"),
    ];
    for (method, path, status, code) in cases {
        let page = call(admin, method, path, "*/*").await;
        assert_eq!((page.status, page.content_type.as_str()), (status, "application/problem+json"), "{path}");
        assert_eq!((&page.json()["code"], &page.json()["status"]), (&code.into(), &status.into()));
    }
}

#[tokio::test]
async fn metrics_count_requests_in_both_text_forms() {
    let (server, admin) = start().await;
    let client = Client::connect(&server).await;
    client.register(&Broker::ours(0, 1)).await;
    client.route("TopicTest").await;
    client.route("absent").await;
    let page = get(admin, "/metrics").await;
    assert!(page.content_type.starts_with("text/plain; version=0.0.4"), "{}", page.content_type);
    for line in [
        "flotilla_namesrv_topics 2",
        "flotilla_namesrv_replicas 1",
        "flotilla_namesrv_ready 1",
        "flotilla_namesrv_connections 1",
        "flotilla_namesrv_connections_opened_total 1",
        r#"rocketmq_rpc_latency_count{request_code="GET_ROUTEINFO_BY_TOPIC",response_code="17"} 1"#,
        r#"rocketmq_rpc_latency_count{request_code="REGISTER_BROKER",response_code="0"} 1"#,
    ] {
        assert!(page.body.lines().any(|held| held == line), "{line} is missing in\n{}", page.body);
    }
    let open = call(admin, "GET", "/metrics", "application/openmetrics-text").await;
    assert!(open.content_type.starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n"));
}
