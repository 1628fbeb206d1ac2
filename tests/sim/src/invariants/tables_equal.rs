//! Invariant 3 of `ARCHITECTURE.md`: the same log gives the same tables, byte for byte, on every replica and across every
//! checkpoint.
//!
//! A reference applies the committed log once, in order; replicas are compared with it at every [`EVERY`]th entry, and
//! whenever they begin from a checkpoint.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use flotilla_core::{Effects, EntryContext, Tables};
use flotilla_raft_store::raft::Applied;
use flotilla_raft_store::types::EntryKind;

use crate::trace::hash_of;

/// Entries between two comparisons.
const EVERY: u64 = 32;

/// The committed log and what it makes of the tables.
#[derive(Default)]
pub struct Reference {
    log: Vec<(EntryContext, EntryKind, Bytes)>,
    tables: Tables,
    /// Tables behind every so many entries, by the last of them, and a number for their bytes.
    kept: BTreeMap<u64, (Tables, u64)>,
}

/// Where an entry stands, for the tables.
pub fn context(entry: &Applied<'_>) -> EntryContext {
    EntryContext {
        index: entry.index,
        term: entry.term,
        position: entry.position,
        payload_position: entry.payload_position,
        time_ms: entry.time_ms,
    }
}

/// Applies an entry as a replica does.
///
/// # Errors
/// The tables refuse it.
pub fn apply(
    tables: &mut Tables,
    context: &EntryContext,
    kind: EntryKind,
    payload: &[u8],
) -> Result<Effects, String> {
    let applied = match kind {
        EntryKind::Application => tables.apply(context, payload),
        EntryKind::Blank | EntryKind::Membership => {
            tables.skip(context, payload.len()).map(|()| Effects::default())
        }
    };
    applied.map_err(|error| format!("apply: {error}"))
}

impl Reference {
    /// Takes the next committed entry.
    ///
    /// # Errors
    /// The tables refuse it.
    pub fn extend(&mut self, entry: &Applied<'_>) -> Result<Effects, String> {
        let context = context(entry);
        let effects = apply(&mut self.tables, &context, entry.kind, entry.payload)?;
        self.log.push((context, entry.kind, Bytes::copy_from_slice(entry.payload)));
        if entry.index.is_multiple_of(EVERY) {
            let hash = hash_of(&self.tables.encode());
            self.kept.insert(entry.index, (self.tables.clone(), hash));
        }
        Ok(effects)
    }

    /// Compares a replica's tables where that is due.
    ///
    /// # Errors
    /// They differ.
    pub fn compare(&self, host: usize, tables: &Tables) -> Result<(), String> {
        let index = tables.applied().index;
        match self.kept.get(&index) {
            Some((_, hash)) if index.is_multiple_of(EVERY) && hash_of(&tables.encode()) != *hash => {
                Err(format!("tables equal: n{host} has other tables at entry {index}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Compares tables at any entry.
    ///
    /// # Errors
    /// They differ, or stand behind what anybody has applied.
    pub fn compare_whole(&self, host: usize, tables: &Tables) -> Result<(), String> {
        let index = tables.applied().index;
        let expected = self.at(index).ok_or_else(|| {
            format!("tables equal: n{host} has tables at entry {index}, which nobody has applied")
        })?;
        if expected.encode() != tables.encode() {
            return Err(format!("tables equal: n{host} begins with other tables at entry {index}"));
        }
        Ok(())
    }

    /// The tables behind an entry.
    pub fn at(&self, index: u64) -> Option<Tables> {
        let end = usize::try_from(index).ok()?.checked_add(1)?;
        if end > self.log.len() {
            return None;
        }
        let kept = self.kept.range((Bound::Unbounded, Bound::Included(index))).next_back();
        let (start, mut tables) = match kept {
            Some((at, (tables, _))) => (usize::try_from(*at).ok()? + 1, tables.clone()),
            None => (0, Tables::blank()),
        };
        for (context, kind, payload) in &self.log[start..end] {
            apply(&mut tables, context, *kind, payload).ok()?;
        }
        Some(tables)
    }

    /// How many entries it has applied.
    pub fn count(&self) -> u64 {
        self.log.len() as u64
    }
}
