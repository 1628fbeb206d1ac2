//! A client: the connections, routes and heartbeats that its producers and consumers share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies;
use flotilla_remoting::headers::UnregisterClientRequest;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use futures::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::callbacks::Callbacks;
use crate::error::Result;
use crate::members::Members;
use crate::metrics::Metrics;
use crate::name_servers::{NameServerList, NameServers};
use crate::options::ClientOptions;
use crate::remote::Remote;
use crate::replies::Replies;
use crate::routes::{LEADER, Routes};
use crate::unique_id::{local_ip, now_ms};
use crate::vigil::Vigil;

/// A client of one cluster; cheap to clone. Producers and consumers are made of it and share its connections.
///
/// Its tasks run on the tokio runtime that it was made in, until [`Client::shutdown`] or the last clone (producers and
/// consumers hold one each) is dropped.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    _alive: Arc<Alive>,
}

/// Cancels the background tasks when the last handle goes.
struct Alive {
    stop: CancellationToken,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the handles and the tasks of a client share.
pub(crate) struct Inner {
    pub(crate) client_id: String,
    /// Stands for this client in the paths of broadcasting consumers' offsets; the same after a restart.
    pub(crate) broadcast_id: String,
    /// Name servers as they were set, for administrators.
    pub(crate) name_servers: NameServers,
    pub(crate) remote: Remote,
    pub(crate) routes: Routes,
    pub(crate) members: Members,
    pub(crate) replies: Arc<Replies>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
    heartbeat_now: Notify,
    /// Held over a heartbeat to all, so that an older one does not overtake a newer one.
    beating: tokio::sync::Mutex<()>,
    /// Shared by heartbeats, exclusive for farewells: a heartbeat that is under way must not make a member of one who left.
    leaving: tokio::sync::RwLock<()>,
}

impl Client {
    /// Starts a client; connects to nothing yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// None so far: the options were checked when they were made.
    pub fn new(options: ClientOptions) -> Result<Client> {
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let inner = Arc::new_cyclic(|weak| {
            let remote = Remote::new(&options, Arc::new(Callbacks::new(weak.clone())));
            let name_servers = NameServerList::new(options.name_servers.clone());
            let metrics = options.metrics.clone();
            let routes =
                Routes::new(remote.clone(), name_servers, metrics.clone(), stop.clone(), tracker.clone());
            Inner {
                client_id: client_id(&options),
                broadcast_id: broadcast_id(&options),
                name_servers: options.name_servers.clone(),
                remote,
                routes,
                members: Members::default(),
                replies: Arc::default(),
                metrics,
                stop: stop.clone(),
                tracker: tracker.clone(),
                heartbeat_now: Notify::new(),
                beating: tokio::sync::Mutex::default(),
                leaving: tokio::sync::RwLock::default(),
            }
        });
        spawn_until(&tracker, &stop, inner.clone().keep_routes(options.route_refresh));
        spawn_until(&tracker, &stop, inner.clone().keep_beating(options.heartbeat));
        spawn_until(&tracker, &stop, Vigil::new(&inner, options.silence_limit).keep());
        let ended = inner.clone();
        // Not tracked: it waits for those that are.
        tokio::spawn(async move {
            ended.stop.cancelled().await;
            ended.remote.stop().await;
        });
        Ok(Client { inner, _alive: Arc::new(Alive { stop }) })
    }

    /// A client of these name servers with defaults for everything else.
    ///
    /// # Errors
    /// As [`ClientOptions::new`].
    pub fn connect(name_servers: &str) -> Result<Client> {
        Client::new(ClientOptions::new(name_servers)?)
    }

    /// Id of this client in lists of members: `address@instance`.
    pub fn client_id(&self) -> &str {
        &self.inner.client_id
    }

    /// Leaves all groups, closes all connections. Producers and consumers made of this client stop working; shut those down
    /// before, so that what they hold gets done. Dropped half-way, the rest happens in the background.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
        self.inner.remote.stop().await;
        // The connections' ends are told to those who had a request in flight, some of them by tasks.
        self.inner.tracker.wait().await;
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("client_id", &self.inner.client_id).finish_non_exhaustive()
    }
}

/// Runs a task until it ends or the client stops.
pub(crate) fn spawn_until(
    tracker: &TaskTracker,
    stop: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let stop = stop.clone();
    tracker.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = task => {}
        }
    });
}

impl Inner {
    async fn keep_routes(self: Arc<Inner>, period: Duration) {
        self.routes.keep_fresh(period).await;
    }

    async fn keep_beating(self: Arc<Inner>, period: Duration) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                () = self.heartbeat_now.notified() => {}
            }
            // Each failure was logged.
            let _ = self.beat().await;
        }
    }

    /// Sends the next heartbeat at once, in the background: a member came or changed, or a broker is new.
    pub(crate) fn beat_soon(&self) {
        self.heartbeat_now.notify_one();
    }

    /// Tells all brokers in use who is here; ends when all have answered or failed. Consumers are told to every replica,
    /// producers to leaders only. Source: RocketMQ 5.3 MQClientInstance.sendHeartbeatToAllBroker.
    ///
    /// # Errors
    /// `Refused` when no broker took it, and one for want of permission: later heartbeats will fare no better. Of other failures
    /// the next one may find nothing.
    pub(crate) async fn beat(&self) -> Result<()> {
        let _beating = self.beating.lock().await;
        let _staying = self.leaving.read().await;
        let Some(data) = self.members.heartbeat(&self.client_id) else { return Ok(()) };
        let body = bodies::encode(&data);
        let everywhere = self.members.has_consumers();
        let brokers = self.routes.brokers().into_iter().filter(|(_, id, _)| everywhere || *id == LEADER);
        let beats = brokers.map(|(broker_name, id, address)| {
            let body = body.clone();
            async move { self.beat_at(&broker_name, id, &address, body).await }
        });
        let beats = join_all(beats).await;
        let taken = beats.iter().any(Result::is_ok);
        let forbidden = beats
            .into_iter()
            .filter_map(Result::err)
            .find(|error| !taken && error.code() == Some(ResponseCode::NoPermission));
        forbidden.map_or(Ok(()), Err)
    }

    /// Tells a leader of the producers; claims that it has heard it. Does not wait for a heartbeat to all that is under way. Safe
    /// to drop.
    pub(crate) async fn announce(&self, broker_name: &str, address: &str) -> bool {
        let _staying = self.leaving.read().await;
        let Some(mut data) = self.members.heartbeat(&self.client_id) else { return true };
        // Brokers keep what they know of the consumers.
        data.consumer_data_set.clear();
        self.beat_at(broker_name, LEADER, address, bodies::encode(&data)).await.is_ok()
    }

    async fn beat_at(&self, broker_name: &str, id: i64, address: &str, body: Bytes) -> Result<()> {
        match self.remote.call(address, RequestCode::Heartbeat, ExtFields::new(), body).await {
            Ok(_) => {
                debug!(broker_name, id, address, "heartbeat");
                Ok(())
            }
            Err(error) => {
                warn!(broker_name, id, address, %error, "heartbeat failed");
                self.routes.suspect(address, &error);
                Err(error)
            }
        }
    }

    /// Tells all brokers that a member leaves its group; drops `name`, which gives the group free at this client, when they
    /// know and before the next heartbeat. Dropped half-way, it drops it too.
    pub(crate) async fn leave<N>(&self, producer_group: Option<&str>, consumer_group: Option<&str>, name: N) {
        let _leaving = self.leaving.write().await;
        // Dropped before the lock.
        let _name = name;
        let header = UnregisterClientRequest { client_id: &self.client_id, producer_group, consumer_group };
        let brokers = self.routes.brokers();
        let farewells = brokers.iter().map(|(_, _, address)| {
            let ext = header.encode();
            async move {
                // A broker that is gone forgets the member by itself.
                if let Err(error) =
                    self.remote.call(address, RequestCode::UnregisterClient, ext, Bytes::new()).await
                {
                    debug!(address, %error, "could not say farewell");
                }
            }
        });
        join_all(farewells).await;
    }
}

/// `address@instance`. Source: RocketMQ 5.3 ClientConfig.buildMQClientId, changeInstanceNameToPID.
fn client_id(options: &ClientOptions) -> String {
    let ip = address(options);
    match &options.instance_name {
        Some(name) => format!("{ip}@{name}"),
        None => format!("{ip}@{}#{:x}{:08x}", std::process::id(), now_ms(), rand::random::<u32>()),
    }
}

/// `address@instance`, where a client without an instance name is `DEFAULT`: what Java's broadcasting consumers are called.
fn broadcast_id(options: &ClientOptions) -> String {
    format!("{}@{}", address(options), options.instance_name.as_deref().unwrap_or("DEFAULT"))
}

fn address(options: &ClientOptions) -> String {
    options.client_ip.or_else(local_ip).map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string())
}
