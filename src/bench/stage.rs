//! What all threads of a run share, and the run itself: threads that prepare, begin together and end together; a line of
//! progress each second; Ctrl-C ends it early.
//!
//! Each thread has a run-time, connections and figures of its own, so that a message costs no lock and wakes no other
//! thread.
//!
//! ```text
//! prepare ──all ready──> warm-up ──begin──> measured ──end──> what is in flight ends ──> figures
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::future::LocalBoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Barrier, mpsc};
use tokio_util::sync::CancellationToken;

use super::clock::{Clock, cpu_seconds, micros};
use super::gap::AckGap;
use crate::signals::Signals;

/// Exit code after a second Ctrl-C, as shells report an interrupt.
const INTERRUPTED: i32 = 130;
const FOR_EVER_US: u64 = u64::MAX;

/// What all threads of a run share.
#[derive(Debug)]
pub struct Stage {
    /// Time of the run.
    pub clock: Clock,
    /// Longest time without an ack.
    pub gap: AckGap,
    /// What the line of progress shows, of the whole run.
    pub counts: Counts,
    plan: Plan,
    ready: Barrier,
    times: OnceLock<Times>,
    /// Cancelled when the run ends, by its time or before.
    over: CancellationToken,
    /// The user ended it.
    interrupted: AtomicBool,
    cpu: Mutex<CpuMarks>,
}

/// How long a run takes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Before the measured part.
    pub warmup: Duration,
    /// The measured part; `None`: until [`Stage::end`].
    pub measured: Option<Duration>,
}

/// Messages so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// With an ack.
    pub acked: AtomicU64,
    /// Certainly not stored.
    pub failed: AtomicU64,
    /// Perhaps stored.
    pub unknown: AtomicU64,
    /// Arrived, without those that came again.
    pub received: AtomicU64,
}

impl Counts {
    /// Adds to one of the counts.
    pub fn add(count: &AtomicU64, messages: u64) {
        count.fetch_add(messages, Ordering::Relaxed);
    }

    /// Reads one of the counts.
    pub fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Times {
    start_us: u64,
    begin_us: u64,
    /// [`FOR_EVER_US`] until it is known.
    end_us: AtomicU64,
}

#[derive(Debug, Default)]
struct CpuMarks {
    begin: Option<f64>,
    end: Option<f64>,
}

/// Work of one thread: builds its future there.
pub type Work<T> = Box<dyn FnOnce(Arc<Stage>) -> LocalBoxFuture<'static, anyhow::Result<T>> + Send>;

impl Stage {
    /// A run of so many threads.
    pub fn new(plan: Plan, threads: usize) -> Arc<Stage> {
        Arc::new(Stage {
            clock: Clock::start(),
            gap: AckGap::default(),
            counts: Counts::default(),
            plan,
            ready: Barrier::new(threads),
            times: OnceLock::new(),
            over: CancellationToken::new(),
            interrupted: AtomicBool::new(false),
            cpu: Mutex::default(),
        })
    }

    /// Called by each thread when it is prepared: returns when all are, or the run has been ended. Not safe to drop.
    pub async fn prepared(&self) {
        tokio::select! {
            _ = self.ready.wait() => {}
            () = self.over.cancelled() => {}
        }
        self.times.get_or_init(|| {
            let start_us = self.clock.now_us();
            let begin_us = start_us + micros(self.plan.warmup);
            let end_us = match self.plan.measured {
                _ if self.over.is_cancelled() => start_us,
                Some(measured) => start_us + micros(self.plan.warmup + measured),
                None => FOR_EVER_US,
            };
            self.gap.begin(begin_us);
            if begin_us == start_us {
                self.cpu.lock().begin = Some(cpu_seconds());
            }
            Times { start_us, begin_us, end_us: end_us.into() }
        });
        if self.is_over() {
            // An end that came meanwhile found no times to change.
            self.end();
        }
    }

    fn times(&self) -> &Times {
        self.times.get().expect("asked for after all were prepared")
    }

    /// Start of the warm-up, µs since 1970.
    pub fn start_us(&self) -> u64 {
        self.times().start_us
    }

    /// Begin of the measured part, µs since 1970.
    pub fn begin_us(&self) -> u64 {
        self.times().begin_us
    }

    /// End of the measured part, µs since 1970; moves when the run is ended early.
    pub fn end_us(&self) -> u64 {
        self.times().end_us.load(Ordering::Relaxed)
    }

    /// Whether something of this time belongs to the measured part.
    pub fn measures(&self, time_us: u64) -> bool {
        (self.begin_us()..self.end_us()).contains(&time_us)
    }

    /// Ends the run now, unless it has ended before.
    pub fn end(&self) {
        // First, so that times that are made meanwhile are made for a run that is over: see `prepared`.
        self.over.cancel();
        if let Some(times) = self.times.get() {
            times.end_us.fetch_min(self.clock.now_us(), Ordering::Relaxed);
            self.cpu.lock().end.get_or_insert_with(cpu_seconds);
        }
    }

    /// Waits for the end of the run.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Claims that the run is over.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Claims that the user has ended it.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Length of the measured part, in seconds.
    pub fn seconds(&self) -> f64 {
        self.end_us().saturating_sub(self.begin_us()) as f64 / 1e6
    }

    /// CPU seconds of the process in the measured part.
    pub fn cpu_seconds(&self) -> f64 {
        let cpu = self.cpu.lock();
        cpu.begin.map_or(0.0, |begin| (cpu.end.unwrap_or_else(cpu_seconds) - begin).max(0.0))
    }

    /// Runs the work of all threads and gives their figures in order.
    ///
    /// # Errors
    /// The first thread's failure; the others are ended.
    pub fn run<T: Send + 'static>(
        self: &Arc<Stage>,
        runtime: &tokio::runtime::Runtime,
        work: Vec<Work<T>>,
    ) -> anyhow::Result<Vec<T>> {
        let (done, results) = mpsc::channel(work.len().max(1));
        let threads: Vec<_> = work
            .into_iter()
            .enumerate()
            .map(|(number, work)| {
                let (stage, done) = (self.clone(), done.clone());
                let body = move || {
                    // A panic ends the process in a release build; elsewhere the channel closes and tells.
                    let result = on_own_runtime(work, stage.clone());
                    if result.is_err() {
                        // The others look at the time only.
                        stage.end();
                    }
                    // The receiver waits for all.
                    let _ = done.try_send((number, result));
                };
                std::thread::Builder::new().name(format!("bench-{number}")).spawn(body)
            })
            .collect::<Result<_, _>>()
            .context("a thread can't be started")?;
        drop(done);
        let results = runtime.block_on(self.watch(results, threads.len()))?;
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread of the load panicked"))?;
        }
        Ok(results)
    }

    /// Collects the results; meanwhile shows progress, listens for Ctrl-C, and notes CPU time at begin and end.
    async fn watch<T>(
        &self,
        mut results: mpsc::Receiver<(usize, anyhow::Result<T>)>,
        count: usize,
    ) -> anyhow::Result<Vec<T>> {
        let mut signals = Signals::listen()?;
        let mut collected: Vec<(usize, T)> = Vec::with_capacity(count);
        let mut failure = None;
        let mut progress = Progress::default();
        loop {
            let pause = self.next_look();
            tokio::select! {
                result = results.recv() => match result {
                    Some((number, Ok(figures))) => collected.push((number, figures)),
                    Some((_, Err(error))) => failure = failure.or(Some(error)),
                    None => break,
                },
                () = tokio::time::sleep(pause) => self.look(&mut progress),
                _ = signals.next() => {
                    if self.is_over() {
                        std::process::exit(INTERRUPTED);
                    }
                    eprintln!("ending early");
                    self.interrupted.store(true, Ordering::Relaxed);
                    self.end();
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if collected.len() != count {
            return Err(anyhow!("a thread of the load panicked"));
        }
        collected.sort_by_key(|(number, _)| *number);
        Ok(collected.into_iter().map(|(_, figures)| figures).collect())
    }

    /// Time until something must be looked at: begin, end, or the next full second.
    fn next_look(&self) -> Duration {
        let Some(times) = self.times.get() else { return Duration::from_millis(20) };
        let now_us = self.clock.now_us();
        let second = 1_000_000 - (now_us - times.start_us) % 1_000_000;
        let end_us = Some(times.end_us.load(Ordering::Relaxed)).filter(|_| !self.is_over());
        let until = |time_us: u64| time_us.checked_sub(now_us);
        let pauses = [Some(second), until(times.begin_us), end_us.and_then(until)];
        Duration::from_micros(pauses.into_iter().flatten().filter(|pause| *pause > 0).min().unwrap_or(second))
    }

    /// What the clock says must be done.
    fn look(&self, progress: &mut Progress) {
        let Some(times) = self.times.get() else { return };
        let now_us = self.clock.now_us();
        if now_us >= times.begin_us {
            self.cpu.lock().begin.get_or_insert_with(cpu_seconds);
        }
        if now_us >= times.end_us.load(Ordering::Relaxed) && !self.is_over() {
            self.end();
        }
        progress.show(self, now_us - times.start_us, times.begin_us - times.start_us);
    }
}

fn on_own_runtime<T>(work: Work<T>, stage: Arc<Stage>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the run-time can't be started")?;
    let figures = tokio::task::LocalSet::new().block_on(&runtime, work(stage));
    runtime.shutdown_background();
    figures
}

/// The line of each second, on standard error.
#[derive(Debug, Default)]
struct Progress {
    second: u64,
    messages: u64,
}

impl Progress {
    fn show(&mut self, stage: &Stage, elapsed_us: u64, warmup_us: u64) {
        let second = elapsed_us / 1_000_000;
        if second <= self.second {
            return;
        }
        let counts = &stage.counts;
        let (acked, received) = (Counts::get(&counts.acked), Counts::get(&counts.received));
        let (failed, unknown) = (Counts::get(&counts.failed), Counts::get(&counts.unknown));
        let messages = acked.max(received);
        let rate = (messages - self.messages.min(messages)) / (second - self.second);
        // Of the second that the line is about.
        let part = if self.second * 1_000_000 < warmup_us { " warm-up" } else { "" };
        let mut line = format!("{second:>4} s{part}  {rate} messages/s");
        for (name, count) in
            [("acked", acked), ("received", received), ("failed", failed), ("unknown", unknown)]
        {
            if count > 0 {
                line.push_str(&format!("  {name} {count}"));
            }
        }
        eprintln!("{line}");
        (self.second, self.messages) = (second, messages);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use futures::FutureExt;

    use super::*;

    /// Works as senders do: until the end of the measured part, whatever is cancelled.
    async fn until_the_end(stage: Arc<Stage>) -> anyhow::Result<()> {
        stage.prepared().await;
        while stage.clock.now_us() < stage.end_us() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn run(plan: Plan, failing: Work<()>) -> (anyhow::Result<Vec<()>>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let began = Instant::now();
        let sender: Work<()> = Box::new(|stage| until_the_end(stage).boxed_local());
        let outcome = Stage::new(plan, 2).run(&runtime, vec![sender, failing]);
        (outcome, began.elapsed())
    }

    #[test]
    fn a_thread_that_fails_ends_those_that_look_at_the_time() {
        let plan = Plan { warmup: Duration::ZERO, measured: Some(Duration::from_secs(40)) };
        let late: Work<()> = Box::new(|stage| {
            async move {
                stage.prepared().await;
                Err(anyhow!("planted"))
            }
            .boxed_local()
        });
        let early: Work<()> = Box::new(|_| async { Err(anyhow!("planted")) }.boxed_local());
        for failing in [late, early] {
            let (outcome, took) = run(plan, failing);
            assert_eq!(outcome.unwrap_err().to_string(), "planted");
            assert!(took < Duration::from_secs(20), "{took:?}");
        }
    }

    #[test]
    fn the_first_end_stays() {
        let plan = Plan { warmup: Duration::ZERO, measured: None };
        let stage = Stage::new(plan, 1);
        stage.prepared().now_or_never().unwrap();
        stage.end();
        let (end_us, cpu_seconds) = (stage.end_us(), stage.cpu_seconds());
        while stage.clock.now_us() <= end_us {}
        stage.end();
        assert_eq!((stage.end_us(), stage.cpu_seconds().to_bits()), (end_us, cpu_seconds.to_bits()));
    }
}
