//! Connections for tests of who is connected.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use flotilla_net::{ByteBudget, BytesPermit, Connection, ConnectionOptions, Service};
use flotilla_remoting::frame::Frame;
use tokio::net::{TcpListener, TcpStream};

struct Silent;

impl Service for Silent {
    fn call(&self, _: &Arc<Connection>, _: Frame, _: BytesPermit) {}
}

/// One whose other end is closed already.
pub(super) async fn connection() -> Arc<Connection> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    Connection::over(stream, ConnectionOptions::default(), ByteBudget::new(1), Arc::new(Silent)).unwrap()
}
