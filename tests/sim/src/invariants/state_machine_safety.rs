//! State Machine Safety (Raft, figure 3, section 5.4.3): if a server has applied a log entry at an index, no other server
//! will ever apply a different one there. Each server applies in order and without holes.

use std::collections::BTreeMap;

use flotilla_raft_store::raft::Applied;

use crate::trace::hash_of;

/// An entry that some replica has applied, which makes it committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Term of its leader.
    pub term: u64,
    /// Byte address of its record.
    pub position: u64,
    /// Byte address behind its record.
    pub end_position: u64,
    /// Leader's time.
    pub time_ms: u64,
    hash: u64,
}

/// The committed log, as far as anybody has applied it.
#[derive(Debug, Default)]
pub struct Committed {
    facts: Vec<Fact>,
    /// Next index for each host.
    next: BTreeMap<usize, u64>,
}

impl Committed {
    /// A replica starts over behind an entry, or before the first.
    pub fn installed(&mut self, host: usize, last: Option<u64>) {
        self.next.insert(host, last.map_or(0, |last| last + 1));
    }

    /// A replica applies an entry. True when it is the first to do so.
    ///
    /// # Errors
    /// What does not fit.
    pub fn applied(&mut self, host: usize, entry: &Applied<'_>) -> Result<bool, String> {
        let next = self.next.entry(host).or_default();
        if entry.index != *next {
            return Err(format!(
                "state machine safety: n{host} applies {} where {next} is next",
                entry.index
            ));
        }
        *next += 1;
        let fact = Fact {
            term: entry.term,
            position: entry.position,
            end_position: entry.end_position,
            time_ms: entry.time_ms,
            hash: hash_of(entry.payload) ^ entry.kind as u64,
        };
        let known = usize::try_from(entry.index).ok().and_then(|index| self.facts.get(index));
        match known {
            Some(known) if *known == fact => Ok(false),
            Some(known) => Err(format!(
                "state machine safety: n{host} applies {fact:?} as entry {}, others applied {known:?}",
                entry.index
            )),
            None if entry.index == self.facts.len() as u64 => {
                self.follows(entry.index, &fact)?;
                self.facts.push(fact);
                Ok(true)
            }
            None => Err(format!(
                "state machine safety: n{host} applies entry {} and nobody has applied those before it",
                entry.index
            )),
        }
    }

    /// Terms and leader time never go back along the log, and records lie one behind the other (a new segment's header may
    /// lie in between).
    fn follows(&self, index: u64, fact: &Fact) -> Result<(), String> {
        match self.facts.last() {
            Some(last)
                if last.term > fact.term
                    || last.time_ms > fact.time_ms
                    || last.end_position > fact.position =>
            {
                Err(format!("log order: entry {index} is {fact:?} behind {last:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How many entries are known to be committed.
    pub fn count(&self) -> u64 {
        self.facts.len() as u64
    }

    /// One of them.
    pub fn get(&self, index: u64) -> Option<&Fact> {
        self.facts.get(usize::try_from(index).ok()?)
    }

    /// Index and term of the last one that a leader of an earlier term has appended.
    pub fn last_before_term(&self, term: u64) -> Option<(u64, u64)> {
        let count = self.facts.partition_point(|fact| fact.term < term);
        let fact = self.facts[..count].last()?;
        Some((count as u64 - 1, fact.term))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flotilla_raft_store::types::EntryKind;

    use super::*;

    fn entry(index: u64, term: u64, payload: &Bytes) -> Applied<'_> {
        Applied {
            index,
            term,
            position: index * 100,
            payload_position: index * 100 + 72,
            end_position: index * 100 + 100,
            time_ms: 5,
            kind: EntryKind::Application,
            payload,
            awaited: false,
        }
    }

    #[test]
    fn another_entry_at_the_same_index_a_hole_and_a_repetition_are_seen() {
        let (one, other) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        let mut committed = Committed::default();
        assert_eq!(committed.applied(0, &entry(0, 1, &one)), Ok(true));
        assert_eq!(committed.applied(1, &entry(0, 1, &one)), Ok(false));
        assert!(committed.applied(2, &entry(0, 1, &other)).is_err());
        assert!(committed.applied(2, &entry(0, 2, &one)).is_err());
        assert!(committed.applied(0, &entry(0, 1, &one)).is_err(), "twice");
        assert!(committed.applied(1, &entry(2, 1, &one)).is_err(), "a hole");
        committed.installed(3, Some(7));
        assert!(committed.applied(3, &entry(8, 1, &one)).is_err(), "before anybody applied 1 to 7");
    }

    #[test]
    fn terms_that_go_back_are_seen() {
        let one = Bytes::from_static(b"1");
        let mut committed = Committed::default();
        assert_eq!(committed.applied(0, &entry(0, 3, &one)), Ok(true));
        assert!(committed.applied(0, &entry(1, 2, &one)).is_err());
    }
}
