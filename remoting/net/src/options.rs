//! What can be set for connections, listeners and client pools. Defaults are the bounds of `limits`.

use std::time::Duration;

use crate::budget::ByteBudget;
use crate::limits;

/// Settings of one connection, whoever opened it.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// Largest frame read, in bytes, its 4-byte length included. A larger one closes the connection.
    pub frame_size_max: usize,
    /// Bytes waiting to be written that `overflow` bounds.
    pub write_queue_bytes_max: usize,
    /// Requests of ours without an answer beyond which further ones are refused.
    pub pending_requests_max: usize,
    /// Closes after this long with neither read nor write.
    pub idle: Duration,
    /// What happens when more than `write_queue_bytes_max` would wait.
    pub overflow: Overflow,
    /// What happens to a request that finds the budget of in-flight bytes used up.
    pub over_budget: OverBudget,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        ConnectionOptions {
            frame_size_max: limits::FRAME_SIZE_MAX,
            write_queue_bytes_max: limits::WRITE_QUEUE_BYTES_MAX,
            pending_requests_max: limits::PENDING_REQUESTS_MAX,
            idle: limits::IDLE,
            overflow: Overflow::Close,
            over_budget: OverBudget::Refuse,
        }
    }
}

/// What a full write queue means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overflow {
    /// The other side is too slow: the connection is closed.
    Close,
    /// The frame is refused and the connection stays: for one that many callers share, who can slow down.
    Refuse,
}

/// The answer to a used-up budget of in-flight bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OverBudget {
    /// The request goes to `Service::overloaded`, which answers SYSTEM_BUSY unless the service does something better.
    Refuse,
    /// The request is served, and nothing more is read from this connection until others have given bytes back.
    Pause,
}

/// Settings of a listener.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections open at once; one more is closed right after its handshake.
    pub connections_max: usize,
    /// Bytes of requests decoded and not answered yet, over all connections. Ignored when `budget` is given.
    pub in_flight_bytes_max: usize,
    /// A budget shared with other listeners of the process.
    pub budget: Option<ByteBudget>,
    /// Settings of each connection accepted.
    pub connection: ConnectionOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions {
            connections_max: limits::CONNECTIONS_MAX,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            budget: None,
            connection: ConnectionOptions::default(),
        }
    }
}

/// Settings of a client pool.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Addresses with a connection or with back-off state; beyond it those without a connection are forgotten.
    pub addresses_max: usize,
    /// Time for a connection to open, name resolution included.
    pub connect_timeout: Duration,
    /// Pause after the first failed attempt; doubles with each further one.
    pub back_off_min: Duration,
    /// Longest pause between attempts.
    pub back_off_max: Duration,
    /// Bytes of requests received over the pool's connections and not answered yet.
    pub in_flight_bytes_max: usize,
    /// Settings of each connection opened.
    pub connection: ConnectionOptions,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions {
            addresses_max: limits::POOL_ADDRESSES_MAX,
            connect_timeout: limits::CONNECT_TIMEOUT,
            back_off_min: limits::BACK_OFF_MIN,
            back_off_max: limits::BACK_OFF_MAX,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            connection: ConnectionOptions::default(),
        }
    }
}
