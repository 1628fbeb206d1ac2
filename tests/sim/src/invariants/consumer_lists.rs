//! Consumer lists are complete after an election (FAILOVER rule 1 in docs/failover-rules.md): a leader drops nobody whom a replica
//! has held since before its term began, be that replica cut off from it or hanging; only one that is silent for longer than
//! [`GRACE_MS`] holds none. Joins are in the log, so that what a new leader has not dropped is in its list, as in all tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_core::{Command, LeaveReason, Payload, codec::Reader};
use flotilla_raft_store::raft::Applied;
use flotilla_raft_store::types::EntryKind;

/// Silence after which a replica counts as holding nobody.
const GRACE_MS: u64 = 45_000;

/// Who is connected where, and who was dropped.
#[derive(Debug, Default)]
pub struct ConsumerLists {
    /// Since when a host has held a client without a break.
    held: BTreeMap<(usize, Arc<str>), u64>,
    /// When terms had their leader.
    elected: BTreeMap<u64, u64>,
    joined: u64,
    dropped: u64,
}

impl ConsumerLists {
    /// The group has elected a leader.
    pub fn elected(&mut self, term: u64, now_ms: u64) {
        self.elected.entry(term).or_insert(now_ms);
    }

    /// What a host holds now; nobody when it does not run.
    pub fn holds(&mut self, host: usize, clients: &[Arc<str>], now_ms: u64) {
        self.held.retain(|(holder, client), _| *holder != host || clients.contains(client));
        for client in clients {
            self.held.entry((host, Arc::clone(client))).or_insert(now_ms);
        }
    }

    /// Joins and drops of the next committed entry, as far as they concern the group.
    ///
    /// # Errors
    /// It drops a client that a host holds.
    pub fn applied(&mut self, entry: &Applied<'_>, watched: &str, now_ms: u64) -> Result<(), String> {
        if entry.kind != EntryKind::Application {
            return Ok(());
        }
        let payload = Payload::parse(entry.payload).map_err(|error| error.to_string())?;
        let mut commands = Reader::new(payload.commands);
        while !commands.is_empty() {
            match Command::decode_framed(&mut commands).map_err(|error| error.to_string())? {
                Command::Join(join) if &*join.group == watched => self.joined += 1,
                Command::Leave { group, client_id, reason: LeaveReason::ChannelsClosed }
                    if &*group == watched =>
                {
                    self.dropped(entry.term, &client_id, now_ms)
                        .map_err(|what| format!("consumer lists: entry {} {what}", entry.index))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn dropped(&mut self, term: u64, client: &Arc<str>, now_ms: u64) -> Result<(), String> {
        self.dropped += 1;
        let elected = self.elected.get(&term).copied().unwrap_or(0);
        if now_ms.saturating_sub(elected) >= GRACE_MS {
            return Ok(());
        }
        let holders = self.held.iter().filter(|((_, held), since)| held == client && **since < elected);
        match holders.map(|((host, _), since)| (*host, *since)).next() {
            Some((host, since)) => Err(format!(
                "of term {term}, which began at {elected}, drops {client}, whom n{host} has held since {since}"
            )),
            None => Ok(()),
        }
    }

    /// Joins and drops so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.joined, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_was_held_when_the_term_began_is_not_to_be_dropped() {
        let client: Arc<str> = Arc::from("c7");
        let mut lists = ConsumerLists::default();
        lists.holds(1, std::slice::from_ref(&client), 100);
        lists.elected(4, 200);
        assert!(lists.dropped(4, &client, 300).is_err());
        assert!(lists.dropped(4, &Arc::from("c8"), 300).is_ok(), "nobody holds that one");
        lists.holds(1, &[], 400);
        assert!(lists.dropped(4, &client, 500).is_ok(), "it has gone");
        lists.holds(1, std::slice::from_ref(&client), 600);
        assert!(lists.dropped(4, &client, 700).is_ok(), "its report may be under way");
        lists.elected(5, 800);
        assert!(lists.dropped(5, &client, 900).is_err());
        assert!(lists.dropped(5, &client, 45_900).is_ok(), "its replica may have been silent all along");
        assert_eq!(lists.counts(), (0, 6));
    }
}
