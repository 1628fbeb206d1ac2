//! A name server without a listener, admin pages or files: connections are brought to it. A simulation runs it so, with the
//! service, registry and warm-up of the real one; what it forgets with its process is all that it knows.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_net::Service;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::kv::{KvFile, KvTable};
use crate::registry::Registry;
use crate::service::{Requests, scan};
use crate::state::State;

/// See the module. Clones are the same one.
#[derive(Clone)]
pub struct Unbound {
    state: Arc<State>,
}

/// What a client that asks for a route is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    /// That routes are not given yet.
    NotReady,
    /// That there is no route.
    Unknown,
    /// The route, as JSON.
    Route(Bytes),
}

impl Unbound {
    /// A name server that has just started, with default settings. Its time is tokio's of whoever calls.
    pub fn start() -> Unbound {
        let (kv, kv_file) = (KvTable::default(), KvFile::new(None));
        Unbound { state: Arc::new(State::new(Config::default(), None, kv, kv_file)) }
    }

    /// The service for each connection.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Requests { state: self.state.clone() })
    }

    /// Looks for silent brokers, until stopped.
    pub async fn scan(&self, stop: CancellationToken) {
        scan(self.state.clone(), stop).await;
    }

    /// What GET_ROUTEINFO_BY_TOPIC is answered with now, the kept routes included.
    pub fn told(&self, topic: &str) -> Told {
        if !self.state.is_ready() {
            return Told::NotReady;
        }
        self.state.route(topic).map_or(Told::Unknown, Told::Route)
    }

    /// Looks at the registry.
    pub fn registry<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        self.state.read(look)
    }
}
