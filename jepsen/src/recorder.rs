//! Writes a history while it happens: one line an operation, numbered and timed in the order of the calls.
//!
//! A line gets its number and its time under one lock and goes to a thread that owns the file, through a bounded queue.
//! Whoever records waits while the queue is full. An `invoke` must be recorded before the request leaves, the outcome
//! after the answer came: then each operation lies between its two times.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use parking_lot::Mutex;

use crate::history::{Act, Fault, Kind, Process, Writer};

/// Lines that wait for the file: some seconds of the fastest workload.
const LINES_WAITING_MAX: usize = 16_384;

/// Records a history; cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    state: Mutex<State>,
    processes: AtomicU32,
    broken: AtomicBool,
    counts: Counts,
}

#[derive(Debug)]
struct State {
    last_time: u64,
    lines: Option<SyncSender<Line>>,
    writer: Option<JoinHandle<std::io::Result<()>>>,
}

/// A line before it has its number.
#[derive(Debug)]
struct Line {
    time: u64,
    process: Process,
    kind: Kind,
    act: Act,
    error: Option<String>,
}

/// What happened so far, for the progress line.
#[derive(Debug, Default)]
pub struct Counts {
    /// Operations of clients that were done.
    pub ok: AtomicU64,
    /// Operations that certainly were not done.
    pub fail: AtomicU64,
    /// Operations whose outcome is not known.
    pub info: AtomicU64,
    /// Sends that were acknowledged.
    pub acked: AtomicU64,
    /// Messages that listeners were given.
    pub consumed: AtomicU64,
    /// Nanoseconds since the run began when something that a client wrote was acknowledged last.
    pub last_ack: AtomicU64,
}

impl Recorder {
    /// Begins a history in a new file; its time starts now.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create(path: &Path) -> anyhow::Result<Recorder> {
        let file = File::create_new(path).with_context(|| format!("history {}", path.display()))?;
        let (lines, waiting) = sync_channel(LINES_WAITING_MAX);
        let writer =
            std::thread::Builder::new().name("history".into()).spawn(move || write(file, &waiting))?;
        let state = State { last_time: 0, lines: Some(lines), writer: Some(writer) };
        Ok(Recorder {
            inner: Arc::new(Inner {
                began: Instant::now(),
                state: Mutex::new(state),
                processes: AtomicU32::new(0),
                broken: AtomicBool::new(false),
                counts: Counts::default(),
            }),
        })
    }

    /// Time since the run began.
    pub fn now(&self) -> Duration {
        self.inner.began.elapsed()
    }

    /// What happened so far.
    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Claims that the file could not be written: the history is of no use any more.
    pub fn is_broken(&self) -> bool {
        self.inner.broken.load(Ordering::Relaxed)
    }

    /// A client with a number of its own.
    pub fn session(&self) -> Session {
        Session { recorder: self.clone(), process: self.next_process() }
    }

    /// What the nemesis does.
    pub fn fault(&self, kind: Kind, fault: Fault, error: Option<String>) {
        self.record(Process::NEMESIS, kind, Act::Fault(fault), error);
    }

    /// Something that the harness found when it looked, begun and ended at once.
    pub fn inspected(&self, what: &str, outcome: Result<String, String>) {
        let act = |found| Act::Inspect { what: what.to_owned(), found };
        self.record(Process::NEMESIS, Kind::Invoke, act(String::new()), None);
        match outcome {
            Ok(found) => self.record(Process::NEMESIS, Kind::Ok, act(found), None),
            Err(found) => self.record(Process::NEMESIS, Kind::Fail, act(found), None),
        }
    }

    /// Something that the harness wanted to look at and could not.
    pub fn not_inspected(&self, what: &str, why: impl std::fmt::Display) {
        let act = || Act::Inspect { what: what.to_owned(), found: String::new() };
        self.record(Process::NEMESIS, Kind::Invoke, act(), None);
        self.record(Process::NEMESIS, Kind::Info, act(), Some(why.to_string()));
    }

    /// The end of a workload's writes to a topic.
    pub fn drained(&self, topic: &str) {
        let act = || Act::Drained { topic: topic.to_owned() };
        self.record(Process::NEMESIS, Kind::Invoke, act(), None);
        self.record(Process::NEMESIS, Kind::Ok, act(), None);
    }

    /// Ends the history; later lines are lost. Waits until all is in the file.
    ///
    /// # Errors
    /// A line could not be written.
    pub fn finish(&self) -> anyhow::Result<()> {
        let writer = {
            let mut state = self.inner.state.lock();
            state.lines = None;
            state.writer.take()
        };
        let Some(writer) = writer else { return Ok(()) };
        let written = writer.join().map_err(|_| anyhow!("the history's thread panicked"))?;
        written.context("the history can't be written")
    }

    fn next_process(&self) -> u32 {
        self.inner.processes.fetch_add(1, Ordering::Relaxed)
    }

    fn record(&self, process: Process, kind: Kind, act: Act, error: Option<String>) {
        self.count(process, kind, &act);
        let mut state = self.inner.state.lock();
        let Some(lines) = state.lines.clone() else { return };
        let now = u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX);
        let time = now.max(state.last_time);
        if lines.send(Line { time, process, kind, act, error }).is_err() {
            self.inner.broken.store(true, Ordering::Relaxed);
        }
        state.last_time = time;
    }

    fn count(&self, process: Process, kind: Kind, act: &Act) {
        let counts = &self.inner.counts;
        match (process, kind) {
            (Process::Nemesis(_), _) => {}
            (Process::Client(_), Kind::Invoke) => {
                if matches!(act, Act::Consume { .. }) {
                    counts.consumed.fetch_add(1, Ordering::Relaxed);
                }
            }
            (Process::Client(_), Kind::Ok) => {
                counts.ok.fetch_add(1, Ordering::Relaxed);
                if matches!(act, Act::Send { .. }) {
                    counts.acked.fetch_add(1, Ordering::Relaxed);
                }
                if matches!(
                    act,
                    Act::Send { .. }
                        | Act::CommitOffset { .. }
                        | Act::SetTopic { .. }
                        | Act::DeleteTopic { .. }
                ) {
                    let now = u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX);
                    counts.last_ack.fetch_max(now, Ordering::Relaxed);
                }
            }
            (Process::Client(_), Kind::Fail) => {
                counts.fail.fetch_add(1, Ordering::Relaxed);
            }
            (Process::Client(_), Kind::Info) => {
                counts.info.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn write(file: File, lines: &Receiver<Line>) -> std::io::Result<()> {
    let mut writer = Writer::new(BufWriter::with_capacity(256 * 1024, file));
    while let Ok(Line { time, process, kind, act, error }) = lines.recv() {
        writer.append(time, process, kind, act, error)?;
    }
    writer.flush()
}

/// One client of a history, which does one operation at a time.
///
/// After an outcome that is not known it goes on under a new number: the operation may yet take effect, so the old
/// number never does anything again.
#[derive(Debug)]
pub struct Session {
    recorder: Recorder,
    process: u32,
}

impl Session {
    /// An operation begins.
    pub fn invoke(&self, act: Act) {
        self.record(Kind::Invoke, act, None);
    }

    /// It was done.
    pub fn ok(&self, act: Act) {
        self.record(Kind::Ok, act, None);
    }

    /// It was certainly not done.
    pub fn fail(&self, act: Act, error: impl std::fmt::Display) {
        self.record(Kind::Fail, act, Some(error.to_string()));
    }

    /// Nobody knows.
    pub fn info(&mut self, act: Act, error: impl std::fmt::Display) {
        self.record(Kind::Info, act, Some(error.to_string()));
        self.process = self.recorder.next_process();
    }

    fn record(&self, kind: Kind, act: Act, error: Option<String>) {
        self.recorder.record(Process::Client(self.process), kind, act, error);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::history::Op;

    fn read(offset: Option<u64>) -> Act {
        Act::ReadOffset { group: "g".into(), topic: "t".into(), queue: 0, offset }
    }

    #[test]
    fn lines_are_dense_and_in_time_and_an_unknown_outcome_ends_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let mut sessions: Vec<Session> = (0..4).map(|_| recorder.session()).collect();
        std::thread::scope(|scope| {
            for session in &mut sessions {
                scope.spawn(move || {
                    for round in 0..50 {
                        session.invoke(read(None));
                        match round % 3 {
                            0 => session.ok(read(Some(round))),
                            1 => session.fail(read(None), "refused"),
                            _ => session.info(read(None), "no answer"),
                        }
                    }
                });
            }
        });
        recorder.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let ops: Vec<Op> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(ops.len(), 400);
        let mut ended = std::collections::HashSet::new();
        for (index, pair) in ops.windows(2).enumerate() {
            assert_eq!(pair[0].index, index as u64);
            assert!(pair[0].time <= pair[1].time);
        }
        for op in &ops {
            assert!(!ended.contains(&op.process), "{op:?}");
            if op.kind == Kind::Info {
                ended.insert(op.process);
            }
        }
        assert_eq!(recorder.counts().info.load(Ordering::Relaxed), 64);
    }
}
