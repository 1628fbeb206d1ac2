//! The server over real sockets, asked by a plain HTTP client, against a source that is not a node.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::metrics::{Gauges, Metrics};

/// A node as the tests want it; the mutex holds what the server asked of it.
struct Fake {
    metrics: Metrics,
    ready: bool,
    answer: Result<Transfer, AdminError>,
    asked: Mutex<Vec<Option<u64>>>,
}

impl Fake {
    fn new() -> Self {
        let done = Transfer { from: 1, leader: Some(2), term: 8 };
        let metrics = Metrics::new("DefaultCluster", "broker-a", 0);
        Self { metrics, ready: true, answer: Ok(done), asked: Mutex::default() }
    }

    fn topics() -> Vec<Topic> {
        let topic = |name: &str, permission| Topic {
            name: name.to_owned(),
            read_queues: 4,
            write_queues: 8,
            permission,
            ordered: false,
            system: name == "TBW102",
        };
        vec![topic("%RETRY%g", 6), topic("TBW102", 7), topic("a", 4), topic("b", 6)]
    }
}

fn now<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl AdminSource for Fake {
    fn node(&self) -> Node {
        let members = (0..3).map(|replica| Member { replica, raft_address: format!("host{replica}:40911") });
        Node {
            cluster: "DefaultCluster".into(),
            broker_name: "broker-a".into(),
            replica: 1,
            client_address: "10.0.0.1:10911".into(),
            members: members.collect(),
        }
    }

    fn checks(&self) -> Vec<Check> {
        let detail = if self.ready { "n1 leads".to_owned() } else { "no leader for 3 s".to_owned() };
        vec![
            Check { name: "recovered", ok: true, detail: "log up to 100".into() },
            Check { name: "leader", ok: self.ready, detail },
        ]
    }

    fn group(&self) -> Group {
        let progress = [(0, Some(100)), (1, Some(101)), (2, None)];
        Group {
            name: "broker-a".into(),
            replica: 1,
            role: "leader",
            leader: Some(1),
            term: 7,
            last_log: Some(101),
            committed: Some(100),
            applied: Some(99),
            snapshot: None,
            purged: None,
            progress: progress.map(|(replica, matched)| Progress { replica, matched }).into(),
            waiting_for: None,
        }
    }

    fn transfer(&self, to: Option<u64>) -> Answer<'_, Transfer> {
        self.asked.lock().unwrap().push(to);
        Box::pin(std::future::ready(self.answer.clone()))
    }

    fn topics(&self, after: &str, limit: usize) -> Answer<'_, Vec<Topic>> {
        now(Self::topics().into_iter().filter(|topic| topic.name.as_str() > after).take(limit).collect())
    }

    fn topic(&self, name: &str) -> Answer<'_, Option<Topic>> {
        now(Self::topics().into_iter().find(|topic| topic.name == name))
    }

    fn queues(&self, topic: &str) -> Answer<'_, Option<Vec<Queue>>> {
        let queue = Queue { queue: 0, min_offset: 5, max_offset: 12, last_time_ms: Some(1_700_000_000_000) };
        now((topic == "%RETRY%g").then(|| vec![queue]))
    }

    fn consumer_groups(&self, after: &str, limit: usize) -> Answer<'_, Vec<ConsumerGroup>> {
        let group = ConsumerGroup { name: "g".into(), member_count: 1, topics: vec!["a".into()] };
        now(Some(group).into_iter().filter(|group| group.name.as_str() > after).take(limit).collect())
    }

    fn consumer_group(&self, name: &str) -> Answer<'_, Option<ConsumerGroupDetail>> {
        let offset = |queue, committed| QueueOffset {
            topic: "a".into(),
            queue,
            min_offset: 2,
            max_offset: 10,
            committed,
        };
        let subscription =
            Subscription { topic: "a".into(), expression: "*".into(), expression_type: "TAG".into() };
        let member = GroupMember {
            client_id: "10.0.0.9@1".into(),
            language: "JAVA".into(),
            version: 479,
            subscriptions: vec![subscription],
        };
        now((name == "g").then(|| ConsumerGroupDetail {
            name: "g".into(),
            message_model: Some("clustering"),
            consume_type: Some("push"),
            members: vec![member],
            offsets: vec![offset(0, Some(7)), offset(1, Some(99)), offset(2, None)],
        }))
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn gauges(&self) -> Gauges {
        Gauges::default()
    }
}

/// A running server. Ends with the test.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
    source: Arc<Fake>,
}

impl Server {
    async fn start(source: Fake) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (source, stop) = (Arc::new(source), CancellationToken::new());
        let task = tokio::spawn(serve(listener, source.clone(), stop.clone()));
        Self { address, stop, task, source }
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "", "").await
    }

    async fn transfer(&self, body: &str) -> Reply {
        self.ask("POST", "/v1/group/transfer-leader", "", body).await
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn problem(&self) -> (u16, String) {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert!(!body["detail"].as_str().unwrap().is_empty());
        (self.status, body["code"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn readiness_lists_its_checks_and_is_503_when_one_fails() {
    let server = Server::start(Fake::new()).await;
    assert_eq!(server.get("/livez").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(server.get("/healthz").await.json()["ready"], true);

    let server = Server::start(Fake { ready: false, ..Fake::new() }).await;
    let reply = server.get("/readyz").await;
    assert_eq!(reply.status, 503);
    let expected = json!({"ready": false, "checks": [
        {"name": "recovered", "ok": true, "detail": "log up to 100"},
        {"name": "leader", "ok": false, "detail": "no leader for 3 s"},
    ]});
    assert_eq!(reply.json(), expected);
    assert_eq!(server.get("/livez").await.status, 200);
}

#[tokio::test]
async fn metrics_come_in_the_text_that_is_asked_for() {
    let server = Server::start(Fake::new()).await;
    let plain = server.get("/metrics").await;
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert!(plain.body.contains("flotilla_raft_term{"));
    let open =
        server.ask("GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n", "").await;
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_group_names_its_leader_and_the_progress_of_each_replica() {
    let server = Server::start(Fake::new()).await;
    let expected = json!({
        "group": "broker-a", "self": "n1", "role": "leader", "leader": "n1", "term": 7,
        "last_log": 101, "commit": 100, "applied": 99, "snapshot": null, "purged": null, "waiting_for": null,
        "replicas": [
            {"id": "n0", "raft_address": "host0:40911", "is_leader": false, "matched": 100, "lag": 1},
            {"id": "n1", "raft_address": "host1:40911", "is_leader": true, "matched": 101, "lag": 0},
            {"id": "n2", "raft_address": "host2:40911", "is_leader": false, "matched": null, "lag": 102},
        ],
    });
    assert_eq!(server.get("/v1/group").await.json(), expected);
    let cluster = server.get("/v1/cluster").await.json();
    assert_eq!(cluster["cluster"], "DefaultCluster");
    assert_eq!(cluster["leader"], "n1");
    assert_eq!(cluster["replicas"][1]["is_self"], true);
    assert_eq!(server.get("/version").await.json()["name"], "flotilla");
}

#[tokio::test]
async fn leadership_moves_to_a_named_replica_or_to_any() {
    let server = Server::start(Fake::new()).await;
    let moved = server.transfer(r#"{"to":"n2"}"#).await;
    assert_eq!(moved.status, 200);
    assert_eq!(moved.json(), json!({"from": "n1", "leader": "n2", "term": 8}));
    assert_eq!(server.transfer("").await.status, 200);
    assert_eq!(server.transfer("{}").await.status, 200);
    assert_eq!(*server.source.asked.lock().unwrap(), [Some(2), None, None]);

    let asked_only = Fake { answer: Ok(Transfer { from: 1, leader: None, term: 7 }), ..Fake::new() };
    assert_eq!(Server::start(asked_only).await.transfer("").await.status, 202);
}

#[tokio::test]
async fn a_bad_transfer_is_refused_without_asking_the_node() {
    let server = Server::start(Fake::new()).await;
    for body in [r#"{"to":"n3"}"#, r#"{"to":2}"#, r#"{"target":"n2"}"#, "n2"] {
        assert_eq!(server.transfer(body).await.problem(), (400, "invalid_request".into()), "{body}");
    }
    assert!(server.source.asked.lock().unwrap().is_empty());
    let huge = format!("{{\"to\":\"{}\"}}", "n".repeat(BODY_SIZE_MAX));
    assert_eq!(server.transfer(&huge).await.problem(), (413, "invalid_request".into()));
}

#[tokio::test]
async fn causes_become_problems_that_name_the_leader() {
    let conflict = AdminError::Conflict { reason: "n2 is behind".into(), leader: Some(1) };
    let timeout = AdminError::Timeout { reason: "n2 did not take over".into(), leader: None };
    let cases = [
        (conflict, 409, "conflict", json!("n1")),
        (timeout, 504, "timeout", Value::Null),
        (AdminError::NoLeader("no leader is known".into()), 503, "no_leader", Value::Null),
        (AdminError::Internal("stopped".into()), 500, "internal", Value::Null),
    ];
    for (error, status, code, leader) in cases {
        let server = Server::start(Fake { answer: Err(error), ..Fake::new() }).await;
        let reply = server.transfer("").await;
        assert_eq!(reply.problem(), (status, code.to_owned()));
        assert_eq!(reply.json()["leader"], leader);
    }
}

#[tokio::test]
async fn topics_are_paged_in_order_and_system_names_can_be_asked_for() {
    let server = Server::start(Fake::new()).await;
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = server.get("/v1/topics?limit=3").await.json();
    assert_eq!(names(&first), ["%RETRY%g", "TBW102", "a"]);
    assert_eq!(
        first["items"][2],
        json!({"name": "a", "read_queues": 4, "write_queues": 8, "readable": true,
        "writable": false, "ordered": false, "system": false})
    );
    let cursor = first["next"].as_str().unwrap();
    let second = server.get(&format!("/v1/topics?limit=3&cursor={cursor}")).await.json();
    assert_eq!(names(&second), ["b"]);
    assert_eq!(second.get("next"), None);

    let queues = server.get("/v1/topics/%25RETRY%25g/queues").await.json();
    assert_eq!(queues["topic"], "%RETRY%g");
    assert_eq!(queues["queues"][0]["messages"], 7);
    assert_eq!(server.get("/v1/topics/a").await.json()["name"], "a");
}

#[tokio::test]
async fn a_group_shows_members_offsets_and_a_lag_that_is_never_negative() {
    let server = Server::start(Fake::new()).await;
    assert_eq!(server.get("/v1/consumer-groups").await.json()["items"][0]["members"], 1);
    let group = server.get("/v1/consumer-groups/g").await.json();
    assert_eq!(group["lag"], 3);
    let lags: Vec<&Value> = group["queues"].as_array().unwrap().iter().map(|queue| &queue["lag"]).collect();
    assert_eq!(lags, [&json!(3), &json!(0), &Value::Null]);
    assert_eq!(group["members"][0]["subscriptions"][0]["topic"], "a");
}

#[tokio::test]
async fn what_does_not_exist_and_what_is_malformed_are_problems() {
    let server = Server::start(Fake::new()).await;
    for path in ["/", "/v2", "/v1/topics/none", "/v1/topics/none/queues", "/v1/consumer-groups/none"] {
        assert_eq!(server.get(path).await.problem(), (404, "not_found".into()), "{path}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=xyz", "page=1"] {
        let path = format!("/v1/topics?{query}");
        assert_eq!(server.get(&path).await.problem(), (400, "invalid_request".into()), "{path}");
    }
    assert_eq!(server.get("/v1/topics/%ff").await.problem(), (400, "invalid_request".into()));
    let wrong = server.ask("DELETE", "/v1/topics/a", "", "").await;
    assert_eq!(wrong.problem(), (405, "method_not_allowed".into()));
}

#[tokio::test]
async fn the_server_stops_although_a_client_holds_its_connection() {
    let server = Server::start(Fake::new()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    server.stop.cancel();
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn it_starts_on_an_address_on_a_bound_socket_or_not_at_all() {
    let source: Source = Arc::new(Fake::new());
    let stop = CancellationToken::new();
    let _stops_with_the_test = stop.clone().drop_guard();
    assert_eq!(start(None, None, source.clone(), stop.clone()).await.unwrap(), None);

    let bound = StdListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    assert_eq!(start(None, Some(bound), source.clone(), stop.clone()).await.unwrap(), Some(address));
    let error = start(Some(address), None, source.clone(), stop.clone()).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let free = start(Some("127.0.0.1:0".parse().unwrap()), None, source, stop).await.unwrap();
    assert!(TcpStream::connect(free.unwrap()).await.is_ok());
}
