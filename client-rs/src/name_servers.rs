//! Where name servers are: a list, the environment, or an HTTP endpoint that serves the list.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::error::{ClientError, Result};
use crate::limits;

/// Where name servers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// Addresses, `host:port`.
    List(Vec<String>),
    /// An HTTP address whose answer is a list as [`NameServers::parse`] reads it; asked at the start and with each route
    /// refresh, and its last answer stays good while it can't be reached.
    /// Source: RocketMQ 5.3 TopAddressing (`http://host:8080/rocketmq/nsaddr`).
    Endpoint(String),
}

/// The variable that official clients read.
const VARIABLE: &str = "NAMESRV_ADDR";

impl NameServers {
    /// Reads `host:port`s separated by `;` or `,`, or an `http://` address.
    ///
    /// # Errors
    /// There is no address in it, or one lacks its port; an `https` endpoint is not supported.
    pub fn parse(text: &str) -> Result<NameServers> {
        let text = text.trim();
        if text.starts_with("http://") {
            return Ok(NameServers::Endpoint(text.to_owned()));
        }
        if text.starts_with("https://") {
            return Err(ClientError::Invalid(format!("name-server endpoint {text}: only http is supported")));
        }
        let addresses: Vec<String> = text
            .split([';', ','])
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        let whole = |address: &String| {
            address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match addresses.iter().find(|address| !whole(address)) {
            Some(wrong) => Err(ClientError::Invalid(format!("name server {wrong}: expected host:port"))),
            None if addresses.is_empty() => Err(ClientError::Invalid("no name server given".into())),
            None => Ok(NameServers::List(addresses)),
        }
    }

    /// What `NAMESRV_ADDR` says; `None` when it is unset or can't be read.
    pub fn from_environment() -> Option<NameServers> {
        NameServers::parse(&std::env::var(VARIABLE).ok()?).ok()
    }

    /// `127.0.0.1:9876`.
    pub fn local() -> NameServers {
        NameServers::List(vec!["127.0.0.1:9876".to_owned()])
    }
}

/// The addresses in use, and which one is asked first.
#[derive(Debug)]
pub(crate) struct NameServerList {
    source: NameServers,
    known: Mutex<Arc<[String]>>,
    preferred: AtomicUsize,
}

impl NameServerList {
    pub(crate) fn new(source: NameServers) -> NameServerList {
        let known: Arc<[String]> = match &source {
            NameServers::List(addresses) => addresses.as_slice().into(),
            NameServers::Endpoint(_) => Arc::from([]),
        };
        // Clients that start at the same time should not all ask the same one.
        let first = rand::random_range(0..known.len().max(1));
        NameServerList { source, known: Mutex::new(known), preferred: AtomicUsize::new(first) }
    }

    /// The addresses, the preferred one first. Asks the endpoint when nothing is known yet. Safe to drop.
    ///
    /// # Errors
    /// The endpoint gave none.
    pub(crate) async fn addresses(&self) -> Result<Vec<String>> {
        if self.known.lock().is_empty() {
            self.ask_endpoint().await?;
        }
        let known = self.known.lock().clone();
        let mut addresses = known.to_vec();
        let count = addresses.len();
        addresses.rotate_left(self.preferred.load(Ordering::Relaxed) % count.max(1));
        Ok(addresses)
    }

    /// Asks another one first from now on, when `failed` still is the first.
    pub(crate) fn avoid(&self, failed: &str) {
        let known = self.known.lock();
        let first = self.preferred.load(Ordering::Relaxed);
        if known.len() > 1 && known[first % known.len()] == failed {
            self.preferred.store((first + 1) % known.len(), Ordering::Relaxed);
        }
    }

    /// Learns the list again when it comes from an endpoint; a failure keeps the old one.
    pub(crate) async fn refresh(&self) {
        if let Err(error) = self.ask_endpoint().await {
            tracing::warn!(%error, "name-server endpoint gave no list");
        }
    }

    async fn ask_endpoint(&self) -> Result<()> {
        let NameServers::Endpoint(url) = &self.source else { return Ok(()) };
        let failed = |reason: String| ClientError::NotSent { address: url.clone(), reason };
        let answer = tokio::time::timeout(Duration::from_secs(5), get(url));
        let text = answer.await.map_err(|_| failed("no answer in time".into()))?.map_err(failed)?;
        // What it says now may be better in a moment, unlike what a caller says.
        match NameServers::parse(&text).map_err(|error| failed(error.to_string()))? {
            NameServers::List(addresses) => *self.known.lock() = addresses.into(),
            NameServers::Endpoint(other) => {
                return Err(failed(format!("it names another endpoint, {other}")));
            }
        }
        Ok(())
    }
}

/// GET by HTTP/1.1 over a connection of its own.
async fn get(url: &str) -> std::result::Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let uri: hyper::Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| text(&error))?;
    let host = uri.host().ok_or("the address has no host")?.to_owned();
    let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(80))).await;
    let stream = TokioIo::new(stream.map_err(|error| text(&error))?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(|error| text(&error))?;
    // Ends with the sender.
    let driver = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host.as_str(), |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|error| text(&error))?).await;
    let response = response.map_err(|error| text(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), limits::ENDPOINT_ANSWER_SIZE_MAX).collect().await;
    driver.abort();
    let body = body.map_err(|error| text(&error))?.to_bytes();
    if !status.is_success() {
        return Err(format!("answered {status}"));
    }
    String::from_utf8(body.to_vec()).map_err(|error| text(&error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn lists_are_read_and_mistakes_are_named() {
        let list = NameServers::parse(" a:1; b:2,c:3;").unwrap();
        assert_eq!(list, NameServers::List(vec!["a:1".into(), "b:2".into(), "c:3".into()]));
        for wrong in ["", " ; ", "a", "a:b", ":1", "https://a/b"] {
            assert!(NameServers::parse(wrong).is_err(), "{wrong:?}");
        }
        let endpoint = NameServers::parse("http://a:8080/rocketmq/nsaddr").unwrap();
        assert_eq!(endpoint, NameServers::Endpoint("http://a:8080/rocketmq/nsaddr".into()));
    }

    #[tokio::test]
    async fn another_address_comes_first_after_a_failure() {
        let list = NameServerList::new(NameServers::parse("a:1;b:2").unwrap());
        let first = list.addresses().await.unwrap()[0].clone();
        list.avoid(&first);
        let then = list.addresses().await.unwrap();
        assert_eq!(then.len(), 2);
        assert_eq!(then[1], first);
        list.avoid(&first);
        assert_eq!(list.addresses().await.unwrap(), then, "only the first one is left");
    }

    /// Answers one request with this body; gives the request.
    async fn serve_once(body: &str) -> (NameServerList, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/rocketmq/nsaddr", listener.local_addr().unwrap());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let answer = head + body;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let size = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request[..size].to_vec()).unwrap()
        });
        (NameServerList::new(NameServers::Endpoint(url)), server)
    }

    #[tokio::test]
    async fn an_endpoint_serves_the_list() {
        let (list, server) = serve_once("x:1;y:22\n").await;
        let mut addresses = list.addresses().await.unwrap();
        addresses.sort();
        assert_eq!(addresses, ["x:1", "y:22"]);
        assert!(server.await.unwrap().starts_with("GET /rocketmq/nsaddr HTTP/1.1\r\n"));
        // The endpoint is gone; what it said stays.
        list.refresh().await;
        assert_eq!(list.addresses().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn an_answer_without_addresses_is_no_mistake_of_the_caller() {
        for body in ["", "<html></html>", "https://elsewhere/"] {
            let (list, _server) = serve_once(body).await;
            let error = list.addresses().await.unwrap_err();
            assert!(matches!(error, ClientError::NotSent { .. }), "{body:?}: {error}");
        }
    }
}
