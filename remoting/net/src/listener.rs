//! Accepts connections, bounded in number, and runs each with one service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::budget::ByteBudget;
use crate::connection::{CloseReason, Connection, Surroundings};
use crate::limits::{BACKLOG, STOP_FINISH};
use crate::options::ListenOptions;
use crate::service::Service;
use crate::stats::NetStats;

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
    options: ListenOptions,
    budget: ByteBudget,
    stats: Arc<NetStats>,
}

impl Listener {
    /// Binds with SO_REUSEADDR, so that a restart need not wait for old connections to be forgotten. Port 0 lets the
    /// system choose. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is taken or not this machine's.
    pub fn bind(address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Listener::over(socket.listen(BACKLOG)?, options)
    }

    /// Takes over a socket that was bound and set to listen before, for instance to hold a port over a restart within the
    /// process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The socket can't be made non-blocking or has no address.
    pub fn from_std(socket: std::net::TcpListener, options: ListenOptions) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        Listener::over(TcpListener::from_std(socket)?, options)
    }

    fn over(socket: TcpListener, options: ListenOptions) -> io::Result<Listener> {
        let budget = options.budget.clone().unwrap_or_else(|| ByteBudget::new(options.in_flight_bytes_max));
        Ok(Listener { local: socket.local_addr()?, socket, options, budget, stats: Arc::default() })
    }

    /// The address bound, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The in-flight bytes of all connections of this listener.
    pub fn budget(&self) -> ByteBudget {
        self.budget.clone()
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> Arc<NetStats> {
        self.stats.clone()
    }

    /// Accepts until `stop` is cancelled, then closes every connection once what it holds is written, at the latest after
    /// a second; the task ends when all of them have ended.
    pub fn serve(self, service: Arc<dyn Service>, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(self.accept_until(service, stop))
    }

    async fn accept_until(self, service: Arc<dyn Service>, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(self.options.connections_max));
        let mut refusals = Refusals::default();
        let around = Surroundings {
            service,
            options: self.options.connection.clone(),
            budget: self.budget.clone(),
            stats: self.stats.clone(),
        };
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match slots.clone().try_acquire_owned() {
                    Ok(slot) => self.start(stream, slot, &around, &tracker, &stop),
                    Err(_) => refusals.note(&self.stats, peer, self.options.connections_max),
                },
                Err(failure) => {
                    // Out of file descriptors, mostly. Without a pause the loop would spin until one is free.
                    warn!(local = %self.local, %failure, "accept failed");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(Duration::from_millis(100)) => {}
                    }
                }
            }
        }
        drop(self.socket);
        tracker.close();
        tracker.wait().await;
        info!(local = %self.local, "listener stopped");
    }

    fn start(
        &self,
        stream: TcpStream,
        slot: OwnedSemaphorePermit,
        around: &Surroundings,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        // Fails only when the peer has gone between its handshake and now.
        let Ok((connection, keeper)) = Connection::prepare(stream, around.clone()) else { return };
        let stop = stop.clone();
        tracker.spawn(async move {
            let _slot = slot;
            tokio::pin!(keeper);
            tokio::select! {
                () = &mut keeper => return,
                () = stop.cancelled() => {}
            }
            let reason = CloseReason::Requested("shutting down".into());
            connection.finish(reason.clone());
            tokio::select! {
                () = &mut keeper => return,
                () = tokio::time::sleep(STOP_FINISH) => connection.close(reason),
            }
            keeper.await;
        });
    }
}

/// Counts refused connections; writes a line for the first and then for every power of two.
#[derive(Default)]
struct Refusals(u64);

impl Refusals {
    fn note(&mut self, stats: &NetStats, peer: SocketAddr, connections_max: usize) {
        NetStats::add(&stats.refused, 1);
        self.0 += 1;
        if self.0.is_power_of_two() {
            warn!(%peer, connections_max, refused = self.0, "connection refused: too many are open");
        }
    }
}
