//! Who is connected to this replica: clients by connection, and producers and consumers by group.
//!
//! Soft state: it is learnt from heartbeats and gone with the connection. Which members a consumer group *has* is
//! replicated ([`crate::handlers::heartbeat`] proposes joins, [`presence`] watches for members that are gone).

pub mod presence;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flotilla_net::Connection;
use parking_lot::Mutex;
use tokio::sync::watch;

type ClientId = Arc<str>;
type Group = Arc<str>;

/// The connected clients of one replica.
pub struct Sessions {
    tables: Mutex<SessionTables>,
    /// Counts changes of the set of connected consumers, so that presence is reported at once.
    revision: watch::Sender<u64>,
}

#[derive(Default)]
struct SessionTables {
    connections: HashMap<u64, Session>,
    consumers: HashMap<Group, HashMap<ClientId, HashSet<u64>>>,
    producers: HashMap<Group, HashMap<ClientId, HashSet<u64>>>,
}

struct Session {
    connection: Arc<Connection>,
    client_id: Option<ClientId>,
    consumers: HashSet<Group>,
    producers: HashSet<Group>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { tables: Mutex::default(), revision: watch::Sender::new(0) }
    }
}

impl Sessions {
    pub fn connected(&self, connection: &Arc<Connection>) {
        let session = Session {
            connection: connection.clone(),
            client_id: None,
            consumers: HashSet::new(),
            producers: HashSet::new(),
        };
        self.tables.lock().connections.insert(connection.id(), session);
    }

    /// Forgets a connection and all that it stood for.
    pub fn disconnected(&self, connection_id: u64) {
        let mut tables = self.tables.lock();
        let Some(session) = tables.connections.remove(&connection_id) else { return };
        let Some(client_id) = session.client_id else { return };
        let had_consumers = !session.consumers.is_empty();
        for group in &session.consumers {
            drop_from(&mut tables.consumers, group, &client_id, connection_id);
        }
        for group in &session.producers {
            drop_from(&mut tables.producers, group, &client_id, connection_id);
        }
        drop(tables);
        if had_consumers {
            self.changed();
        }
    }

    /// Records what a heartbeat says about the connection that it came over.
    pub fn heartbeat(
        &self,
        connection_id: u64,
        client_id: &str,
        producers: impl IntoIterator<Item = Group>,
        consumers: impl IntoIterator<Item = Group>,
    ) {
        let mut guard = self.tables.lock();
        let tables = &mut *guard;
        let Some(session) = tables.connections.get_mut(&connection_id) else { return };
        let client_id = match &session.client_id {
            Some(known) if &**known == client_id => known.clone(),
            _ => Arc::from(client_id),
        };
        session.client_id = Some(client_id.clone());
        let mut news = false;
        for group in consumers {
            news |= session.consumers.insert(group.clone());
            tables
                .consumers
                .entry(group)
                .or_default()
                .entry(client_id.clone())
                .or_default()
                .insert(connection_id);
        }
        for group in producers {
            session.producers.insert(group.clone());
            tables
                .producers
                .entry(group)
                .or_default()
                .entry(client_id.clone())
                .or_default()
                .insert(connection_id);
        }
        drop(guard);
        if news {
            self.changed();
        }
    }

    /// Takes a client out of one group, as code 35 asks.
    pub fn leave(&self, connection_id: u64, client_id: &str, producer: Option<&str>, consumer: Option<&str>) {
        let mut guard = self.tables.lock();
        let tables = &mut *guard;
        if let Some(session) = tables.connections.get_mut(&connection_id) {
            if let Some(group) = producer {
                session.producers.remove(group);
            }
            if let Some(group) = consumer {
                session.consumers.remove(group);
            }
        }
        if let Some(group) = producer {
            drop_from(&mut tables.producers, group, client_id, connection_id);
        }
        if let Some(group) = consumer {
            drop_from(&mut tables.consumers, group, client_id, connection_id);
        }
        drop(guard);
        self.changed();
    }

    /// The client id that a connection introduced itself with.
    pub fn client_id(&self, connection_id: u64) -> Option<ClientId> {
        self.tables.lock().connections.get(&connection_id)?.client_id.clone()
    }

    /// The client id of a connection, if it has introduced itself as a consumer of this group.
    pub fn consumer_of(&self, connection_id: u64, group: &str) -> Option<ClientId> {
        let tables = self.tables.lock();
        let session = tables.connections.get(&connection_id)?;
        if session.consumers.contains(group) { session.client_id.clone() } else { None }
    }

    /// A live connection of a consumer, when this replica has one.
    pub fn consumer(&self, group: &str, client_id: &str) -> Option<Arc<Connection>> {
        let tables = self.tables.lock();
        let ids = tables.consumers.get(group)?.get(client_id)?;
        ids.iter().find_map(|id| tables.connections.get(id)).map(|session| session.connection.clone())
    }

    /// A live connection of a client in whatever role.
    pub fn client(&self, client_id: &str) -> Option<Arc<Connection>> {
        let tables = self.tables.lock();
        let session =
            tables.connections.values().find(|session| session.client_id.as_deref() == Some(client_id))?;
        Some(session.connection.clone())
    }

    /// All consumers that are connected here, as (group, client id), sorted.
    pub fn consumers(&self) -> Vec<(Group, ClientId)> {
        let tables = self.tables.lock();
        let pairs =
            tables.consumers.iter().flat_map(|(group, ids)| ids.keys().map(|id| (group.clone(), id.clone())));
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort();
        pairs
    }

    /// Number of connections.
    pub fn connection_count(&self) -> usize {
        self.tables.lock().connections.len()
    }

    /// Number of producers, counted per group.
    pub fn producer_count(&self) -> usize {
        self.tables.lock().producers.values().map(HashMap::len).sum()
    }

    /// Tells of each change of the set of connected consumers.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }
}

fn drop_from(
    map: &mut HashMap<Group, HashMap<ClientId, HashSet<u64>>>,
    group: &str,
    client: &str,
    connection: u64,
) {
    let Some(clients) = map.get_mut(group) else { return };
    if let Some(ids) = clients.get_mut(client) {
        ids.remove(&connection);
        if ids.is_empty() {
            clients.remove(client);
        }
    }
    if clients.is_empty()
        && let Entry::Occupied(entry) = map.entry(Arc::from(group))
    {
        entry.remove();
    }
}
