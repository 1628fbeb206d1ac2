//! The proxy of one pair: a port that the caller is told instead of the called one's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use super::pipe::{Ended, pipe};
use super::rules::Rules;

/// Connections of one link; more wait until others end.
const CONNECTIONS_MAX: usize = 1_024;
/// Pause between looks whether the called one listens again, and between attempts to open the port again.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the called one to take a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// A proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    listen: SocketAddr,
    rules: watch::Sender<Rules>,
    /// The called one's process is gone: nobody listens there.
    down: watch::Sender<bool>,
    _stop: DropGuard,
}

impl Link {
    /// Opens a proxy at `listen` (port 0: any) for `target`. It refuses until [`Link::target_starts`].
    ///
    /// # Errors
    /// The port can't be opened.
    pub async fn open(listen: SocketAddr, target: SocketAddr, seed: u64) -> anyhow::Result<Link> {
        Link::with_room(listen, target, seed, CONNECTIONS_MAX).await
    }

    async fn with_room(
        listen: SocketAddr,
        target: SocketAddr,
        seed: u64,
        connections_max: usize,
    ) -> anyhow::Result<Link> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("proxy at {listen}"))?;
        let listen = listener.local_addr()?;
        let stop = CancellationToken::new();
        let link = Link {
            listen,
            rules: watch::Sender::new(Rules::default()),
            down: watch::Sender::new(true),
            _stop: stop.clone().drop_guard(),
        };
        let runner = Runner {
            listen,
            target,
            rules: link.rules.subscribe(),
            down: link.down.subscribe(),
            random: SmallRng::seed_from_u64(seed),
            room: Arc::new(Semaphore::new(connections_max)),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = runner.run(Some(listener), stop.child_token()) => {}
            }
        });
        Ok(link)
    }

    /// Address that the caller is told.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Says what it does from now on.
    pub fn set(&self, rules: Rules) {
        self.rules.send_if_modified(|known| std::mem::replace(known, rules) != rules);
    }

    /// The called one's process has ended: whoever calls is refused.
    pub fn target_ended(&self) {
        self.down.send_replace(true);
    }

    /// The called one's process was started: calls are taken as soon as it listens.
    pub fn target_starts(&self) {
        self.down.send_replace(false);
    }
}

struct Runner {
    listen: SocketAddr,
    target: SocketAddr,
    rules: watch::Receiver<Rules>,
    down: watch::Receiver<bool>,
    random: SmallRng,
    room: Arc<Semaphore>,
}

impl Runner {
    /// Alternates between a port that is closed and one that takes connections.
    async fn run(mut self, mut listener: Option<TcpListener>, stop: CancellationToken) {
        loop {
            // The sender lives as long as this task.
            let open = match self.is_open() {
                true => match listener.take() {
                    Some(listener) => listener,
                    None => match TcpListener::bind(self.listen).await {
                        Ok(listener) => listener,
                        Err(error) => {
                            warn!(listen = %self.listen, %error, "proxy can't open its port again yet");
                            sleep(LOOK).await;
                            continue;
                        }
                    },
                },
                false => {
                    listener = None;
                    tokio::select! {
                        changed = self.rules.changed() => if changed.is_err() { return },
                        changed = self.down.changed() => if changed.is_err() { return },
                    }
                    if self.is_open() {
                        self.wait_for_target().await;
                    }
                    continue;
                }
            };
            let connections = stop.child_token();
            self.accept(&open, &connections).await;
            connections.cancel();
        }
    }

    fn is_open(&self) -> bool {
        !self.rules.borrow().refuse && !*self.down.borrow()
    }

    /// Returns when the called one takes connections, or the link is to be closed again.
    async fn wait_for_target(&self) {
        while self.is_open() && TcpStream::connect(self.target).await.is_err() {
            sleep(LOOK).await;
        }
    }

    /// Takes connections until the link is to be closed.
    async fn accept(&mut self, listener: &TcpListener, connections: &CancellationToken) {
        while self.is_open() {
            let room = self.room.clone();
            let next = async {
                // Before the connection: one for which there is no room waits where the system keeps it.
                let room = room.acquire_owned().await;
                (room, listener.accept().await)
            };
            tokio::select! {
                changed = self.rules.changed() => if changed.is_err() { return },
                changed = self.down.changed() => if changed.is_err() { return },
                (room, accepted) = next => match accepted {
                    // Nobody closes the semaphore.
                    Ok((caller, _)) => if let Ok(room) = room { self.serve(caller, room, connections) },
                    Err(error) => {
                        warn!(listen = %self.listen, %error, "proxy can't take a connection");
                        sleep(LOOK).await;
                    }
                },
            }
        }
    }

    fn serve(&mut self, caller: TcpStream, room: OwnedSemaphorePermit, connections: &CancellationToken) {
        let connection =
            Connection { target: self.target, rules: self.rules.clone(), seed: self.random.random() };
        let stop = connections.clone();
        tokio::spawn(async move {
            connection.run(caller, stop).await;
            drop(room);
        });
    }
}

/// One connection through the link.
struct Connection {
    target: SocketAddr,
    rules: watch::Receiver<Rules>,
    seed: u64,
}

impl Connection {
    async fn run(mut self, mut caller: TcpStream, stop: CancellationToken) {
        // Nothing reaches the called one while the way to it is cut, not even the wish to connect.
        tokio::select! {
            passable = self.rules.wait_for(|rules| !rules.forward.cut && !rules.backward.cut) => {
                if passable.is_err() { return }
            }
            () = stop.cancelled() => return abort(&caller),
        }
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(self.target)).await;
        let Ok(Ok(mut called)) = connected else {
            debug!(target = %self.target, "proxy finds nobody");
            return abort(&caller);
        };
        // Without these a proxy would add delays of its own; a failure costs only that.
        let _ = (caller.set_nodelay(true), called.set_nodelay(true));
        let ended = {
            let ((caller_read, caller_write), (called_read, called_write)) = (caller.split(), called.split());
            let forward =
                pipe(caller_read, called_write, self.rules.clone(), |rules| &rules.forward, self.seed);
            let backward =
                pipe(called_read, caller_write, self.rules.clone(), |rules| &rules.backward, !self.seed);
            let both = async {
                tokio::pin!(forward, backward);
                tokio::select! {
                    ended = &mut forward => match ended {
                        Ended::Broken => ended,
                        Ended::Closed => backward.await,
                    },
                    ended = &mut backward => match ended {
                        Ended::Broken => ended,
                        Ended::Closed => forward.await,
                    },
                }
            };
            tokio::select! {
                ended = both => ended,
                () = reset_by_age(self.rules.clone(), self.seed) => Ended::Broken,
                () = stop.cancelled() => Ended::Broken,
            }
        };
        if ended == Ended::Broken {
            abort(&caller);
            abort(&called);
        }
    }
}

/// Returns when the rules want this connection to be reset.
async fn reset_by_age(mut rules: watch::Receiver<Rules>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed.rotate_left(17));
    loop {
        let within = match rules.wait_for(|rules| rules.reset_within.is_some()).await {
            Ok(rules) => rules.reset_within.unwrap_or_default(),
            Err(_) => return,
        };
        sleep(within.mul_f64(random.random::<f64>())).await;
        if rules.borrow().reset_within.is_some() {
            return;
        }
    }
}

/// The connection ends with a reset when it is dropped.
fn abort(stream: &TcpStream) {
    // It then ends with FIN instead.
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Says a byte and gives the answer.
    async fn echoed(caller: &mut TcpStream, byte: u8) -> u8 {
        caller.write_all(&[byte]).await.expect("written");
        tokio::time::timeout(PATIENCE, caller.read_u8()).await.expect("in time").expect("an answer")
    }

    #[tokio::test]
    async fn a_connection_without_room_waits_until_another_one_ends() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await.expect("a port");
        let target = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut called, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = called.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let link = Link::with_room(any, target, 1, 1).await.expect("a link");
        link.target_starts();
        let connect = async || loop {
            if let Ok(caller) = TcpStream::connect(link.address()).await {
                return caller;
            }
            tokio::task::yield_now().await;
        };
        let mut first = connect().await;
        assert_eq!(echoed(&mut first, 1).await, 1);
        let mut second = connect().await;
        second.write_all(&[2]).await.expect("the system keeps it");
        assert_eq!(echoed(&mut first, 3).await, 3);
        drop(first);
        assert_eq!(
            tokio::time::timeout(PATIENCE, second.read_u8()).await.expect("in time").expect("an answer"),
            2
        );
    }
}
