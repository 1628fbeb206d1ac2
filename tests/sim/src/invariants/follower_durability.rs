//! What a follower has acknowledged is on its disk (Raft, figure 2: entries are on stable storage before a server responds to
//! RPCs). Entries that were never committed may be cut again by a later leader, so only committed ones are looked for.

use std::collections::BTreeMap;

use super::state_machine_safety::Committed;

/// Acknowledgements kept for a host; older ones lie below newer ones in the same log.
const KEPT_MAX: usize = 512;

/// Acknowledgements that left a host.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    /// Term by index, by host.
    sent: BTreeMap<usize, BTreeMap<u64, u64>>,
}

impl Acknowledgements {
    /// A host tells its leader that it holds the log up to this entry.
    pub fn sent(&mut self, host: usize, term: u64, index: u64) {
        let sent = self.sent.entry(host).or_default();
        sent.insert(index, term);
        if sent.len() > KEPT_MAX {
            sent.pop_first();
        }
    }

    /// True while none was heard.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The newest committed entry that a host has acknowledged: index and term.
    pub fn newest(&self, host: usize, committed: &Committed) -> Option<(u64, u64)> {
        let sent = self.sent.get(&host)?;
        let is_committed = |index: u64, term: u64| committed.get(index).is_some_and(|fact| fact.term == term);
        sent.iter()
            .rev()
            .map(|(index, term)| (*index, *term))
            .find(|(index, term)| is_committed(*index, *term))
    }

    /// A host's disk after a stop; `holds` tells whether an entry is there.
    ///
    /// # Errors
    /// It lacks what it acknowledged.
    pub fn recovered(
        &self,
        host: usize,
        committed: &Committed,
        holds: impl Fn(u64, u64) -> bool,
    ) -> Result<(), String> {
        match self.newest(host, committed) {
            Some((index, term)) if !holds(index, term) => Err(format!(
                "follower durability: n{host} acknowledged entry {term}.{index}, which is committed and not on its disk"
            )),
            Some(_) | None => Ok(()),
        }
    }
}
