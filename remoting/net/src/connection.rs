//! One connection: framed, symmetric, with a bounded write queue and correlated requests.
//!
//! ```text
//!             any thread                                     service
//!  send, reply, request |                                       ^ call_batch
//!                       v                                       |
//!                   Outbox --> writer task --> socket --> reader task --> Pending (answers)
//!                                     keeper task: deadlines, idle close, end
//! ```
//! Promises: frames of one sender leave in the order in which they were pushed; a request gets exactly one result; a closed
//! connection wakes everyone who waits for it. The meaning of frames is the service's business.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::frame::Frame;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::{ByteBudget, BytesPermit};
use crate::options::{ConnectionOptions, Overflow};
use crate::outbox::{Outbox, Outgoing, SendError};
use crate::pending::{Callback, Expected, Pending, RequestError};
use crate::service::Service;
use crate::stats::NetStats;
use crate::stream::Stream;
use crate::{keeper, limits};

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CloseReason {
    /// This side asked for it.
    #[error("closed by this side: {0}")]
    Requested(String),
    /// The other side closed.
    #[error("closed by the peer")]
    Peer,
    /// Neither read nor write for the idle time.
    #[error("idle")]
    Idle,
    /// The other side sent bytes that are no frame.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// The socket failed.
    #[error("input or output failed: {0}")]
    Io(String),
    /// The other side reads too slowly.
    #[error("receiver too slow")]
    SlowReceiver,
    /// Half-received frames held too much memory.
    #[error("memory for incoming frames used up")]
    OverBudget,
    /// A task of the connection panicked: a bug.
    #[error("internal failure")]
    Bug,
}

/// What the tasks of a connection share with its listener or pool.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) options: ConnectionOptions,
    pub(crate) budget: ByteBudget,
    pub(crate) stats: Arc<NetStats>,
}

/// A connection; shared by `Arc`. Dropping the last handle of a caller does not close it, `close` does.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    pub(crate) outbox: Outbox,
    overflow: Overflow,
    pub(crate) pending: Pending,
    closed: CancellationToken,
    reason: OnceLock<CloseReason>,
    pub(crate) activity: Activity,
    /// Tells the keeper that there is a first deadline, or that the end is near.
    pub(crate) keeper_wake: Notify,
    pub(crate) finish_by: OnceLock<Instant>,
}

impl Connection {
    /// Speaks the protocol over an open stream: `service` gets what the peer asks. Must be called within a tokio runtime,
    /// which runs the connection's tasks.
    ///
    /// # Errors
    /// The socket's addresses cannot be read, which means that it is closed.
    pub fn over(
        stream: TcpStream,
        options: ConnectionOptions,
        budget: ByteBudget,
        service: Arc<dyn Service>,
    ) -> std::io::Result<Arc<Connection>> {
        let around = Surroundings { service, options, budget, stats: Arc::default() };
        let (connection, keeper) = Connection::prepare(stream, around)?;
        tokio::spawn(keeper);
        Ok(connection)
    }

    /// As [`Connection::over`], over a stream of another kind than TCP.
    pub fn over_stream(
        stream: Stream,
        options: ConnectionOptions,
        budget: ByteBudget,
        service: Arc<dyn Service>,
    ) -> Arc<Connection> {
        let around = Surroundings { service, options, budget, stats: Arc::default() };
        let (connection, keeper) = Connection::prepare_stream(stream, around);
        tokio::spawn(keeper);
        connection
    }

    /// The connection and the future that runs it to its end.
    pub(crate) fn prepare(
        stream: TcpStream,
        around: Surroundings,
    ) -> std::io::Result<(Arc<Connection>, impl Future<Output = ()> + Send + 'static)> {
        stream.set_nodelay(true)?;
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        let (read_half, write_half) = stream.into_split();
        let connection = Arc::new(Connection::new(peer, local, &around.options));
        let keeper = keeper::run(connection.clone(), read_half, write_half, around);
        Ok((connection, keeper))
    }

    /// As [`Connection::prepare`], over a stream of another kind.
    pub(crate) fn prepare_stream(
        stream: Stream,
        around: Surroundings,
    ) -> (Arc<Connection>, impl Future<Output = ()> + Send + 'static) {
        let connection = Arc::new(Connection::new(stream.peer, stream.local, &around.options));
        let keeper = keeper::run(connection.clone(), stream.read, stream.write, around);
        (connection, keeper)
    }

    /// The seam for encrypted or otherwise wrapped streams, and for a peer address told by a proxy: nothing below here
    /// knows the kind of stream.
    fn new(peer: SocketAddr, local: SocketAddr, options: &ConnectionOptions) -> Connection {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Connection {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            peer: crate::address::normalised(peer),
            local: crate::address::normalised(local),
            outbox: Outbox::new(options.write_queue_bytes_max),
            overflow: options.overflow,
            pending: Pending::new(options.pending_requests_max),
            closed: CancellationToken::new(),
            reason: OnceLock::new(),
            activity: Activity::new(),
            keeper_wake: Notify::new(),
            finish_by: OnceLock::new(),
        }
    }

    /// Number of this connection, never reused within the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Address of the other side, IPv4 written as IPv4.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Address of this side.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Queues a frame. Returns at once; that it was taken does not mean that it has left.
    ///
    /// # Errors
    /// See `SendError`; on `Full` the connection is closed, unless its options say `Overflow::Refuse`.
    pub fn send(&self, frame: Frame) -> Result<(), SendError> {
        self.push(Some(Outgoing::new(frame)))
    }

    /// Queues a frame whose body is `frame.body` and then `parts`; large parts are written from where they are.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_parts(&self, frame: Frame, parts: Vec<Bytes>) -> Result<(), SendError> {
        self.push(Some(Outgoing::new(frame).parts(parts)))
    }

    /// Queues the answer to a request; the request's permit is given back when the answer has left.
    ///
    /// # Errors
    /// As `send`.
    pub fn reply(&self, frame: Frame, permit: BytesPermit) -> Result<(), SendError> {
        self.push(Some(Outgoing::new(frame).permit(permit)))
    }

    /// `reply` with a body in parts.
    ///
    /// # Errors
    /// As `send`.
    pub fn reply_parts(&self, frame: Frame, parts: Vec<Bytes>, permit: BytesPermit) -> Result<(), SendError> {
        self.push(Some(Outgoing::new(frame).parts(parts).permit(permit)))
    }

    /// Queues many frames with one lock and one wake: all or none.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_all(&self, frames: Vec<Outgoing>) -> Result<(), SendError> {
        self.push(frames)
    }

    /// Queues a one-way request: the flag is set here, no answer will come.
    ///
    /// # Errors
    /// As `send`.
    pub fn oneway(&self, mut frame: Frame) -> Result<(), SendError> {
        frame.header.flag = ONEWAY;
        self.send(frame)
    }

    /// Sends a request and waits for its answer. The opaque is chosen here.
    ///
    /// Dropped while waiting, the request may have been sent; its answer is then ignored.
    ///
    /// # Errors
    /// See `RequestError`.
    pub async fn request(&self, frame: Frame, timeout: Duration) -> Result<Frame, RequestError> {
        self.request_expecting(Expected::Soon, frame, timeout).await
    }

    /// [`Connection::request`], telling when its answer is to be expected; see [`Connection::oldest_request`].
    ///
    /// # Errors
    /// See `RequestError`.
    pub async fn request_expecting(
        &self,
        expected: Expected,
        frame: Frame,
        timeout: Duration,
    ) -> Result<Frame, RequestError> {
        let (sender, receiver) = oneshot::channel();
        let callback: Callback = Box::new(move |result| {
            // The asker may have gone.
            let _ = sender.send(result);
        });
        let opaque = self.start(frame, expected, timeout, callback);
        let mut forget = Forget { pending: &self.pending, opaque };
        let result = receiver.await.unwrap_or(Err(RequestError::Closed));
        forget.opaque = None;
        result
    }

    /// Sends a request whose result is given to `callback`, at the latest shortly after `timeout`: costs no task.
    pub fn request_with(&self, frame: Frame, timeout: Duration, callback: Callback) {
        self.start(frame, Expected::Soon, timeout, callback);
    }

    fn start(
        &self,
        mut frame: Frame,
        expected: Expected,
        timeout: Duration,
        callback: Callback,
    ) -> Option<i32> {
        let opaque = match self.pending.insert(timeout, expected, callback) {
            Ok((opaque, first)) => {
                if first {
                    self.keeper_wake.notify_one();
                }
                opaque
            }
            Err((error, callback)) => {
                callback(Err(error));
                return None;
            }
        };
        frame.header.opaque = opaque;
        frame.header.flag = 0;
        if let Err(error) = self.send(frame) {
            // Whoever takes the slot out calls back, so that it is done once.
            if let Some(callback) = self.pending.take(opaque) {
                callback(Err(RequestError::NotSent(error.into())));
            }
            return None;
        }
        Some(opaque)
    }

    fn push(&self, frames: impl IntoIterator<Item = Outgoing>) -> Result<(), SendError> {
        let result = self.outbox.push(frames);
        if result == Err(SendError::Full) && self.overflow == Overflow::Close {
            self.close(CloseReason::SlowReceiver);
        }
        result
    }

    /// Closes at once; what still waits to be written is lost. The first reason stays.
    pub fn close(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
        self.outbox.close();
        self.pending.close();
        self.closed.cancel();
    }

    /// Takes no more frames, writes those that it has (within `limits::FINISH`), then closes.
    pub fn finish(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
        let _ = self.finish_by.set(Instant::now() + limits::FINISH);
        self.outbox.finish();
        self.keeper_wake.notify_one();
    }

    /// Is cancelled when the connection ends.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Claims that no frame can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Why it ended, or is about to end.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.reason.get()
    }

    /// Bytes that wait to be written or are being written.
    pub fn write_queue_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Requests of ours that have no answer yet.
    pub fn pending_requests(&self) -> usize {
        self.pending.len()
    }

    /// When the oldest request of ours of this kind that has no answer yet was sent. Looks at all of them.
    pub fn oldest_request(&self, expected: Expected) -> Option<Instant> {
        self.pending.oldest(expected)
    }

    /// Waits no longer for answers to requests that were sent at this time or before: they end with `RequestError::GivenUp`.
    /// Gives their number. The connection stays.
    pub fn give_up(&self, sent_by: Instant) -> usize {
        self.pending.give_up(sent_by)
    }

    /// When a byte last came, to a millisecond; when the connection opened, if none has come.
    pub fn last_heard(&self) -> Instant {
        self.activity.last_heard()
    }
}

/// Bit 1 of the header's flag.
const ONEWAY: i32 = 2;

/// Forgets a request whose asker has gone.
struct Forget<'a> {
    pending: &'a Pending,
    opaque: Option<i32>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(opaque) = self.opaque {
            self.pending.take(opaque);
        }
    }
}

/// When a byte last came or went, in milliseconds since the connection opened.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    last_ms: AtomicU64,
    heard_ms: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity { opened: Instant::now(), last_ms: AtomicU64::new(0), heard_ms: AtomicU64::new(0) }
    }

    /// A byte went.
    pub(crate) fn touch(&self) {
        self.last_ms.store(self.passed_ms(), Ordering::Relaxed);
    }

    /// A byte came.
    pub(crate) fn hear(&self) {
        let passed = self.passed_ms();
        self.last_ms.store(passed, Ordering::Relaxed);
        self.heard_ms.store(passed, Ordering::Relaxed);
    }

    fn passed_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn last_heard(&self) -> Instant {
        self.opened + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}
