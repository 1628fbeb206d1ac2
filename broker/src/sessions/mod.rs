//! Who is connected to this replica: clients by connection, and producers and consumers by group.
//!
//! Soft state: it is learnt from heartbeats and gone with the connection. Which members a consumer group *has* is
//! replicated ([`crate::handlers::heartbeat`] proposes joins, [`presence`] watches for members that are gone).

mod lookup;
pub mod presence;
pub mod producers;
#[cfg(test)]
mod testing;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flotilla_core::Member;
use flotilla_net::Connection;
use flotilla_remoting::language::Language;
use parking_lot::Mutex;
use tokio::sync::watch;

type ClientId = Arc<str>;
type Group = Arc<str>;

/// The connected clients of one replica.
pub struct Sessions {
    tables: Mutex<SessionTables>,
    /// Counts changes of the set of connected consumers, so that presence is reported at once.
    revision: watch::Sender<u64>,
    /// The same of producers.
    producer_revision: watch::Sender<u64>,
}

#[derive(Default)]
struct SessionTables {
    connections: HashMap<u64, Session>,
    consumers: HashMap<Group, HashMap<ClientId, HashSet<u64>>>,
    producers: HashMap<Group, HashMap<ClientId, HashSet<u64>>>,
    /// Connections by the name that they introduced themselves with last.
    clients: HashMap<ClientId, HashSet<u64>>,
}

struct Session {
    connection: Arc<Connection>,
    /// What the last heartbeat called itself.
    client_id: Option<ClientId>,
    /// Language, version and time of the last heartbeat.
    language: u8,
    version: i32,
    heard_ms: i64,
    /// The groups that the connection stands for and the client's name in each: one, the newest. Clients keep theirs as
    /// long as a connection, others may not, and each name has to be taken back when the connection ends.
    /// Source: ConsumerGroupInfo.updateChannel 5.3.3, which keeps one client id per channel and group.
    consumers: HashMap<Group, ClientId>,
    producers: HashMap<Group, ClientId>,
    /// What the consumers said of themselves, so that they can be made members again.
    members: HashMap<Group, Member>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            tables: Mutex::default(),
            revision: watch::Sender::new(0),
            producer_revision: watch::Sender::new(0),
        }
    }
}

impl Sessions {
    pub fn connected(&self, connection: &Arc<Connection>) {
        let session = Session {
            connection: connection.clone(),
            client_id: None,
            language: Language::NOT_NAMED.code(),
            version: 0,
            heard_ms: 0,
            consumers: HashMap::new(),
            producers: HashMap::new(),
            members: HashMap::new(),
        };
        self.tables.lock().connections.insert(connection.id(), session);
    }

    /// Forgets a connection and all that it stood for.
    pub fn disconnected(&self, connection_id: u64) {
        let mut tables = self.tables.lock();
        let Some(session) = tables.connections.remove(&connection_id) else { return };
        let had_consumers = !session.consumers.is_empty();
        let had_producers = !session.producers.is_empty();
        for (group, client_id) in &session.consumers {
            drop_from(&mut tables.consumers, group, client_id, connection_id);
        }
        for (group, client_id) in &session.producers {
            drop_from(&mut tables.producers, group, client_id, connection_id);
        }
        if let Some(client_id) = &session.client_id {
            lookup::forget(&mut tables.clients, client_id, connection_id);
        }
        drop(tables);
        if had_consumers {
            self.changed();
        }
        if had_producers {
            self.producers_changed();
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
            before => {
                let new: ClientId = Arc::from(client_id);
                if let Some(before) = before {
                    lookup::forget(&mut tables.clients, before, connection_id);
                }
                tables.clients.entry(new.clone()).or_default().insert(connection_id);
                new
            }
        };
        session.client_id = Some(client_id.clone());
        let (mut news, mut producer_news) = (false, false);
        for group in consumers {
            let before = session.consumers.insert(group.clone(), client_id.clone());
            news |= put_into(&mut tables.consumers, group, before, &client_id, connection_id);
        }
        for group in producers {
            let before = session.producers.insert(group.clone(), client_id.clone());
            producer_news |= put_into(&mut tables.producers, group, before, &client_id, connection_id);
        }
        drop(guard);
        if news {
            self.changed();
        }
        if producer_news {
            self.producers_changed();
        }
    }

    /// Takes a client out of one group, as code 35 asks.
    pub fn leave(&self, connection_id: u64, client_id: &str, producer: Option<&str>, consumer: Option<&str>) {
        let mut guard = self.tables.lock();
        let tables = &mut *guard;
        if let Some(session) = tables.connections.get_mut(&connection_id) {
            let own = |groups: &HashMap<Group, ClientId>, group: &str| {
                groups.get(group).is_some_and(|known| &**known == client_id)
            };
            if let Some(group) = producer.filter(|group| own(&session.producers, group)) {
                session.producers.remove(group);
            }
            if let Some(group) = consumer.filter(|group| own(&session.consumers, group)) {
                session.consumers.remove(group);
                session.members.remove(group);
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
        if producer.is_some() {
            self.producers_changed();
        }
    }

    /// The client id that a connection introduced itself with.
    pub fn client_id(&self, connection_id: u64) -> Option<ClientId> {
        self.tables.lock().connections.get(&connection_id)?.client_id.clone()
    }

    /// The client id of a connection, if it has introduced itself as a consumer of this group.
    pub fn consumer_of(&self, connection_id: u64, group: &str) -> Option<ClientId> {
        let tables = self.tables.lock();
        tables.connections.get(&connection_id)?.consumers.get(group).cloned()
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

    /// Tells of each change of the set of connected producers.
    pub fn watch_producers(&self) -> watch::Receiver<u64> {
        self.producer_revision.subscribe()
    }

    fn producers_changed(&self) {
        self.producer_revision.send_modify(|revision| *revision += 1);
    }

    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }
}

/// Enters a client's connection in a group, in place of the name that the connection had there before. True when that is
/// news.
fn put_into(
    map: &mut HashMap<Group, HashMap<ClientId, HashSet<u64>>>,
    group: Group,
    before: Option<ClientId>,
    client: &ClientId,
    connection: u64,
) -> bool {
    if before.as_ref() == Some(client) {
        return false;
    }
    if let Some(before) = before {
        drop_from(map, &group, &before, connection);
    }
    map.entry(group).or_default().entry(client.clone()).or_default().insert(connection);
    true
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::testing::connection;
    use super::*;

    fn groups(names: &[&str]) -> Vec<Group> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn held(sessions: &Sessions) -> Vec<(String, String)> {
        sessions.consumers().into_iter().map(|(group, id)| (group.to_string(), id.to_string())).collect()
    }

    fn pair(group: &str, client: &str) -> (String, String) {
        (group.to_owned(), client.to_owned())
    }

    #[tokio::test]
    async fn a_connection_that_changes_its_name_leaves_no_ghost() {
        let (sessions, connection) = (Sessions::default(), connection().await);
        let id = connection.id();
        sessions.connected(&connection);
        sessions.heartbeat(id, "old", groups(&["p"]), groups(&["a", "b"]));
        let mut changes = sessions.watch();
        changes.mark_unchanged();
        sessions.heartbeat(id, "new", groups(&["p"]), groups(&["a"]));
        assert!(changes.has_changed().unwrap(), "the leader has to hear of it");
        assert_eq!(held(&sessions), [pair("a", "new"), pair("b", "old")]);
        assert_eq!(sessions.consumer_of(id, "a").as_deref(), Some("new"));
        assert_eq!(sessions.producer_count(), 1);
        sessions.disconnected(id);
        assert!(held(&sessions).is_empty(), "{:?}", held(&sessions));
        assert_eq!(sessions.producer_count(), 0);
    }

    #[tokio::test]
    async fn a_client_is_held_until_its_last_connection_ends() {
        let sessions = Sessions::default();
        let (first, second) = (connection().await, connection().await);
        for connection in [&first, &second] {
            sessions.connected(connection);
            sessions.heartbeat(connection.id(), "client", [], groups(&["a"]));
        }
        sessions.disconnected(first.id());
        assert_eq!(held(&sessions), [pair("a", "client")]);
        assert_eq!(sessions.consumer("a", "client").unwrap().id(), second.id());
        sessions.disconnected(second.id());
        assert!(held(&sessions).is_empty());
    }

    #[tokio::test]
    async fn producers_are_told_as_they_come_and_go() {
        let (sessions, connection) = (Sessions::default(), connection().await);
        let id = connection.id();
        sessions.connected(&connection);
        let mut changes = sessions.watch_producers();
        sessions.describe(id, 0, 479, 17);
        sessions.heartbeat(id, "client", groups(&["p", "o"]), groups(&["a"]));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        sessions.heartbeat(id, "client", groups(&["p", "o"]), groups(&["b"]));
        assert!(!changes.has_changed().unwrap(), "a renewal is no news");
        let seen = sessions.producers();
        assert_eq!(seen.iter().map(|producer| &*producer.group).collect::<Vec<_>>(), ["o", "p"]);
        assert_eq!(&*seen[0].address, connection.peer().to_string());
        assert_eq!((seen[0].version, seen[0].heard_ms), (479, 17));
        sessions.leave(id, "client", Some("p"), None);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        sessions.disconnected(id);
        assert!(changes.has_changed().unwrap());
        assert!(sessions.producers().is_empty());
    }

    #[tokio::test]
    async fn a_renewal_is_no_news() {
        let (sessions, connection) = (Sessions::default(), connection().await);
        sessions.connected(&connection);
        sessions.heartbeat(connection.id(), "client", [], groups(&["a"]));
        let mut changes = sessions.watch();
        changes.mark_unchanged();
        sessions.heartbeat(connection.id(), "client", [], groups(&["a"]));
        assert!(!changes.has_changed().unwrap());
        sessions.leave(connection.id(), "client", None, Some("a"));
        assert!(changes.has_changed().unwrap());
        assert!(held(&sessions).is_empty());
    }
}
