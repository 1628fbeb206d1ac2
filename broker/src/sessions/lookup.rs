//! From a client's name to its connection, and to what it said of itself.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flotilla_core::Member;
use flotilla_net::Connection;

use super::{ClientId, Group, Session, Sessions};

impl Sessions {
    /// The newest connection of a consumer, when this replica has one.
    pub fn consumer(&self, group: &str, client_id: &str) -> Option<Arc<Connection>> {
        let tables = self.tables.lock();
        let ids = tables.consumers.get(group)?.get(client_id)?;
        newest(&tables.connections, ids, |_| true).map(|session| session.connection.clone())
    }

    /// The newest connection of a client in whatever role.
    pub fn client(&self, client_id: &str) -> Option<Arc<Connection>> {
        let tables = self.tables.lock();
        let ids = tables.clients.get(client_id)?;
        newest(&tables.connections, ids, |_| true).map(|session| session.connection.clone())
    }

    /// The newest connection of a client that is a producer of some group.
    pub fn producer(&self, client_id: &str) -> Option<Arc<Connection>> {
        let tables = self.tables.lock();
        let produces = |session: &Session| session.producers.values().any(|id| &**id == client_id);
        let ids = tables.clients.get(client_id)?;
        newest(&tables.connections, ids, produces).map(|session| session.connection.clone())
    }

    /// Keeps what the consumers of a heartbeat said of themselves.
    pub fn remember(&self, connection_id: u64, members: impl IntoIterator<Item = (Group, Member)>) {
        if let Some(session) = self.tables.lock().connections.get_mut(&connection_id) {
            for (group, member) in members {
                // Whoever is no consumer of the group any more has left it meanwhile.
                if session.consumers.contains_key(&group) {
                    session.members.insert(group, member);
                }
            }
        }
    }

    /// What a connected consumer said of itself.
    pub fn member(&self, group: &str, client_id: &str) -> Option<Member> {
        let tables = self.tables.lock();
        let ids = tables.consumers.get(group)?.get(client_id)?;
        let known = |session: &Session| {
            session.members.get(group).is_some_and(|member| &*member.client_id == client_id)
        };
        newest(&tables.connections, ids, known).and_then(|session| session.members.get(group).cloned())
    }
}

/// Of several connections the newest is the one that its client uses: an older one may be half open.
fn newest<'a>(
    connections: &'a HashMap<u64, Session>,
    ids: &HashSet<u64>,
    fits: impl Fn(&Session) -> bool,
) -> Option<&'a Session> {
    let fitting = ids.iter().filter(|id| connections.get(id).is_some_and(&fits));
    fitting.max().and_then(|id| connections.get(id))
}

pub(super) fn forget(clients: &mut HashMap<ClientId, HashSet<u64>>, client: &ClientId, connection: u64) {
    if let Entry::Occupied(mut entry) = clients.entry(client.clone()) {
        entry.get_mut().remove(&connection);
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use flotilla_core::{ConsumeFrom, ConsumeType, MessageModel};

    use super::super::testing::connection;
    use super::*;

    fn member(client_id: &str) -> Member {
        Member {
            client_id: Arc::from(client_id),
            language: 0,
            version: 479,
            address: Arc::from("10.0.0.1:1"),
            consume_type: ConsumeType::Passively,
            message_model: MessageModel::Clustering,
            consume_from: ConsumeFrom::LastOffset,
            unit_mode: false,
            subscriptions: BTreeMap::new(),
        }
    }

    fn beat(
        sessions: &Sessions,
        connection: &Connection,
        client: &str,
        producers: &[&str],
        consumers: &[&str],
    ) {
        let groups = |names: &[&str]| names.iter().map(|name| Group::from(*name)).collect::<Vec<_>>();
        sessions.heartbeat(connection.id(), client, groups(producers), groups(consumers));
        let members = groups(consumers).into_iter().map(|group| (group, member(client)));
        sessions.remember(connection.id(), members);
    }

    #[tokio::test]
    async fn of_two_connections_of_a_client_the_newer_one_counts() {
        let sessions = Sessions::default();
        let (first, second) = (connection().await, connection().await);
        for connection in [&first, &second] {
            sessions.connected(connection);
            beat(&sessions, connection, "client", &["p"], &["a"]);
        }
        let newer = first.id().max(second.id());
        assert_eq!(sessions.consumer("a", "client").unwrap().id(), newer);
        assert_eq!(sessions.producer("client").unwrap().id(), newer);
        assert_eq!(sessions.client("client").unwrap().id(), newer);
        sessions.disconnected(newer);
        assert_eq!(sessions.client("client").unwrap().id(), first.id().min(second.id()));
    }

    #[tokio::test]
    async fn a_consumer_alone_is_no_producer_and_a_new_name_hides_the_old_one() {
        let (sessions, connection) = (Sessions::default(), connection().await);
        sessions.connected(&connection);
        beat(&sessions, &connection, "old", &[], &["a"]);
        assert!(sessions.producer("old").is_none() && sessions.client("old").is_some());
        beat(&sessions, &connection, "new", &["p"], &["a"]);
        assert!(sessions.client("old").is_none() && sessions.producer("new").is_some());
        sessions.leave(connection.id(), "new", Some("p"), None);
        assert!(sessions.producer("new").is_none() && sessions.client("new").is_some());
        sessions.disconnected(connection.id());
        assert!(sessions.client("new").is_none());
    }

    #[tokio::test]
    async fn what_a_consumer_said_of_itself_is_known_until_it_leaves() {
        let (sessions, connection) = (Sessions::default(), connection().await);
        sessions.connected(&connection);
        beat(&sessions, &connection, "client", &[], &["a", "b"]);
        assert_eq!(sessions.member("a", "client"), Some(member("client")));
        sessions.leave(connection.id(), "client", None, Some("a"));
        assert_eq!(
            (sessions.member("a", "client"), sessions.member("b", "client")),
            (None, Some(member("client")))
        );
        // A heartbeat that was under way while its client left makes it no member again.
        sessions.remember(connection.id(), [(Group::from("a"), member("client"))]);
        assert_eq!(sessions.member("a", "client"), None);
        sessions.disconnected(connection.id());
        assert_eq!(sessions.member("b", "client"), None);
    }
}
