//! The way between replicas: TCP, or whatever a simulation puts in its place.
//!
//! The choice is made once, in [`crate::raft::ReplicaOptions`]; behind it connections are [`Connection`]s. A TCP stream costs one
//! comparison a call more than the bare socket.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What replicas reach each other by.
#[derive(Debug, Clone, Default)]
pub enum Network {
    /// The operating system's TCP.
    #[default]
    Tcp,
    /// Another one.
    Other(Arc<dyn Net>),
}

/// A network that takes the place of TCP.
pub trait Net: fmt::Debug + Send + Sync + 'static {
    /// Takes an address to be called at.
    ///
    /// # Errors
    /// As binding a port does.
    fn listen(&self, address: &str) -> io::Result<Box<dyn Listen>>;

    /// Calls an address. Dropping the future gives the call up.
    fn connect(&self, address: &str) -> Connecting;
}

/// A call under way.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send>>;

/// Where calls arrive.
pub trait Listen: Send + Sync {
    /// The address that calls arrive at, as far as it can be said in numbers.
    ///
    /// # Errors
    /// As asking a socket does.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next call.
    ///
    /// # Errors
    /// As accepting from a socket does.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Box<dyn Duplex>>>;
}

/// Reads bytes of a connection.
pub trait Reads: AsyncRead + Send + Sync + Unpin {}
impl<T: AsyncRead + Send + Sync + Unpin> Reads for T {}

/// Writes bytes of a connection; dropping it tells the other side that no more will come.
pub trait Writes: AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncWrite + Send + Sync + Unpin> Writes for T {}

/// A connection.
pub trait Duplex: Reads + Writes {
    /// Its two directions, to be used by two tasks.
    fn split(self: Box<Self>) -> (Box<dyn Reads>, Box<dyn Writes>);
}

impl Network {
    /// Calls an address.
    ///
    /// # Errors
    /// As connecting a socket does.
    pub(crate) async fn connect(&self, address: &str) -> io::Result<Connection> {
        match self {
            Network::Tcp => TcpStream::connect(address).await.map(Connection::Tcp),
            Network::Other(net) => net.connect(address).await.map(Connection::Other),
        }
    }
}

/// Where a replica's peers call.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Other(Box<dyn Listen>),
}

impl Listener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr(),
            Listener::Other(listener) => listener.local_addr(),
        }
    }

    /// The next call. Dropping the future loses none.
    pub(crate) async fn accept(&mut self) -> io::Result<Connection> {
        match self {
            Listener::Tcp(listener) => Ok(Connection::Tcp(listener.accept().await?.0)),
            Listener::Other(listener) => {
                poll_fn(|context| listener.poll_accept(context)).await.map(Connection::Other)
            }
        }
    }
}

/// A connection between replicas.
pub(crate) enum Connection {
    Tcp(TcpStream),
    Other(Box<dyn Duplex>),
}

/// The direction of a connection that bytes come from.
pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Other(Box<dyn Reads>),
}

/// The direction of a connection that bytes go to.
pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Other(Box<dyn Writes>),
}

impl Connection {
    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Connection::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer))
            }
            Connection::Other(stream) => {
                let (reader, writer) = stream.split();
                (ReadHalf::Other(reader), WriteHalf::Other(writer))
            }
        }
    }

    /// The socket itself, where there is one.
    pub(crate) fn into_tcp(self) -> io::Result<TcpStream> {
        match self {
            Connection::Tcp(stream) => Ok(stream),
            Connection::Other(_) => {
                let what = "application streams are sockets, and this network has none";
                Err(io::Error::new(io::ErrorKind::Unsupported, what))
            }
        }
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        Connection::Tcp(stream)
    }
}

/// Hands reading on to whichever kind of connection it is.
macro_rules! reads {
    ($name:ident) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
                    $name::Other(stream) => Pin::new(stream).poll_read(context, buffer),
                }
            }
        }
    };
}

/// Hands writing on to whichever kind of connection it is.
macro_rules! writes {
    ($name:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $name::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
                    $name::Other(stream) => Pin::new(stream).poll_write(context, bytes),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $name::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
                    $name::Other(stream) => Pin::new(stream).poll_write_vectored(context, slices),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $name::Tcp(stream) => stream.is_write_vectored(),
                    $name::Other(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::Tcp(stream) => Pin::new(stream).poll_flush(context),
                    $name::Other(stream) => Pin::new(stream).poll_flush(context),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
                    $name::Other(stream) => Pin::new(stream).poll_shutdown(context),
                }
            }
        }
    };
}

reads!(Connection);
reads!(ReadHalf);
writes!(Connection);
writes!(WriteHalf);
