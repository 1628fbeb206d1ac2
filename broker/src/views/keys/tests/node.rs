//! A log of segments in memory, an index in a real folder, and a model of what can be found.

use std::io;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flotilla_core::{PayloadBuilder, TailTable};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::test_message;
use crate::views::keys::hash::{Hasher, hash};
use crate::views::keys::keeper::Hands;
use crate::views::keys::{EntrySource, KeyAnswer, KeyIndex, KeyQuery, LogEntry, Stretch, VisitEntry};

pub(super) const HEADER: u64 = 72;
/// Store time of entry 0; each entry is a second later.
pub(super) const START_MS: i64 = 1_700_000_000_000;

#[derive(Clone)]
struct Entry {
    index: u64,
    payload: Option<Vec<u8>>,
}

type Segments = Vec<(Stretch, Vec<Entry>)>;

/// Segments with their entries; `None` while the log is not attached.
#[derive(Default)]
pub(super) struct TestLog {
    segments: Mutex<Option<Segments>>,
    terms: Mutex<Vec<u64>>,
    /// Entries shown.
    pub(super) shown: AtomicUsize,
}

impl EntrySource for TestLog {
    fn stretches(&self) -> Option<Vec<Stretch>> {
        let segments = self.segments.lock();
        let with_entries = segments.as_ref()?.iter().filter(|(_, entries)| !entries.is_empty());
        Some(with_entries.map(|(stretch, _)| *stretch).collect())
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        self.terms.lock().get(index as usize).copied()
    }

    fn read(&self, first: u64, last: u64, visit: &mut VisitEntry<'_>) -> io::Result<()> {
        let mut next = first;
        while next <= last {
            let entry = {
                let segments = self.segments.lock();
                let mut entries = segments.as_ref().unwrap().iter().flat_map(|(_, entries)| entries);
                entries.find(|entry| entry.index == next).cloned().ok_or(io::ErrorKind::NotFound)?
            };
            self.shown.fetch_add(1, Ordering::SeqCst);
            let shown = LogEntry { index: next, payload: entry.payload.as_deref() };
            if visit(shown) == ControlFlow::Break(()) {
                break;
            }
            next += 1;
        }
        Ok(())
    }
}

/// A message with these properties.
pub(super) fn message(topic: &str, properties: &str) -> Vec<u8> {
    test_message::message(topic, 0, properties)
}

pub(super) fn keyed(topic: &str, keys: &str) -> Vec<u8> {
    message(topic, &format!("TAGS\u{1}t\u{2}KEYS\u{1}{keys}\u{2}"))
}

pub(super) struct Node {
    pub(super) dir: TempDir,
    pub(super) log: Arc<TestLog>,
    pub(super) index: KeyIndex,
    pub(super) hands: Hands,
    /// All messages that were ever appended, with their positions.
    pub(super) messages: Vec<(u64, Bytes)>,
    pub(super) readable: Range<u64>,
    hasher: Hasher,
    keys_per_file: usize,
    tail: TailTable,
    pub(super) next_index: u64,
    pub(super) term: u64,
}

impl Node {
    pub(super) fn new() -> Self {
        Self::with(hash, 1000)
    }

    pub(super) fn with(hasher: Hasher, keys_per_file: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(TestLog::default());
        *log.segments.lock() = Some(vec![open_segment(0, 0)]);
        let index = KeyIndex::open_idle(dir.path(), log.clone(), hasher, keys_per_file).unwrap();
        index.reset(0);
        let mut node = Self {
            dir,
            log,
            index,
            hands: Hands::default(),
            messages: Vec::new(),
            readable: 0..0,
            hasher,
            keys_per_file,
            tail: TailTable::new(),
            next_index: 0,
            term: 1,
        };
        // The group's own first entry.
        node.append(None);
        node.index.applied(0);
        node
    }

    fn append(&mut self, payload: Option<Vec<u8>>) {
        let mut segments = self.log.segments.lock();
        let (stretch, entries) = segments.as_mut().unwrap().last_mut().unwrap();
        stretch.last_index = self.next_index;
        self.log.terms.lock().push(self.term);
        self.readable.end += HEADER + payload.as_ref().map_or(0, |payload| payload.len() as u64);
        entries.push(Entry { index: self.next_index, payload });
        self.next_index += 1;
    }

    /// Appends an entry and applies it.
    pub(super) fn commit(&mut self, messages: &[Vec<u8>]) {
        let mut builder = PayloadBuilder::new(0, 0);
        messages.iter().for_each(|message| builder.push_message(message).unwrap());
        let mut payload = builder.finish().to_vec();
        let at = self.readable.end + HEADER;
        let time = START_MS + 1000 * self.next_index.cast_signed();
        self.tail.stamp(&mut payload, at, time as u64).unwrap();
        let parts = flotilla_core::Payload::parse(&payload).unwrap();
        for message in flotilla_core::Messages::new(parts.messages) {
            let (_, shape, bytes) = message.unwrap();
            self.messages.push((shape.physical_offset(bytes) as u64, Bytes::copy_from_slice(bytes)));
        }
        self.append(Some(payload));
        self.index.applied(self.next_index - 1);
    }

    pub(super) fn send(&mut self, topic: &str, keys: &str) {
        self.commit(&[keyed(topic, keys)]);
    }

    /// Seals the open segment.
    pub(super) fn roll(&mut self) {
        let mut segments = self.log.segments.lock();
        let segments = segments.as_mut().unwrap();
        segments.last_mut().unwrap().0.sealed = true;
        segments.push(open_segment(self.readable.end, self.next_index));
    }

    /// Gives up the oldest segment.
    pub(super) fn purge(&mut self) {
        let mut segments = self.log.segments.lock();
        let segments = segments.as_mut().unwrap();
        segments.remove(0);
        self.readable.start = segments[0].0.base;
    }

    pub(super) fn keep(&mut self) {
        self.index.keeper.tidy();
        while self.index.keeper.step(&mut self.hands).unwrap() {}
    }

    /// Opens the index again, as after a start that has applied everything.
    pub(super) fn restart(&mut self) {
        self.restart_at(self.next_index);
    }

    pub(super) fn restart_at(&mut self, applied_count: u64) {
        self.index =
            KeyIndex::open_idle(self.dir.path(), self.log.clone(), self.hasher, self.keys_per_file).unwrap();
        self.hands = Hands::default();
        self.index.reset(applied_count);
    }

    pub(super) fn covered(&self) -> bool {
        self.index.keeper.covers(self.next_index)
    }

    pub(super) fn find(&self, query: &KeyQuery<'_>) -> io::Result<KeyAnswer> {
        let read = |position: u64| {
            let at = self.messages.binary_search_by_key(&position, |(position, _)| *position).ok()?;
            Some(self.messages[at].1.clone())
        };
        self.index.find(query, &self.readable, &read)
    }

    /// Positions of what a query gives.
    pub(super) fn positions(&self, query: &KeyQuery<'_>) -> Vec<u64> {
        let answer = self.find(query).unwrap();
        answer.messages.iter().map(|message| position_of(message)).collect()
    }

    pub(super) fn by_key(&self, topic: &str, key: &str) -> Vec<u64> {
        self.positions(&any_time(topic, key))
    }

    /// What a query must give: by comparing every message.
    pub(super) fn expected(&self, query: &KeyQuery<'_>) -> Vec<u64> {
        let fits = |message: &Bytes| {
            let shape = flotilla_core::MessageShape::parse(message).unwrap();
            let text = String::from_utf8(shape.properties(message).to_vec()).unwrap();
            let get = |name| flotilla_remoting::message::properties::get(&text, name);
            let keyed = get("UNIQ_KEY") == Some(query.key)
                || get("KEYS").is_some_and(|keys| keys.split(' ').any(|key| key == query.key));
            let time = shape.store_timestamp(message);
            keyed
                && shape.topic(message) == query.topic.as_bytes()
                && (query.begin..=query.end).contains(&time)
        };
        let all: Vec<u64> = self
            .messages
            .iter()
            .filter(|(position, message)| self.readable.contains(position) && fits(message))
            .map(|(position, _)| *position)
            .collect();
        all[all.len().saturating_sub(query.count_max)..].to_vec()
    }

    #[track_caller]
    pub(super) fn check(&self, query: &KeyQuery<'_>) {
        assert_eq!(self.positions(query), self.expected(query), "{query:?}");
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("keys")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn open_segment(base: u64, first_index: u64) -> (Stretch, Vec<Entry>) {
    (Stretch { base, first_index, last_index: first_index, sealed: false }, Vec::new())
}

pub(super) fn any_time<'a>(topic: &'a str, key: &'a str) -> KeyQuery<'a> {
    KeyQuery { topic, key, begin: 0, end: i64::MAX, count_max: 1000, bytes_max: 1 << 30 }
}

pub(super) fn position_of(message: &[u8]) -> u64 {
    flotilla_core::MessageShape::parse(message).unwrap().physical_offset(message) as u64
}

/// Three sealed segments and an open one; each key occurs in all of them.
pub(super) fn full_node() -> Node {
    full_node_of_term(1)
}

pub(super) fn full_node_of_term(term: u64) -> Node {
    let mut node = Node::with(hash, 150);
    node.term = term;
    for round in 0..4 {
        for number in 0..100 {
            node.commit(&[
                keyed("orders", &format!("order-{number} all round-{round}")),
                message("orders", &format!("UNIQ_KEY\u{1}id-{round}-{number}\u{2}")),
            ]);
        }
        if round < 3 {
            node.roll();
        }
    }
    node
}

/// Every kind of query that [`full_node`] has an answer for.
pub(super) fn check_all(node: &Node) {
    for number in [0, 1, 50, 99] {
        node.check(&any_time("orders", &format!("order-{number}")));
        for round in 0..4 {
            node.check(&any_time("orders", &format!("id-{round}-{number}")));
        }
    }
    for key in ["all", "round-0", "round-3", "none", ""] {
        node.check(&any_time("orders", key));
        node.check(&any_time("other", key));
    }
}
