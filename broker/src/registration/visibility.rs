//! What is registered where, for those who wait for it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::limits::VISIBLE_WAIT;

/// What each name server has taken from this node.
pub struct Visibility {
    name_servers: Vec<Mutex<Seen>>,
    changed: watch::Sender<u64>,
    wake: Vec<Notify>,
}

#[derive(Clone, Default)]
pub(super) struct Seen {
    /// Counter of the topics' data version in the last registration that the name server took from this node as leader.
    pub(super) topics: Option<i64>,
    pub(super) registered: bool,
    pub(super) reachable: bool,
}

impl Visibility {
    /// Nothing is registered anywhere.
    pub fn new(name_server_count: usize) -> Arc<Self> {
        Arc::new(Self {
            name_servers: (0..name_server_count).map(|_| Mutex::default()).collect(),
            changed: watch::Sender::new(0),
            wake: (0..name_server_count).map(|_| Notify::new()).collect(),
        })
    }

    /// Asks for a registration now.
    pub fn wake(&self) {
        for wake in &self.wake {
            wake.notify_one();
        }
    }

    /// True once one name server knows this node, or when there is none to know it.
    pub fn registered(&self) -> bool {
        self.name_servers.is_empty() || self.name_servers.iter().any(|seen| seen.lock().registered)
    }

    /// Waits until all name servers that can be reached know the topics with this counter of their version, at most
    /// [`VISIBLE_WAIT`]. Cancel-safe.
    pub async fn topics_visible(&self, wanted: i64) {
        let mut changed = self.changed.subscribe();
        self.wake();
        let all = changed.wait_for(|_| {
            self.name_servers.iter().all(|seen| {
                let seen = seen.lock();
                !seen.reachable || seen.topics.is_some_and(|topics| topics >= wanted)
            })
        });
        let _ = tokio::time::timeout(VISIBLE_WAIT, all).await;
    }

    /// Waits until a name server knows this node. Cancel-safe.
    pub async fn wait_registered(&self) {
        let mut changed = self.changed.subscribe();
        // The sender lives in self.
        let _ = changed.wait_for(|_| self.registered()).await;
    }

    /// Waits until a registration is asked for at this name server.
    pub(super) async fn woken(&self, index: usize) {
        self.wake[index].notified().await;
    }

    pub(super) fn seen(&self, index: usize) -> Seen {
        self.name_servers[index].lock().clone()
    }

    pub(super) fn set(&self, index: usize, seen: Seen) {
        *self.name_servers[index].lock() = seen;
        self.changed.send_modify(|count| *count += 1);
    }
}
