//! A running name server: listener, scan for silent brokers, admin pages; started and stopped as one.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use flotilla_net::{ListenOptions, Listener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::admin;
use crate::config::{Config, UpdateError};
use crate::kv::KvFile;
use crate::limits::{CONNECTIONS_MAX, IN_FLIGHT_BYTES_MAX};
use crate::service::{Requests, scan};
use crate::state::State;

/// How a name server is started.
#[derive(Debug)]
pub struct NameServerOptions {
    /// Address for brokers and clients; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// A socket bound to `listen` before, for callers that reserve the port.
    pub listener: Option<std::net::TcpListener>,
    /// Address of the admin pages; none without it.
    pub admin: Option<SocketAddr>,
    /// File of the key-value table; only in memory without it.
    pub kv_path: Option<PathBuf>,
    /// File of the settings that requests may change; only in memory without it.
    pub config_path: Option<PathBuf>,
    /// Settings to start with; those in the settings file count more.
    pub settings: Vec<(String, String)>,
}

impl NameServerOptions {
    /// A name server at `listen` that keeps nothing on disk and has no admin pages.
    pub fn new(listen: SocketAddr) -> NameServerOptions {
        NameServerOptions {
            listen,
            listener: None,
            admin: None,
            kv_path: None,
            config_path: None,
            settings: Vec::new(),
        }
    }
}

/// Why a name server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be bound.
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    /// The key-value file can't be used.
    #[error("cannot read the key-value table {path:?}: {error}")]
    KeyValues { path: Option<PathBuf>, error: io::Error },
    /// The settings file can't be read.
    #[error("cannot read the settings {path:?}: {error}")]
    Config { path: PathBuf, error: io::Error },
    /// The settings file holds something else.
    #[error("settings {path:?}: {error}")]
    ConfigContent { path: PathBuf, error: UpdateError },
}

/// The name server.
#[derive(Debug)]
pub struct NameServer;

/// A running name server. Dropped without `stop`, it stops soon after.
#[derive(Debug)]
pub struct NameServerHandle {
    local: SocketAddr,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl NameServer {
    /// Starts to serve; the addresses are bound when this returns. Must be called within a tokio runtime. Safe to drop.
    ///
    /// # Errors
    /// See `StartError`; nothing runs then.
    pub async fn start(mut options: NameServerOptions) -> Result<NameServerHandle, StartError> {
        let listen_error = |address| move |error| StartError::Listen { address, error };
        let limits = ListenOptions {
            connections_max: CONNECTIONS_MAX,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            ..ListenOptions::default()
        };
        let listener = match options.listener.take() {
            Some(socket) => Listener::from_std(socket, limits),
            None => Listener::bind(options.listen, limits),
        };
        let listener = listener.map_err(listen_error(options.listen))?;
        let admin_listener = match options.admin {
            Some(address) => {
                Some(tokio::net::TcpListener::bind(address).await.map_err(listen_error(address))?)
            }
            None => None,
        };
        let state = load_state(&options, listener.local_addr())?;
        let admin = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let (local, stop, mut tasks) = (listener.local_addr(), CancellationToken::new(), JoinSet::new());
        if let Some(admin_listener) = admin_listener {
            let source =
                admin::Source { state: state.clone(), net: listener.stats(), budget: listener.budget() };
            tasks.spawn(admin::serve(admin_listener, source, stop.clone()));
        }
        let serving = listener.serve(Arc::new(Requests { state: state.clone() }), stop.clone());
        tasks.spawn(async move {
            // A panic of the accept loop is a bug; it shows in the log of the runtime and ends the port.
            let _ = serving.await;
        });
        tasks.spawn(scan(state, stop.clone()));
        info!(%local, ?admin, "name server started");
        Ok(NameServerHandle { local, admin, stop, tasks })
    }
}

impl NameServerHandle {
    /// Address for brokers and clients.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Address of the admin pages.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Closes all connections and ends when every task has ended.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        info!(local = %self.local, "name server stopped");
    }
}

impl Drop for NameServerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.detach_all();
    }
}

fn load_state(options: &NameServerOptions, local: SocketAddr) -> Result<Arc<State>, StartError> {
    let kv_file = KvFile::new(options.kv_path.clone());
    let kv =
        kv_file.load().map_err(|error| StartError::KeyValues { path: options.kv_path.clone(), error })?;
    let mut config = Config::default();
    for (key, value) in &options.settings {
        config.start_with(key, value);
    }
    if let Some(path) = &options.config_path {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(StartError::Config { path: path.clone(), error }),
        };
        config.update(&text).map_err(|error| StartError::ConfigContent { path: path.clone(), error })?;
        config.set("configStorePath", path.display());
    }
    if let Some(path) = &options.kv_path {
        config.set("kvConfigPath", path.display());
    }
    config.set("bindAddress", local.ip());
    config.set("listenPort", local.port());
    Ok(Arc::new(State::new(config, options.config_path.clone(), kv, kv_file)))
}
