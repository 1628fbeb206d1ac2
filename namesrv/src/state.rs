//! What the handlers share: registry, routes ready to send, key-value table, settings.
//!
//! Route queries are nearly all of the load, thousands at once when a large client fleet refreshes. Their answers are kept
//! as bytes until something changes: a query takes one read lock and clones a handle. Whoever changes the registry clears
//! the kept routes before letting go of the write lock; whoever builds a route keeps it before letting go of the read lock;
//! so no outdated route can stay.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use flotilla_net::{CloseReason, Connection};
use flotilla_remoting::bodies::RouteForm;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::config::{Config, UpdateError};
use crate::kv::{KvFile, KvTable, ORDER_NAMESPACE, replace_file};
use crate::metrics::Metrics;
use crate::registry::{ConnectionId, Registry, RouteQuery};
use crate::warm_up::WarmUp;

/// Shared by the request handlers, the scan and the admin pages.
pub(crate) struct State {
    started: Instant,
    registry: RwLock<Registry>,
    /// Topic, route as JSON.
    routes: RwLock<HashMap<String, Bytes>>,
    warm_up: Mutex<WarmUp>,
    /// The warm-up is over; spares the lock from then on.
    warm: AtomicBool,
    kv: RwLock<KvTable>,
    kv_file: KvFile,
    config_path: Option<PathBuf>,
    /// Held while a file is replaced, so that the newest table is what stays.
    saving: tokio::sync::Mutex<()>,
    config: RwLock<Config>,
    connections: Mutex<HashMap<ConnectionId, Weak<Connection>>>,
    pub(crate) metrics: Metrics,
}

impl State {
    pub(crate) fn new(config: Config, config_path: Option<PathBuf>, kv: KvTable, kv_file: KvFile) -> State {
        let mut registry = Registry::new();
        registry.set_policy(config.policy());
        State {
            started: Instant::now(),
            registry: RwLock::new(registry),
            routes: RwLock::default(),
            warm_up: Mutex::default(),
            warm: AtomicBool::new(false),
            kv: RwLock::new(kv),
            kv_file,
            config_path,
            saving: tokio::sync::Mutex::default(),
            config: RwLock::new(config),
            connections: Mutex::default(),
            metrics: Metrics::new(),
        }
    }

    /// Milliseconds since the start: the registry's time.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        look(&self.registry.read())
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.registry.write();
        let result = change(&mut registry);
        if !self.warm.load(Ordering::Acquire) {
            // Here too: a leader that came and went between two queries has ended the warm-up.
            self.look_warm_up(&registry);
        }
        if registry.take_changed() {
            self.routes.write().clear();
        }
        result
    }

    /// Route of a topic as JSON, kept until something changes.
    pub(crate) fn route(&self, topic: &str) -> Option<Bytes> {
        if let Some(route) = self.routes.read().get(topic) {
            return Some(route.clone());
        }
        let registry = self.registry.read();
        let route = self.build_route(&registry, topic, RouteQuery::default())?;
        self.routes.write().insert(topic.to_owned(), route.clone());
        Some(route)
    }

    /// Route within a zone; rare, so not kept.
    pub(crate) fn route_in_zone(&self, topic: &str, zone: &str) -> Option<Bytes> {
        self.build_route(&self.registry.read(), topic, RouteQuery { zone: Some(zone) })
    }

    fn build_route(&self, registry: &Registry, topic: &str, query: RouteQuery<'_>) -> Option<Bytes> {
        let mut route = registry.route(topic, query)?;
        if self.config.read().order_in_routes() {
            route.order_topic_conf = self.kv.read().get(ORDER_NAMESPACE, topic).map(str::to_owned);
        }
        // Every official decoder takes quoted keys, the Go one slices the text and needs it compact.
        Some(route.encode(RouteForm::Standard))
    }

    /// Claims that route queries may be answered.
    pub(crate) fn is_ready(&self) -> bool {
        if self.warm.load(Ordering::Acquire) {
            return true;
        }
        self.look_warm_up(&self.registry.read())
    }

    /// Locks in the order registry, warm-up.
    fn look_warm_up(&self, registry: &Registry) -> bool {
        let is_over = self.warm_up.lock().look(self.now_ms(), registry);
        self.warm.store(is_over, Ordering::Release);
        is_over
    }

    pub(crate) fn with_config<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        look(&self.config.read())
    }

    /// Takes the text of an update, keeps it on disk and makes it take effect.
    ///
    /// # Errors
    /// Nothing was changed.
    pub(crate) async fn update_config(&self, text: &str) -> Result<(), UpdateError> {
        let _saving = self.saving.lock().await;
        let mut config = self.config.read().clone();
        config.update(text)?;
        if let Some(path) = self.config_path.clone() {
            let text = config.changeable_text();
            let saved = tokio::task::spawn_blocking(move || replace_file(&path, text.as_bytes())).await;
            let unsaved = |error: &dyn ToString| UpdateError::Unsaved(error.to_string());
            saved.map_err(|error| unsaved(&error))?.map_err(|error| unsaved(&error))?;
        }
        let policy = config.policy();
        *self.config.write() = config;
        self.change(|registry| registry.set_policy(policy));
        self.clear_routes();
        Ok(())
    }

    pub(crate) fn kv<T>(&self, look: impl FnOnce(&KvTable) -> T) -> T {
        look(&self.kv.read())
    }

    /// Changes the key-value table and saves it; the change shows only when it is on disk. Dropped in between, the file
    /// may be newer than the table; the next change writes it again.
    ///
    /// # Errors
    /// The text for the caller; nothing was changed.
    pub(crate) async fn change_kv<E: ToString>(
        &self,
        change: impl FnOnce(&mut KvTable) -> Result<(), E>,
    ) -> Result<(), String> {
        let _saving = self.saving.lock().await;
        let mut table = self.kv.read().clone();
        change(&mut table).map_err(|error| error.to_string())?;
        let (file, copy) = (self.kv_file.clone(), table.clone());
        let saved = tokio::task::spawn_blocking(move || file.save(&copy)).await;
        saved.map_err(|error| error.to_string())?.map_err(|error| format!("cannot save: {error}"))?;
        *self.kv.write() = table;
        self.clear_routes();
        Ok(())
    }

    /// Under the write lock, as `change` does.
    fn clear_routes(&self) {
        let _registry = self.registry.write();
        self.routes.write().clear();
    }

    /// A connection over which a broker registered.
    pub(crate) fn note_connection(&self, connection: &Arc<Connection>) {
        self.connections.lock().insert(connection.id(), Arc::downgrade(connection));
    }

    pub(crate) fn connection_closed(&self, connection: &Connection) {
        if self.connections.lock().remove(&connection.id()).is_some() {
            self.change(|registry| registry.connection_closed(connection.id()));
        }
    }

    /// Removes brokers that were silent for too long and closes their connections.
    pub(crate) fn expire(&self) {
        let now_ms = self.now_ms();
        let silent = self.change(|registry| registry.expire(now_ms));
        for id in silent {
            tracing::info!(connection = id, "broker removed after silence");
            let connection = self.connections.lock().get(&id).and_then(Weak::upgrade);
            if let Some(connection) = connection {
                connection.close(CloseReason::Requested("broker silent for too long".into()));
            }
        }
    }
}
