//! What the suites share: a service made of a closure, a listener on a free port, raw sockets.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flotilla_net::{
    ByteBudget, BytesPermit, CloseReason, Connection, ConnectionOptions, ListenOptions, Listener, Service,
};
use flotilla_remoting::frame::{Frame, split_frame};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a service saw, in order.
#[derive(Debug)]
pub enum Seen {
    Connected(Arc<Connection>),
    Batch(Arc<Connection>, Vec<(Frame, BytesPermit)>),
    Disconnected(CloseReason),
}

/// Tells a test what happens and does nothing else.
pub struct Recorder(pub mpsc::UnboundedSender<Seen>);

impl Recorder {
    pub fn new() -> (Arc<Recorder>, mpsc::UnboundedReceiver<Seen>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Arc::new(Recorder(sender)), receiver)
    }
}

impl Service for Recorder {
    fn connected(&self, connection: &Arc<Connection>) {
        let _ = self.0.send(Seen::Connected(connection.clone()));
    }
    fn disconnected(&self, _: &Arc<Connection>, reason: &CloseReason) {
        let _ = self.0.send(Seen::Disconnected(reason.clone()));
    }
    fn call(&self, _: &Arc<Connection>, _: Frame, _: BytesPermit) {
        unreachable!("batches are taken whole");
    }
    fn call_batch(&self, connection: &Arc<Connection>, requests: Vec<(Frame, BytesPermit)>) {
        let _ = self.0.send(Seen::Batch(connection.clone(), requests));
    }
}

/// Answers each request with its own body.
pub struct Echo;

impl Service for Echo {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        if !request.is_oneway() {
            let body = request.body.clone();
            let _ = connection.reply(request.reply_with(ExtFields::new(), body), permit);
        }
    }
}

/// Answers nothing.
pub struct Silent;

impl Service for Silent {
    fn call(&self, _: &Arc<Connection>, _: Frame, _: BytesPermit) {}
}

/// A listener that is stopped when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub task: tokio::task::JoinHandle<()>,
    pub budget: ByteBudget,
    pub stats: Arc<flotilla_net::NetStats>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn serve(service: Arc<dyn Service>, options: ListenOptions) -> Server {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let (address, budget, stats) = (listener.local_addr(), listener.budget(), listener.stats());
    let stop = CancellationToken::new();
    let task = listener.serve(service, stop.clone());
    Server { address, stop, task, budget, stats }
}

/// A connection to `address` whose inbound requests go to `service`.
pub async fn connect(address: SocketAddr, service: Arc<dyn Service>) -> Arc<Connection> {
    let stream = TcpStream::connect(address).await.unwrap();
    Connection::over(stream, ConnectionOptions::default(), ByteBudget::new(1 << 20), service).unwrap()
}

pub fn request(body: impl Into<Bytes>) -> Frame {
    Frame::request(RequestCode::Heartbeat, ExtFields::new(), body.into())
}

pub fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.encode().to_vec()
}

/// A request frame with this opaque, as bytes.
pub fn raw_request(opaque: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = request(body.to_vec());
    frame.header.opaque = opaque;
    bytes_of(&frame)
}

/// Reads one frame from a raw socket; `None` at the end of the stream.
pub async fn read_frame(stream: &mut TcpStream) -> Option<Frame> {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(whole) = split_frame(&mut buffer).unwrap() {
            assert!(buffer.is_empty(), "helper reads one frame at a time");
            return Some(Frame::decode(whole).unwrap());
        }
        let missing = if buffer.len() < 4 {
            4 - buffer.len()
        } else {
            u32::from_be_bytes(buffer[..4].try_into().unwrap()) as usize + 4 - buffer.len()
        };
        let mut piece = vec![0; missing];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

pub async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// The next event that is a batch.
pub async fn next_batch(
    seen: &mut mpsc::UnboundedReceiver<Seen>,
) -> (Arc<Connection>, Vec<(Frame, BytesPermit)>) {
    loop {
        match seen.recv().await.expect("the service lives") {
            Seen::Batch(connection, requests) => return (connection, requests),
            Seen::Connected(_) => {}
            Seen::Disconnected(reason) => panic!("disconnected: {reason}"),
        }
    }
}

/// The reason of the next disconnection.
pub async fn next_end(seen: &mut mpsc::UnboundedReceiver<Seen>) -> CloseReason {
    loop {
        if let Seen::Disconnected(reason) = seen.recv().await.expect("the service lives") {
            return reason;
        }
    }
}

/// Yields until `claim` holds; the suite's own time limit ends a claim that never does.
pub async fn until(claim: impl Fn() -> bool) {
    while !claim() {
        tokio::task::yield_now().await;
    }
}

pub fn success(frame: &Frame) -> bool {
    frame.header.response_code() == ResponseCode::Success
}
