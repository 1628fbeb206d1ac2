//! Connections to other processes by address: opened when first needed, opened again after they were lost, with back-off.
//!
//! ```text
//! absent --get--> connecting --ok--> open --lost--> absent
//!                     \--failed--> backing off (get fails at once) --pause over--> absent
//! ```
//! One attempt per address at a time: callers that come meanwhile share its result.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::frame::Frame;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::address::split_address;
use crate::budget::ByteBudget;
use crate::connection::{CloseReason, Connection, Surroundings};
use crate::options::PoolOptions;
use crate::pending::{Expected, RequestError, Unsent};
use crate::service::Service;
use crate::stats::NetStats;
use crate::stream::Dial;

/// Why there is no connection to an address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// Not `host:port`: will never work.
    #[error("not an address: {0}")]
    Address(String),
    /// The attempt failed.
    #[error("cannot connect to {address}: {reason}")]
    Failed { address: String, reason: String },
    /// An earlier attempt failed and its pause is not over.
    #[error("cannot connect to {address} (next attempt in {retry_in:?}): {reason}")]
    BackingOff { address: String, retry_in: Duration, reason: String },
    /// The pool was stopped.
    #[error("client pool is stopped")]
    Stopped,
}

/// A pool; shared by `Arc` or clone.
#[derive(Clone)]
pub struct ClientPool {
    inner: Arc<Inner>,
}

struct Inner {
    options: PoolOptions,
    /// Calls in the place of TCP.
    dial: Option<Arc<dyn Dial>>,
    around: Surroundings,
    peers: Mutex<HashMap<String, Arc<Peer>>>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

#[derive(Default)]
struct Peer {
    connection: Mutex<Option<Arc<Connection>>>,
    /// Held over an attempt to connect.
    attempt: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    failures: u32,
    not_before: Option<Instant>,
    reason: String,
}

impl ClientPool {
    /// A pool without connections; `service` gets what the other sides ask.
    pub fn new(options: PoolOptions, service: Arc<dyn Service>) -> ClientPool {
        ClientPool::build(options, None, service)
    }

    /// As [`ClientPool::new`], over streams that `dial` opens in the place of TCP.
    pub fn dialling(options: PoolOptions, dial: Arc<dyn Dial>, service: Arc<dyn Service>) -> ClientPool {
        ClientPool::build(options, Some(dial), service)
    }

    fn build(options: PoolOptions, dial: Option<Arc<dyn Dial>>, service: Arc<dyn Service>) -> ClientPool {
        let around = Surroundings {
            service,
            options: options.connection.clone(),
            budget: ByteBudget::new(options.in_flight_bytes_max),
            stats: Arc::default(),
        };
        let inner = Inner {
            options,
            dial,
            around,
            peers: Mutex::default(),
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
        };
        ClientPool { inner: Arc::new(inner) }
    }

    /// The open connection to `address` (`host:port`), or a new one. Safe to drop: an attempt under way is given up.
    ///
    /// # Errors
    /// See `ConnectError`; while backing off it fails at once.
    pub async fn get(&self, address: &str) -> Result<Arc<Connection>, ConnectError> {
        let peer = self.peer(address);
        if let Some(connection) = peer.open_connection() {
            return Ok(connection);
        }
        let mut attempts = peer.attempt.lock().await;
        if let Some(connection) = peer.open_connection() {
            return Ok(connection);
        }
        attempts.check(address)?;
        match self.open(address).await {
            Ok(connection) => {
                *attempts = Attempts::default();
                *peer.connection.lock() = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                attempts.note_failure(&error, &self.inner.options);
                Err(error)
            }
        }
    }

    /// The connection to `address` if one is open; never connects.
    pub fn open_connection(&self, address: &str) -> Option<Arc<Connection>> {
        let peer = self.inner.peers.lock().get(address).cloned()?;
        peer.open_connection()
    }

    /// All connections that are open, with the addresses that they were opened for.
    pub fn open_connections(&self) -> Vec<(String, Arc<Connection>)> {
        let peers: Vec<(String, Arc<Peer>)> = {
            let peers = self.inner.peers.lock();
            peers.iter().map(|(address, peer)| (address.clone(), peer.clone())).collect()
        };
        let open = |(address, peer): (String, Arc<Peer>)| Some((address, peer.open_connection()?));
        peers.into_iter().filter_map(open).collect()
    }

    /// Sends a request to `address`, connecting first if need be; `limit` spans both.
    ///
    /// # Errors
    /// `RequestError::NotSent` also when there is no connection.
    pub async fn request(&self, address: &str, frame: Frame, limit: Duration) -> Result<Frame, RequestError> {
        self.request_expecting(Expected::Soon, address, frame, limit).await
    }

    /// [`ClientPool::request`], telling when its answer is to be expected.
    ///
    /// # Errors
    /// As there.
    pub async fn request_expecting(
        &self,
        expected: Expected,
        address: &str,
        frame: Frame,
        limit: Duration,
    ) -> Result<Frame, RequestError> {
        let deadline = Instant::now() + limit;
        let connection = match tokio::time::timeout_at(deadline, self.get(address)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(no_connection(error.to_string())),
            Err(_) => return Err(no_connection(format!("no connection to {address} in time"))),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        connection.request_expecting(expected, frame, left).await
    }

    /// Closes the connection to `address` and forgets its back-off.
    pub fn close(&self, address: &str, why: &str) {
        let peer = self.inner.peers.lock().remove(address);
        if let Some(connection) = peer.and_then(|peer| peer.connection.lock().take()) {
            connection.close(CloseReason::Requested(why.into()));
        }
    }

    /// Closes all connections and opens no more; returns when their tasks have ended.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> Arc<NetStats> {
        self.inner.around.stats.clone()
    }

    fn peer(&self, address: &str) -> Arc<Peer> {
        let mut peers = self.inner.peers.lock();
        if let Some(peer) = peers.get(address) {
            return peer.clone();
        }
        if peers.len() >= self.inner.options.addresses_max {
            // Those in use by a caller right now have another handle.
            peers.retain(|_, peer| Arc::strong_count(peer) > 1 || peer.open_connection().is_some());
        }
        peers.entry(address.to_owned()).or_default().clone()
    }

    async fn open(&self, address: &str) -> Result<Arc<Connection>, ConnectError> {
        if let Some(dial) = &self.inner.dial {
            let stream = self.call(address, dial.dial(address)).await?;
            let (connection, keeper) = Connection::prepare_stream(stream, self.inner.around.clone());
            return Ok(self.keep(address, connection, keeper));
        }
        let target = split_address(address).ok_or_else(|| ConnectError::Address(address.to_owned()))?;
        let stream = self.call(address, TcpStream::connect(target)).await?;
        let (connection, keeper) =
            Connection::prepare(stream, self.inner.around.clone()).map_err(|failure| {
                ConnectError::Failed { address: address.to_owned(), reason: failure.to_string() }
            })?;
        Ok(self.keep(address, connection, keeper))
    }

    /// Waits for a call, as long as it may take.
    async fn call<S>(
        &self,
        address: &str,
        calling: impl Future<Output = io::Result<S>>,
    ) -> Result<S, ConnectError> {
        let failed = |reason: String| ConnectError::Failed { address: address.to_owned(), reason };
        tokio::select! {
            () = self.inner.stop.cancelled() => Err(ConnectError::Stopped),
            connected = timeout(self.inner.options.connect_timeout, calling) => match connected {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(failure)) => Err(failed(failure.to_string())),
                Err(_) => Err(failed("no answer in time".into())),
            },
        }
    }

    /// Runs a connection to its end, or to the pool's.
    fn keep(
        &self,
        address: &str,
        connection: Arc<Connection>,
        keeper: impl Future<Output = ()> + Send + 'static,
    ) -> Arc<Connection> {
        debug!(connection = connection.id(), address, "connected");
        let (stop, ended) = (self.inner.stop.clone(), connection.clone());
        self.inner.tracker.spawn(async move {
            tokio::pin!(keeper);
            tokio::select! {
                () = &mut keeper => return,
                () = stop.cancelled() => ended.close(CloseReason::Requested("shutting down".into())),
            }
            keeper.await;
        });
        connection
    }
}

impl std::fmt::Debug for ClientPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientPool").field("addresses", &self.inner.peers.lock().len()).finish()
    }
}

impl Peer {
    fn open_connection(&self) -> Option<Arc<Connection>> {
        let mut connection = self.connection.lock();
        if connection.as_ref().is_some_and(|connection| connection.is_closed()) {
            *connection = None;
        }
        connection.clone()
    }
}

impl Attempts {
    fn check(&self, address: &str) -> Result<(), ConnectError> {
        let now = Instant::now();
        match self.not_before {
            Some(not_before) if not_before > now => Err(ConnectError::BackingOff {
                address: address.to_owned(),
                retry_in: not_before - now,
                reason: self.reason.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn note_failure(&mut self, error: &ConnectError, options: &PoolOptions) {
        let doubled = options.back_off_min.saturating_mul(1 << self.failures.min(16));
        self.not_before = Some(Instant::now() + doubled.min(options.back_off_max));
        self.failures = self.failures.saturating_add(1);
        self.reason = error.to_string();
    }
}

fn no_connection(reason: String) -> RequestError {
    RequestError::NotSent(Unsent::NoConnection(reason))
}

/// The address text of a socket address, as pool keys and route entries write it.
pub fn address_text(address: SocketAddr) -> String {
    crate::address::normalised(address).to_string()
}
