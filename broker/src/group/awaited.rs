//! Entries that have no outcome yet, and who waits for it.
//!
//! An entry gets its outcome from the log: it is applied, or another one stands in its place. A leader that hears nobody, or was
//! deposed by a vote and hears no successor, learns neither for as long as that lasts. Those who can be told that the outcome is
//! not known are told so after a while without a valid lease; what becomes of the entry later then finds nobody.
//!
//! Time is counted in rounds in which this process ran: a process that was stopped finds one more round gone, and with it the
//! answers that wait in its sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_raft_store::raft::Status;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::limits::{UNLED_ROUND, UNLED_ROUNDS_MAX};

/// Who waits for entries; `T` for one of them. As many as there are entries in flight.
pub struct Awaited<T> {
    entries: Mutex<Entries<T>>,
}

struct Entries<T> {
    next: u64,
    under_way: BTreeMap<u64, Entry<T>>,
}

struct Entry<T> {
    waits: T,
    /// Rounds since the last one in which this replica held a lease.
    unled: u32,
}

impl<T> Default for Awaited<T> {
    fn default() -> Self {
        Self { entries: Mutex::new(Entries { next: 0, under_way: BTreeMap::new() }) }
    }
}

impl<T> Awaited<T> {
    /// Notes who waits for an entry; gives the key to [`Awaited::take`] it by.
    pub fn add(&self, waits: T) -> u64 {
        let mut entries = self.entries.lock();
        let key = entries.next;
        entries.next += 1;
        entries.under_way.insert(key, Entry { waits, unled: 0 });
        key
    }

    /// Who still waits; `None` when the entry was given up.
    pub fn take(&self, key: u64) -> Option<T> {
        self.entries.lock().under_way.remove(&key).map(|entry| entry.waits)
    }

    /// Ends a round; gives those whose entries are given up, the oldest first.
    fn round(&self, leased: bool) -> Vec<T> {
        let mut entries = self.entries.lock();
        for entry in entries.under_way.values_mut() {
            entry.unled = if leased { 0 } else { entry.unled + 1 };
        }
        let given_up = entries.under_way.extract_if(.., |_, entry| entry.unled >= UNLED_ROUNDS_MAX);
        given_up.map(|(_, entry)| entry.waits).collect()
    }

    /// Gives up what waits at a replica without a lease, for ever.
    pub async fn watch(self: Arc<Self>, status: watch::Receiver<Status>, give_up: impl Fn(T)) {
        let mut rounds = tokio::time::interval(UNLED_ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let leased = status.borrow().lease_valid();
            self.round(leased).into_iter().for_each(&give_up);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(awaited: &Awaited<u8>, count: u32, leased: bool) -> Vec<u8> {
        (0..count).flat_map(|_| awaited.round(leased)).collect()
    }

    #[test]
    fn an_entry_is_given_up_once_after_so_many_rounds_without_a_lease() {
        let awaited = Awaited::default();
        let (first, second) = (awaited.add(1), awaited.add(2));
        assert!(rounds(&awaited, UNLED_ROUNDS_MAX - 1, false).is_empty());
        let third = awaited.add(3);
        assert_eq!(awaited.take(second), Some(2), "its outcome has come");
        assert_eq!(rounds(&awaited, 1, false), [1], "not those that came later");
        assert_eq!(awaited.take(first), None);
        assert_eq!(rounds(&awaited, UNLED_ROUNDS_MAX, false), [3]);
        assert_eq!(awaited.take(third), None);
    }

    #[test]
    fn under_a_lease_everybody_waits_and_a_lease_that_is_lost_again_starts_anew() {
        let awaited = Awaited::default();
        let key = awaited.add(1);
        assert!(rounds(&awaited, 100, true).is_empty());
        assert!(rounds(&awaited, UNLED_ROUNDS_MAX - 1, false).is_empty());
        assert!(rounds(&awaited, 1, true).is_empty());
        assert!(rounds(&awaited, UNLED_ROUNDS_MAX - 1, false).is_empty());
        assert_eq!(awaited.take(key), Some(1));
    }
}
