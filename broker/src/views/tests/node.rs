//! A node as small as it can be: a log of segments in memory, tables, views in a real folder, and a model of every queue.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flotilla_core::{
    Command, EntryContext, Payload, PayloadBuilder, Perm, QueueMinimum, Tables, TailTable, TopicConfig,
};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::test_message;
use crate::views::segment::Visit;
use crate::views::{ConsumeQueues, Segment, SegmentSource, Unit};

const RECORD_HEADER: u64 = 72;

/// One entry of the log.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) context: EntryContext,
    pub(super) payload: Vec<u8>,
}

impl Entry {
    fn end(&self) -> u64 {
        self.context.payload_position + self.payload.len() as u64
    }
}

pub(super) type Segments = Vec<(Segment, Vec<Entry>)>;

/// Segments with their entries; `None` while the log is not attached.
#[derive(Default)]
pub(super) struct TestLog {
    segments: Mutex<Option<Segments>>,
    scans: AtomicUsize,
}

impl TestLog {
    pub(super) fn scans(&self) -> usize {
        self.scans.load(Ordering::SeqCst)
    }
}

impl SegmentSource for TestLog {
    fn segments(&self) -> Option<Vec<Segment>> {
        Some(self.segments.lock().as_ref()?.iter().map(|(segment, _)| *segment).collect())
    }

    fn scan(&self, segment: &Segment, visit: &mut Visit<'_>) -> io::Result<()> {
        let entries = {
            let segments = self.segments.lock();
            let found = segments.as_ref().unwrap().iter().find(|(known, _)| known == segment);
            found.ok_or(io::ErrorKind::NotFound)?.1.clone()
        };
        // One that has grown since the keeper looked is tried again: nothing was read for it.
        self.scans.fetch_add(1, Ordering::SeqCst);
        for entry in entries {
            if visit(entry.context.payload_position, &entry.payload)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

pub(super) fn message(topic: &str, queue_id: u32, tag: &str) -> Vec<u8> {
    test_message::message(topic, queue_id, &format!("TAGS\u{1}{tag}\u{2}"))
}

pub(super) type Model = BTreeMap<(String, u32), (i64, Vec<Unit>)>;

pub(super) struct Node {
    pub(super) dir: TempDir,
    pub(super) log: Arc<TestLog>,
    pub(super) views: ConsumeQueues,
    pub(super) tables: Tables,
    tail: TailTable,
    /// First available number and all units ever of each queue.
    pub(super) model: Model,
    /// Checkpoint at the last roll, and the entries since.
    pub(super) checkpoint: Vec<u8>,
    since: Vec<Entry>,
    next_index: u64,
    end: u64,
}

impl Node {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(TestLog::default());
        let views = ConsumeQueues::open_idle(dir.path(), log.clone()).unwrap();
        views.reset(&Tables::blank());
        let mut node = Self {
            dir,
            log,
            views,
            tables: Tables::blank(),
            tail: TailTable::new(),
            model: Model::new(),
            checkpoint: Vec::new(),
            since: Vec::new(),
            next_index: 1,
            end: 0,
        };
        *node.log.segments.lock() = Some(vec![node.open_segment()]);
        let topics =
            ["alpha", "beta"].map(|name| Command::PutTopic(TopicConfig::new(name, 4, Perm::READ_WRITE)));
        node.commit(&topics, &[]);
        node
    }

    fn open_segment(&self) -> (Segment, Vec<Entry>) {
        let last_index = self.next_index - 1;
        (Segment { base: self.end, end: self.end, sealed: false, last_index, last_term: 1 }, Vec::new())
    }

    /// Appends an entry and applies it.
    pub(super) fn commit(&mut self, commands: &[Command], messages: &[Vec<u8>]) {
        let entry = self.append(commands, messages);
        self.apply_new(entry);
    }

    pub(super) fn apply_new(&mut self, entry: Entry) {
        self.apply(&entry, true);
        self.since.push(entry);
    }

    /// Appends an entry to the log alone.
    pub(super) fn append(&mut self, commands: &[Command], messages: &[Vec<u8>]) -> Entry {
        let mut builder = PayloadBuilder::new(0, 0);
        commands.iter().for_each(|command| builder.push_command(command));
        messages.iter().for_each(|message| builder.push_message(message).unwrap());
        let mut payload = builder.finish().to_vec();
        let position = self.end;
        let context = EntryContext {
            index: self.next_index,
            term: 1,
            position,
            payload_position: position + RECORD_HEADER,
            time_ms: 1000 + self.next_index,
        };
        self.tail.stamp(&mut payload, context.payload_position, context.time_ms).unwrap();
        let entry = Entry { context, payload };
        self.end = entry.end();
        self.next_index += 1;
        {
            let mut segments = self.log.segments.lock();
            let (segment, entries) = segments.as_mut().unwrap().last_mut().unwrap();
            segment.end = self.end;
            segment.last_index = context.index;
            entries.push(entry.clone());
        }
        entry
    }

    fn apply(&mut self, entry: &Entry, first_time: bool) {
        let effects = self.tables.apply(&entry.context, &entry.payload).unwrap();
        self.views.extend(&entry.context, entry.end(), &effects);
        if first_time {
            for message in &effects.appended {
                let (_, units) = self.model.entry((message.topic.to_string(), message.queue_id)).or_default();
                units.push(Unit::of(message));
            }
            for queue in &effects.minimums {
                self.model.get_mut(&(queue.topic.to_string(), queue.queue_id)).unwrap().0 = queue.min;
            }
        }
    }

    pub(super) fn send(&mut self, topic: &str, queue_id: u32, count: usize) {
        let messages: Vec<_> =
            (0..count).map(|number| message(topic, queue_id, &format!("T{number}"))).collect();
        self.commit(&[], &messages);
    }

    /// Seals the open segment and cuts a checkpoint.
    pub(super) fn roll(&mut self) {
        self.seal();
        self.checkpoint_here();
    }

    /// Seals the open segment; the checkpoint is late.
    pub(super) fn seal(&mut self) {
        let open = self.open_segment();
        let mut segments = self.log.segments.lock();
        let segments = segments.as_mut().unwrap();
        if segments.last().unwrap().1.is_empty() {
            return;
        }
        segments.last_mut().unwrap().0.sealed = true;
        segments.push(open);
    }

    /// Cuts a checkpoint of what is applied.
    pub(super) fn checkpoint_here(&mut self) {
        self.checkpoint = self.tables.encode();
        self.since.clear();
    }

    pub(super) fn keep(&self) {
        while self.views.keeper.pass() {}
    }

    /// Closes the views and opens them again from the last checkpoint, replaying what came after it.
    pub(super) fn restart(&mut self) {
        self.views = ConsumeQueues::open_idle(self.dir.path(), self.log.clone()).unwrap();
        self.tables = Tables::decode(&self.checkpoint).unwrap();
        self.views.reset(&self.tables);
        for entry in self.since.clone() {
            self.apply(&entry, false);
        }
    }

    pub(super) fn detach_log(&self) -> Segments {
        self.log.segments.lock().take().unwrap()
    }

    pub(super) fn attach_log(&self, segments: Segments) {
        *self.log.segments.lock() = Some(segments);
    }

    /// Gives up the oldest segment: the minimums rise by the log, then the segment goes.
    pub(super) fn purge_oldest(&mut self) {
        let oldest = self.log.segments().unwrap()[0];
        if !oldest.sealed {
            return;
        }
        let kept = |(min, units): &(i64, Vec<Unit>)| {
            let gone = units.iter().filter(|unit| (unit.physical_offset as u64) < oldest.end).count();
            (gone as i64).max(*min)
        };
        let queues: Vec<_> = self
            .model
            .iter()
            .map(|((topic, queue_id), queue)| QueueMinimum {
                topic: topic.as_str().into(),
                queue_id: *queue_id,
                min: kept(queue),
            })
            .collect();
        self.commit(&[Command::RaiseMinimum { log_position: oldest.end, queues }], &[]);
        self.log.segments.lock().as_mut().unwrap().remove(0);
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.dir.path().join("queues"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    /// Every queue shows exactly what the model has, read in pieces of several sizes.
    pub(super) fn check(&self) {
        for ((topic, queue_id), (min, units)) in &self.model {
            let view = self.views.queue(topic, *queue_id).unwrap();
            assert_eq!(
                (view.range().min, view.range().max),
                (*min, units.len() as i64),
                "{topic} {queue_id}"
            );
            for step in [1, 7, 600, 16_000] {
                let mut found = Vec::new();
                let mut next = *min;
                while next < units.len() as i64 {
                    let before = found.len();
                    view.units(next, step, &mut found).unwrap();
                    let count = found.len() - before;
                    assert!((1..=step).contains(&count), "{topic} {queue_id}: {count} units at {next}");
                    next += count as i64;
                    // Single steps over long queues prove little.
                    if step == 1 && found.len() > 50 {
                        break;
                    }
                }
                let expected = &units[*min as usize..];
                assert_eq!(found, expected[..found.len()], "{topic} {queue_id}");
                assert!(step == 1 || found.len() == expected.len());
            }
            let mut none = Vec::new();
            view.units(units.len() as i64, 5, &mut none).unwrap();
            assert!(none.is_empty());
        }
        self.check_bytes();
    }

    /// The units point at messages that say of themselves what the units say.
    fn check_bytes(&self) {
        let segments = self.log.segments.lock();
        for entry in segments.as_ref().unwrap().iter().flat_map(|(_, entries)| entries) {
            let parts = Payload::parse(&entry.payload).unwrap();
            for message in flotilla_core::Messages::new(parts.messages) {
                let (_, shape, bytes) = message.unwrap();
                let topic = std::str::from_utf8(shape.topic(bytes)).unwrap();
                let offset = shape.queue_offset(bytes);
                let view = self.views.queue(topic, shape.queue_id).unwrap();
                if offset < view.range().min {
                    continue;
                }
                let mut unit = Vec::new();
                view.units(offset, 1, &mut unit).unwrap();
                let expected = Unit {
                    physical_offset: shape.physical_offset(bytes),
                    size: shape.size,
                    tags_code: shape.tags_code(bytes),
                };
                assert_eq!(unit, [expected]);
            }
        }
    }
}
