//! Streams that are no sockets of this process: what a simulated network gives in the place of TCP.
//!
//! Everything above a stream's bytes is the same for both: frames, correlation, bounds, deadlines, the pool's back-off.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// An open stream, its two directions apart.
pub struct Stream {
    /// Bytes of the other side; their end is its end.
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    /// Bytes to the other side; dropping it tells that no more will come.
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
    /// Address of the other side.
    pub peer: SocketAddr,
    /// Address of this side.
    pub local: SocketAddr,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("peer", &self.peer).field("local", &self.local).finish()
    }
}

/// A call under way; dropping it gives the call up.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// Calls addresses in the place of TCP.
pub trait Dial: Send + Sync + 'static {
    /// Calls an address as a pool is given it.
    fn dial(&self, address: &str) -> Dialling;
}
