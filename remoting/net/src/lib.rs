//! Framed TCP for the remoting protocol: connections, correlation, client pool, listener.
//!
//! Bytes of a socket become batches of `Frame`s for a `Service`, and frames pushed from any thread become few vectored
//! writes. Every queue here has a bound (`limits`). What a request means, who may ask it and how it is answered is left to
//! the service. Facts about the wire come from the protocol notes (framing, chapters 1 and 6 to 8) and `flotilla_remoting`.
//!
//! LIMIT: encrypted connections and the proxy protocol are not spoken yet; a connection that opens with either is closed as
//! malformed.

#![forbid(unsafe_code)]

pub mod address;
pub mod budget;
pub mod connection;
pub mod limits;
pub mod listener;
pub mod options;
pub mod outbox;
pub mod pending;
pub mod pool;
pub mod service;
pub mod stats;
pub mod stream;

mod keeper;
mod reader;
mod writer;

pub use budget::{ByteBudget, BytesPermit};
pub use connection::{CloseReason, Connection};
pub use listener::Listener;
pub use options::{ConnectionOptions, ListenOptions, OverBudget, Overflow, PoolOptions};
pub use outbox::{Outgoing, SendError};
pub use pending::{Callback, Expected, RequestError, Unsent};
pub use pool::{ClientPool, ConnectError};
pub use service::{Service, busy_reply};
pub use stats::NetStats;
pub use stream::{Dial, Dialling, Stream};
