//! The HTTP administration of one node, asked over a connection per request.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(8);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

/// Asks the administration at a port of this machine.
pub async fn call(port: u16, method: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, asking).await.context("no answer in time")?;
    let answer = String::from_utf8(answer.with_context(|| format!("{method} {path}"))?)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// What a node says of its group.
#[derive(Clone, Debug)]
pub struct GroupView {
    pub role: String,
    pub leader: Option<usize>,
    pub term: u64,
    pub last_log: u64,
    pub commit: u64,
    pub applied: u64,
    /// What keeps the node from taking part.
    pub waiting_for: Option<String>,
}

/// `GET /v1/group`.
pub async fn group(port: u16) -> anyhow::Result<GroupView> {
    let answer = call(port, "GET", "/v1/group", "").await?;
    if answer.status != 200 {
        bail!("GET /v1/group: {} {}", answer.status, answer.body);
    }
    let view = answer.json()?;
    let number = |key: &str| view[key].as_u64().unwrap_or(0);
    Ok(GroupView {
        role: view["role"].as_str().context("role")?.to_owned(),
        leader: view["leader"].as_str().map(node_of).transpose()?,
        term: number("term"),
        last_log: number("last_log"),
        commit: number("commit"),
        applied: number("applied"),
        waiting_for: view["waiting_for"].as_str().map(str::to_owned),
    })
}

/// One queue as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueBounds {
    pub queue: u64,
    pub min: u64,
    pub max: u64,
}

/// `GET /v1/topics/{topic}/queues`, by queue.
pub async fn queues(port: u16, topic: &str) -> anyhow::Result<Vec<QueueBounds>> {
    let answer = call(port, "GET", &format!("/v1/topics/{topic}/queues"), "").await?;
    if answer.status != 200 {
        bail!("queues of {topic}: {} {}", answer.status, answer.body);
    }
    let view = answer.json()?;
    let mut queues = Vec::new();
    for queue in view["queues"].as_array().context("queues")? {
        let number = |key: &str| queue[key].as_u64().with_context(|| format!("{key} in {queue}"));
        queues.push(QueueBounds {
            queue: number("queue")?,
            min: number("min_offset")?,
            max: number("max_offset")?,
        });
    }
    queues.sort();
    Ok(queues)
}

/// The number in a replica's name: 2 of `n2`.
fn node_of(name: &str) -> anyhow::Result<usize> {
    name.strip_prefix('n')
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("replica name {name}"))
}
