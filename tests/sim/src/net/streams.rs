//! The network as the product's framed connections take it: streams for `flotilla-net`.

use std::net::SocketAddr;
use std::sync::Arc;

use flotilla_net::{Dial, Dialling, Stream};
use flotilla_raft_store::net::{Duplex, Listen, Net};

use super::Plug;

/// Calls from one process.
pub struct Caller(Plug);

impl Caller {
    /// For the process that is plugged in so.
    pub fn new(plug: Plug) -> Arc<Self> {
        Arc::new(Self(plug))
    }
}

impl Dial for Caller {
    fn dial(&self, address: &str) -> Dialling {
        let calling = self.0.connect(address);
        Box::pin(async move { Ok(stream(calling.await?)) })
    }
}

/// An open port of one process.
pub struct Door(Box<dyn Listen>);

impl Door {
    /// Takes an address to be called at.
    ///
    /// # Errors
    /// Somebody has it.
    pub fn open(plug: &Plug, address: &str) -> std::io::Result<Self> {
        Ok(Self(plug.listen(address)?))
    }

    /// The next call. Dropping the future loses none.
    ///
    /// # Errors
    /// The port is closed.
    pub async fn accept(&mut self) -> std::io::Result<Stream> {
        std::future::poll_fn(|context| self.0.poll_accept(context)).await.map(stream)
    }
}

/// Addresses say nothing here: who is who stands in the requests.
fn stream(duplex: Box<dyn Duplex>) -> Stream {
    let (read, write) = duplex.split();
    let address = SocketAddr::from(([10, 0, 0, 1], 1));
    Stream { read: Box::new(read), write: Box::new(write), peer: address, local: address }
}
