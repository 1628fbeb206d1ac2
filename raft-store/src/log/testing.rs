//! Helpers of the log's own tests.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    AppendError, Body, Checkpoint, Clock, Draft, Log, LogOptions, OpenError, Recovered, RecoveryVisitor,
    WriterMode,
};
use crate::record::{RECORD_HEADER_SIZE, Record, RecordHeader, u64_at};
use crate::types::{ChainPoint, EntryKind, LogId, StampError, Stamper};
use crate::vfs::{Loss, MemVfs, RealVfs, Vfs};

/// A chain of records from index 0, one term, payloads of one size.
pub(crate) fn chain(count: usize, payload_size: usize) -> Vec<Record> {
    let (mut position, mut prev_crc) = (0, 7);
    let mut records = Vec::new();
    for index in 0..count as u64 {
        let mut bytes = vec![0; RECORD_HEADER_SIZE];
        bytes.extend((0..payload_size).map(|at| (at as u64 + index) as u8));
        let header = RecordHeader {
            kind: EntryKind::Application,
            starts_segment: index == 0,
            id: LogId::new(1, index),
            position,
            leader: 1,
            time_ms: 1000 + index,
            prev_term: u64::from(index > 0),
            prev_crc,
        };
        prev_crc = Record::seal(&mut bytes, &header);
        position += bytes.len() as u64;
        records.push(Record::from_sealed(bytes.into()));
    }
    records
}

/// A clock that a test moves; wall and monotonic time together.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestClock(Arc<Mutex<u64>>);

impl TestClock {
    pub(crate) fn pass(&self, ms: u64) {
        *self.0.lock() += ms;
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + *self.0.lock()
    }

    fn monotonic_us(&self) -> u64 {
        *self.0.lock() * 1000
    }
}

/// Payload of an application entry: numbers the entries so that a stamper can check their order.
pub(crate) fn app(term: u64, index: u64, payload_size: usize) -> Draft {
    let mut bytes = vec![0; RECORD_HEADER_SIZE + payload_size.max(16)];
    let fill = (term * 31 + index) as u8;
    bytes[RECORD_HEADER_SIZE + 16..].fill(fill);
    Draft {
        id: LogId::new(term, index),
        leader: 9,
        kind: EntryKind::Application,
        body: Body::HeadRoom(bytes.into()),
    }
}

/// An entry without payload.
pub(crate) fn blank(term: u64, index: u64) -> Draft {
    Draft { id: LogId::new(term, index), leader: 9, kind: EntryKind::Blank, body: Body::Plain(Bytes::new()) }
}

/// Numbers payloads 0, 1, 2... in their first eight bytes and repeats their position in the next eight; a hole or a
/// number that comes twice is an error.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counting(pub(crate) Arc<Mutex<u64>>);

impl Stamper for Counting {
    fn stamp(&mut self, payload: &mut [u8], payload_position: u64, _: u64) -> Result<(), StampError> {
        let mut next = self.0.lock();
        payload[..8].copy_from_slice(&next.to_le_bytes());
        payload[8..16].copy_from_slice(&payload_position.to_le_bytes());
        *next += 1;
        Ok(())
    }

    fn observe(&mut self, payload: &[u8], payload_position: u64, _: u64) -> Result<(), StampError> {
        let mut next = self.0.lock();
        let (number, position) = (u64_at(payload, 0), u64_at(payload, 8));
        if number != *next || position != payload_position {
            return Err(StampError::new(format!("number {number} at {position}, {next} follows here")));
        }
        *next += 1;
        Ok(())
    }

    fn retract(&mut self, payload: &[u8]) {
        let mut next = self.0.lock();
        assert_eq!(u64_at(payload, 0) + 1, *next, "entries are taken back from the last to the first");
        *next -= 1;
    }

    fn reset(&mut self, state: &[u8]) -> Result<(), StampError> {
        *self.0.lock() = if state.is_empty() { 0 } else { u64_at(state, 0) };
        Ok(())
    }
}

/// Collects what recovery shows.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) records: Vec<Record>,
    pub(crate) committed: usize,
}

impl Seen {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

impl RecoveryVisitor for Seen {
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        assert!(self.checkpoint.is_none() && self.records.is_empty(), "one checkpoint, before any record");
        self.checkpoint = Some(checkpoint.clone());
        Ok(())
    }

    fn record(&mut self, record: &Record, committed: bool) -> Result<(), String> {
        assert!(!committed || self.committed == self.records.len(), "committed entries come first");
        self.committed += usize::from(committed);
        self.records.push(record.clone());
        Ok(())
    }
}

/// A log with its disk and clock.
pub(crate) struct Bench {
    pub(crate) disk: MemVfs,
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) clock: TestClock,
    log: Option<Log>,
    pub(crate) recovered: Recovered,
    pub(crate) seen: Seen,
}

/// Small segments and a small ring, so that short histories roll and read from disk.
pub(crate) fn options(writer: WriterMode) -> LogOptions {
    LogOptions { segment_size: 12 << 10, ring_bytes_max: 3000, writer, ..LogOptions::new("cluster", "group") }
}

impl Bench {
    pub(crate) fn new(writer: WriterMode) -> Self {
        Self::open(MemVfs::new(), options(writer)).unwrap()
    }

    pub(crate) fn with(change: impl FnOnce(&mut LogOptions)) -> Self {
        let mut options = options(WriterMode::Inline);
        change(&mut options);
        Self::open(MemVfs::new(), options).unwrap()
    }

    pub(crate) fn open(disk: MemVfs, options: LogOptions) -> Result<Self, OpenError> {
        Self::open_in(disk.clone(), Arc::new(disk), PathBuf::from("/node"), options, TestClock::default())
    }

    pub(crate) fn real(dir: &Path) -> Self {
        Self::on(Arc::new(RealVfs), dir, options(WriterMode::Thread)).unwrap()
    }

    /// A log on another file system than that of `disk`.
    pub(crate) fn on(vfs: Arc<dyn Vfs>, dir: &Path, options: LogOptions) -> Result<Self, OpenError> {
        Self::open_in(MemVfs::new(), vfs, dir.to_path_buf(), options, TestClock::default())
    }

    fn open_in(
        disk: MemVfs,
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        options: LogOptions,
        clock: TestClock,
    ) -> Result<Self, OpenError> {
        let mut seen = Seen::default();
        let own = (Arc::clone(&vfs), options.clone(), Arc::new(clock.clone()), Box::new(Counting::default()));
        let (log, recovered) = Log::open(own.0, &dir, own.1, own.2, own.3, &mut seen)?;
        Ok(Self { disk, vfs, dir, options, clock, log: Some(log), recovered, seen })
    }

    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    pub(crate) fn log_mut(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    /// Appends as a leader; the write has to succeed when it is done.
    pub(crate) fn append(&mut self, drafts: impl IntoIterator<Item = Draft>) -> Vec<Record> {
        let drafts = drafts.into_iter().collect();
        self.log_mut().append_new(drafts, Box::new(|result| result.unwrap())).unwrap()
    }

    pub(crate) fn append_records(&mut self, records: Vec<Record>) -> Result<(), AppendError> {
        self.log_mut().append_records(records, Box::new(|result| result.unwrap()))
    }

    pub(crate) fn commit(&mut self, index: u64) {
        self.log().save_committed(index);
    }

    /// Saves a checkpoint as the log's own state machine would, and waits for it.
    pub(crate) fn checkpoint(&self, at: ChainPoint) {
        let (sender, saved) = std::sync::mpsc::channel();
        // Each entry of these logs is a numbered one.
        let state = (at.id.index + 1).to_le_bytes().to_vec();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        self.log().checkpoints().save(at, 1, Bytes::new(), Box::new(move || state), done);
        self.log().run_writer();
        saved.recv().unwrap().unwrap();
    }

    /// Waits until everything queued is done.
    pub(crate) fn settle(&self) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.log().sync(Box::new(move |result| sender.send(result).unwrap()));
        self.log().run_writer();
        receiver.recv().unwrap().unwrap();
    }

    pub(crate) fn read_all(&self) -> Vec<Record> {
        read_all(self.log())
    }

    /// Closes the log in order and opens it again.
    pub(crate) fn reopen(&mut self) {
        self.log.take().unwrap().close().unwrap();
        let (disk, vfs, dir) = (self.disk.clone(), Arc::clone(&self.vfs), self.dir.clone());
        *self = Self::open_in(disk, vfs, dir, self.options.clone(), self.clock.clone()).unwrap();
    }

    /// Stops the machine and opens the log as the disk has kept it.
    pub(crate) fn crash(&mut self, loss: Loss) -> Result<(), OpenError> {
        self.disk.power_off();
        self.log = None;
        *self = Self::open(self.disk.restart(loss), self.options.clone())?;
        Ok(())
    }
}

/// Every entry of a log, read in small steps.
pub(crate) fn read_all(log: &Log) -> Vec<Record> {
    let reader = log.reader();
    let mut records = Vec::new();
    let mut next = reader.first_index();
    loop {
        let some = reader.entries(next, u64::MAX, 2000).unwrap();
        let Some(last) = some.last() else { return records };
        next = last.index() + 1;
        records.extend(some);
    }
}
