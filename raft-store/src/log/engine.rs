//! Brings jobs to the writer and tasks to the background, on threads of their own or on the caller's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use std::{fmt, io};

use parking_lot::Mutex;

use super::background::{Background, Task};
use super::jobs::Job;
use super::marks::VoteFile;
use super::queue::{Queue, Taken};
use super::shared::Shared;
use super::writer::Writer;
use super::{Fault, WriterMode};

/// Queues and hands of one log.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    jobs: Arc<Queue<Job>>,
    tasks: Arc<Queue<Task>>,
    /// Set unless two threads do the work.
    hands: Option<Mutex<Hands>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Hands {
    writer: Writer,
    background: Background,
}

/// Brings a log's work about in place of its threads, with [`WriterMode::Manual`].
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// The log is open: this is its work from now on.
    fn begun(&self, work: LogWork);

    /// There may be something to do. Called with locks held: take note, and do it later.
    fn queued(&self);
}

/// The work of one log. Outlives the log; there is none then.
#[derive(Debug, Clone)]
pub struct LogWork(Weak<Engine>);

impl LogWork {
    /// Writes one group of what is queued, as the writer's thread would; true if there was any.
    pub fn write_group(&self) -> bool {
        let Some(engine) = self.0.upgrade() else { return false };
        let Some(hands) = &engine.hands else { return false };
        let jobs = engine.jobs.take(engine.shared.options.group_bytes_max, Job::size);
        let any = !jobs.is_empty();
        hands.lock().writer.run(jobs);
        any
    }

    /// Does one task of the background and what has come due, as the background's thread would; true if there was a task.
    pub fn do_background(&self) -> bool {
        let Some(engine) = self.0.upgrade() else { return false };
        let Some(hands) = &engine.hands else { return false };
        let tasks = engine.tasks.take(1, |_| 1);
        let any = !tasks.is_empty();
        let background = &mut hands.lock().background;
        tasks.into_iter().for_each(|task| background.run(task));
        background.tick(false);
        any
    }

    /// When [`LogWork::do_background`] has something to do although no task is queued.
    pub fn due(&self) -> Option<Instant> {
        let engine = self.0.upgrade()?;
        engine.hands.as_ref()?.lock().background.due()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({:?}, {:?})", self.shared.folder, self.shared.options.writer)
    }
}

impl Engine {
    pub(crate) fn start(shared: Arc<Shared>, vote: Option<VoteFile>) -> io::Result<Arc<Self>> {
        let (jobs, tasks) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&tasks), vote);
        let background = Background::new(Arc::clone(&shared));
        let (mut hands, mut threads) = (None, Vec::new());
        match shared.options.writer {
            WriterMode::Inline | WriterMode::Manual => hands = Some(Mutex::new(Hands { writer, background })),
            WriterMode::Thread => {
                let (queue, own) = (Arc::clone(&jobs), Arc::clone(&shared));
                let left = Arc::clone(&jobs);
                threads.push(spawn(
                    "log-writer",
                    &shared,
                    move || write_until_stopped(writer, &queue, &own),
                    move |fault| refuse_until_stopped(&left, |job: Job| job.refuse(fault)),
                )?);
                let (queue, left) = (Arc::clone(&tasks), Arc::clone(&tasks));
                threads.push(spawn(
                    "log-background",
                    &shared,
                    move || work_until_stopped(background, &queue),
                    move |fault| refuse_until_stopped(&left, |task: Task| task.refuse(fault)),
                )?);
            }
        }
        let engine = Arc::new(Self { shared, jobs, tasks, hands, threads: Mutex::new(threads) });
        if let Some(driver) = engine.driver() {
            driver.begun(LogWork(Arc::downgrade(&engine)));
        }
        Ok(engine)
    }

    fn driver(&self) -> Option<&Arc<dyn Driver>> {
        self.shared.options.driver.as_ref()
    }

    /// Queues jobs for the writer, in order and without others in between.
    pub(crate) fn submit(&self, jobs: Vec<Job>) {
        self.jobs.push(jobs);
        self.after_submit();
    }

    /// Queues a task for the background.
    pub(crate) fn submit_task(&self, task: Task) {
        self.tasks.push([task]);
        self.after_submit();
    }

    /// Lets the background look again at what is due.
    pub(crate) fn nudge(&self) {
        self.tasks.nudge();
        if let Some(driver) = self.driver() {
            driver.queued();
        }
    }

    fn after_submit(&self) {
        if self.shared.options.writer == WriterMode::Inline {
            self.run_all();
        }
        if let Some(driver) = self.driver() {
            driver.queued();
        }
    }

    /// Does everything that is queued; true if there was anything. With threads it is theirs to do.
    pub(crate) fn run_all(&self) -> bool {
        let mut any = false;
        // A call-back that submits more finds the hands taken; the loop below will see what it has queued.
        if let Some(mut hands) = self.hands.as_ref().and_then(Mutex::try_lock) {
            loop {
                let jobs = self.jobs.take(usize::MAX, Job::size);
                let tasks = self.tasks.take(usize::MAX, |_| 0);
                if jobs.is_empty() && tasks.is_empty() {
                    break;
                }
                any = true;
                hands.writer.run(jobs);
                tasks.into_iter().for_each(|task| hands.background.run(task));
            }
            hands.background.tick(true);
        }
        any
    }

    /// As [`Engine::run_all`], for the writer alone; the background falls behind.
    #[cfg(test)]
    pub(crate) fn run_writer_only(&self) {
        if let Some(hands) = &self.hands {
            hands.lock().writer.run(self.jobs.take(usize::MAX, Job::size));
        }
    }

    /// Does all queued work and ends the threads.
    pub(crate) fn stop(&self) {
        self.run_all();
        // The writer hands tasks to the background, so it goes first.
        let mut threads = std::mem::take(&mut *self.threads.lock()).into_iter();
        self.jobs.stop();
        if let Some(writer) = threads.next() {
            drop(writer.join());
        }
        self.tasks.stop();
        if let Some(background) = threads.next() {
            drop(background.join());
        }
    }
}

fn spawn(
    name: &'static str,
    shared: &Arc<Shared>,
    work: impl FnOnce() + Send + 'static,
    refuse: impl FnOnce(&Fault) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name(name.into()).spawn(move || {
        // A panic here would leave call-backs waiting for ever; as a sticky failure it stops the node.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            let fault = shared.fail(name, &io::Error::other("the thread panicked"));
            refuse(&fault);
        }
    })
}

/// Takes the place of a consumer that is gone: everything that waits or comes is told so.
fn refuse_until_stopped<T>(queue: &Queue<T>, refuse: impl Fn(T)) {
    loop {
        match queue.wait(usize::MAX, |_| 0, None) {
            Taken::Items(items) => items.into_iter().for_each(&refuse),
            Taken::Nothing => {}
            Taken::Stopped => return,
        }
    }
}

fn write_until_stopped(mut writer: Writer, queue: &Queue<Job>, shared: &Shared) {
    let size_max = shared.options.group_bytes_max;
    loop {
        match queue.wait(size_max, Job::size, None) {
            Taken::Items(jobs) => writer.run(jobs),
            Taken::Nothing => {}
            Taken::Stopped => return,
        }
    }
}

fn work_until_stopped(mut background: Background, queue: &Queue<Task>) {
    loop {
        match queue.wait(1, |_| 1, background.due()) {
            Taken::Items(tasks) => tasks.into_iter().for_each(|task| background.run(task)),
            Taken::Nothing => {}
            Taken::Stopped => return,
        }
        background.tick(false);
    }
}
