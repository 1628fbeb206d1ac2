//! The producers that are connected to a replica, as it reports them to the leader.

use std::sync::Arc;

use super::{SessionTables, Sessions};
use crate::limits::PRODUCERS_REPORTED_MAX;

/// A connection of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    pub group: Arc<str>,
    pub client_id: Arc<str>,
    /// Address of the client, `ip:port`.
    pub address: Arc<str>,
    /// Number of the client's language.
    pub language: u8,
    pub version: i32,
    /// Last heartbeat, ms since 1970 by the clock of the replica that holds the connection.
    pub heard_ms: i64,
}

impl Sessions {
    /// Records what a heartbeat's frame says about its sender.
    pub fn describe(&self, connection_id: u64, language: u8, version: i32, heard_ms: i64) {
        if let Some(session) = self.tables.lock().connections.get_mut(&connection_id) {
            (session.language, session.version, session.heard_ms) = (language, version, heard_ms);
        }
    }

    /// All producers that are connected here, by group and client id.
    pub fn producers(&self) -> Vec<Producer> {
        let mut all = producers(&self.tables.lock());
        all.sort_by(|left, right| (&left.group, &left.client_id).cmp(&(&right.group, &right.client_id)));
        all
    }
}

fn producers(tables: &SessionTables) -> Vec<Producer> {
    let sessions = tables.connections.values();
    let all = sessions.flat_map(|session| {
        let address: Arc<str> = Arc::from(session.connection.peer().to_string());
        session.producers.iter().map(move |(group, client_id)| Producer {
            group: group.clone(),
            client_id: client_id.clone(),
            address: address.clone(),
            language: session.language,
            version: session.version,
            heard_ms: session.heard_ms,
        })
    });
    all.take(PRODUCERS_REPORTED_MAX).collect()
}
