//! A host: a disk, a process that may run on it, and a place in the network.
//!
//! Each process has a runtime of its own with a paused clock, which the world moves on by one millisecond after the other.
//! Killing the process is dropping the runtime. A process that is stopped (SIGSTOP) is not moved on; when it goes on its clock
//! jumps.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use flotilla_broker::membership::Sessions;
use flotilla_raft_store::net::Network;
use flotilla_raft_store::raft::{
    Hands, Leadership, PeerService, Remains, Replica, ReplicaOptions, Role, StartError, Status,
};
use flotilla_raft_store::vfs::{Fault, Loss, MemVfs};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::hands::SlowHands;
use crate::judge::SharedJudge;
use crate::machine::{SharedTables, TailStamper, WatchedMachine};
use crate::membership;
use crate::mutants::{self, Mutant};
use crate::names::Names;
use crate::net::Wires;
use crate::party::Spokesman;
use crate::random::Random;
use crate::registering::Registrars;
use crate::surface;
use crate::workload::{self, Habits};

/// The folder of every replica, on a disk of its own.
pub const DIR: &str = "/node";

/// What a drawn disk error is: of a kind that nothing else in a run has, so that a replica's reason for stopping tells whether it
/// was this.
const DISK_ERROR: ErrorKind = ErrorKind::StaleNetworkFileHandle;

/// A host.
pub struct Host {
    /// Number in the group.
    pub index: usize,
    /// What is on its disk.
    pub disk: MemVfs,
    /// How far its wall clock is off.
    pub wall_shift_ms: i64,
    /// The process is stopped until then.
    pub stopped_until_ms: Option<u64>,
    /// The first operation of this process's disk for which an error was drawn.
    disk_error_at: Option<u64>,
    /// No process until then.
    pub down_until_ms: Option<u64>,
    process: Option<Process>,
}

/// A running process.
struct Process {
    runtime: Runtime,
    /// The runtime's clock at its start, and when that was.
    epoch: (Instant, u64),
    now_ms: u64,
    hands: SlowHands,
    tables: SharedTables,
    outcome: Arc<Mutex<Option<Result<Running, StartError>>>>,
    running: Option<Running>,
}

/// A started replica.
pub struct Running {
    /// Its handle.
    pub replica: Replica<()>,
    /// Those who tell name servers of it.
    registrars: Arc<Registrars>,
    /// Clients that are connected to it.
    sessions: Arc<Sessions>,
    /// Its log, once the runtime is gone.
    remains: Remains,
    status: watch::Receiver<Status>,
    leadership: watch::Receiver<Leadership>,
}

impl Running {
    /// The newest status.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Ids of the consumers that are connected.
    pub fn consumers(&self) -> Vec<Arc<str>> {
        self.sessions.consumers().into_iter().map(|(_, client_id)| client_id).collect()
    }

    /// The part played now, its term, and whether a majority has confirmed it within the lease.
    pub fn part(&self) -> (Role, u64, bool) {
        let status = self.status.borrow();
        (status.role, status.term, status.lease_valid())
    }

    /// The part played, if that changed since the last call.
    pub fn new_leadership(&mut self) -> Option<Leadership> {
        self.leadership.has_changed().ok().filter(|changed| *changed)?;
        Some(*self.leadership.borrow_and_update())
    }
}

/// Nobody opens application streams here.
struct NoStreams;

impl PeerService for NoStreams {
    fn accept(&self, _: u64, _: std::net::TcpStream) {}
}

/// What a process finds around it.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The network between replicas.
    pub wires: &'a Wires,
    /// Name servers and the network to them.
    pub names: &'a Names,
    /// Who judges.
    pub judge: &'a SharedJudge,
    /// How clients behave.
    pub habits: &'a Habits,
    /// A fault of the product.
    pub mutant: Option<Mutant>,
}

/// What became of a process after a step.
pub enum Stepped {
    /// It runs, or starts, or there is none.
    Fine,
    /// The power went in the middle of it.
    PowerLost,
    /// The replica has stopped by itself or did not start; the reason.
    Failed(String),
}

impl Host {
    /// A host with an empty disk and no process.
    pub fn new(index: usize) -> Self {
        Self {
            index,
            disk: MemVfs::new(),
            wall_shift_ms: 0,
            stopped_until_ms: None,
            disk_error_at: None,
            down_until_ms: None,
            process: None,
        }
    }

    /// True while there is a process.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The replica, once it has started.
    pub fn running(&self) -> Option<&Running> {
        self.process.as_ref()?.running.as_ref()
    }

    /// As [`Host::running`].
    pub fn running_mut(&mut self) -> Option<&mut Running> {
        self.process.as_mut()?.running.as_mut()
    }

    /// The replica's tables.
    pub fn tables(&self) -> Option<&SharedTables> {
        self.process.as_ref().map(|process| &process.tables)
    }

    /// Lets a file operation fail, so many after the next one.
    pub fn fail_operation_after(&mut self, count: u64) {
        let operation = self.disk.operations() + count;
        self.disk.arm(Fault::Error { operation, kind: DISK_ERROR });
        self.disk_error_at = Some(self.disk_error_at.map_or(operation, |first| first.min(operation)));
    }

    /// True when a drawn error has met the disk and is what the replica stopped for.
    pub fn is_excused(&self, reason: &str) -> bool {
        self.has_failed() && reason.contains(&DISK_ERROR.to_string())
    }

    fn has_failed(&self) -> bool {
        self.disk_error_at.is_some_and(|operation| operation < self.disk.operations())
    }

    /// What still waits for an operation of the disk's does not happen. An error that has met it stays what a replica may stop for.
    pub fn disarm(&mut self) {
        self.disk.disarm();
        if !self.has_failed() {
            self.disk_error_at = None;
        }
    }

    /// What was drawn for the disk ends, whether it has happened or not: another process goes on with it.
    pub fn forget_disk_faults(&mut self) {
        self.disk.disarm();
        self.disk_error_at = None;
    }

    /// The disk hangs until then.
    pub fn stall_disk_until(&self, until_ms: u64) {
        if let Some(process) = &self.process {
            process.hands.stall_until(until_ms);
        }
    }

    /// Starts a process.
    pub fn start(&mut self, mut options: ReplicaOptions, around: Around<'_>, mut random: Random) {
        let Around { wires, names, judge, habits, mutant } = around;
        assert!(self.process.is_none(), "n{} has a process", self.index);
        self.down_until_ms = None;
        self.stopped_until_ms = None;
        surface::set_wall_shift_ms(self.wall_shift_ms);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without drivers of the system's");
        let hands = SlowHands::new(habits.write_ms_max, random.fork());
        options.network = Network::Other(Arc::new(wires.plug_in(self.index)));
        options.hands = Hands::Driven(Arc::new(hands.clone()));
        let (machine, tables) = WatchedMachine::new(self.index, Arc::clone(judge), mutant);
        let outcome = Arc::new(Mutex::new(None));
        let start = {
            let (disk, outcome) = (mutants::disk(mutant, &self.disk), Arc::clone(&outcome));
            let (index, hosts) = (self.index, options.peers.len());
            let (plug, post) = (names.wires.plug_in(index), names.post.clone());
            let (tables, topics) = (Arc::clone(&tables), machine.topics());
            let client = workload::Client {
                host: self.index,
                judge: Arc::clone(judge),
                habits: habits.clone(),
                tables: Arc::clone(&tables),
                random,
                mutant,
            };
            async move {
                let stamper = Box::new(TailStamper::new(mutant));
                let started = Replica::start_here(options, disk, machine, stamper, Arc::new(NoStreams)).await;
                let running = started.map(|(replica, remains)| {
                    tokio::spawn(client.run(replica.clone()));
                    let party = Spokesman::new(replica.clone(), tables);
                    let place = (index, &plug);
                    let registrars = Registrars::begin(place, party.clone(), topics, &post, mutant);
                    let sessions = membership::begin(place, hosts, party, mutant);
                    let (status, leadership) = (replica.status(), replica.leadership());
                    Running { replica, registrars, sessions, remains, status, leadership }
                });
                *outcome.lock() = Some(running);
            }
        };
        let epoch = runtime.block_on(async { Instant::now() });
        runtime.spawn(start);
        let now_ms = surface::now_ms();
        self.process =
            Some(Process { runtime, epoch: (epoch, now_ms), now_ms, hands, tables, outcome, running: None });
    }

    /// Asks the replica to stop in order; with `patience` it says goodbye to the name servers before.
    pub fn ask_to_stop(&self, patience: Option<Duration>) {
        let Some((process, running)) =
            self.process.as_ref().and_then(|process| Some((process, process.running.as_ref()?)))
        else {
            return;
        };
        let replica = running.replica.clone();
        match patience {
            None => replica.begin_stop(),
            Some(patience) => {
                let registrars = Arc::clone(&running.registrars);
                process.runtime.spawn(async move {
                    registrars.leave(patience).await;
                    replica.begin_stop();
                });
            }
        }
    }

    /// Moves the process on to `now_ms`, unless it is stopped.
    pub fn step(&mut self, now_ms: u64) -> Stepped {
        if self.stopped_until_ms.is_some_and(|until_ms| now_ms < until_ms) {
            return Stepped::Fine;
        }
        self.stopped_until_ms = None;
        let Some(process) = &mut self.process else { return Stepped::Fine };
        surface::set_wall_shift_ms(self.wall_shift_ms);
        let behind_ms = now_ms - process.now_ms;
        let deadline = process.epoch.0 + Duration::from_millis(now_ms - process.epoch.1);
        process.runtime.block_on(async {
            if behind_ms > 1 {
                tokio::time::advance(Duration::from_millis(behind_ms - 1)).await;
            }
            tokio::time::sleep_until(deadline).await;
        });
        process.now_ms = now_ms;
        if self.disk.is_off() {
            return Stepped::PowerLost;
        }
        match process.outcome.lock().take() {
            Some(Ok(running)) => process.running = Some(running),
            Some(Err(error)) => return Stepped::Failed(format!("does not start: {error}")),
            None => {}
        }
        match process.running.as_ref().map(|running| running.status.borrow()) {
            Some(status) if status.role == Role::Stopped => {
                Stepped::Failed(status.waiting_for.clone().unwrap_or_default())
            }
            _ => Stepped::Fine,
        }
    }

    /// Ends the process at once; the page cache stays.
    pub fn kill(&mut self) {
        let left = self.disk.restart(Loss::Nothing);
        self.end(left);
    }

    /// The machine loses power; what was not synced meets its fate.
    pub fn lose_power(&mut self, loss: Loss) {
        self.disk.power_off();
        let left = self.disk.restart(loss);
        self.end(left);
    }

    /// Drops the process. What it still does to the old disk while it goes is not on the one that is left.
    fn end(&mut self, left: MemVfs) {
        self.disk.power_off();
        self.disk = left;
        self.disk_error_at = None;
        self.stopped_until_ms = None;
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Ends a process that has stopped in order, as [`Replica::stop`] does; the log is closed.
    ///
    /// # Errors
    /// The log could not be closed.
    pub fn leave(&mut self) -> Result<(), String> {
        let Some(process) = self.process.take() else { return Ok(()) };
        self.stopped_until_ms = None;
        match process.end() {
            Some(remains) => remains.close().map_err(|error| format!("the log was not closed: {error}")),
            None => Ok(()),
        }
    }
}

impl Process {
    /// Ends the runtime with all its tasks. What they still do is the network's and the disk's to ignore.
    fn end(self) -> Option<Remains> {
        let Process { runtime, running, outcome, .. } = self;
        drop(runtime);
        let started = outcome.lock().take().and_then(Result::ok);
        running.or(started).map(|running| running.remains)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use flotilla_raft_store::vfs::{OpenMode, Vfs};

    use super::*;

    #[test]
    fn only_an_error_that_was_drawn_and_has_happened_excuses_and_only_what_names_it() {
        let mut host = Host::new(0);
        host.disk.create_dir_all(Path::new("/d")).expect("no fault");
        let create = |host: &Host, name| host.disk.open(Path::new(name), OpenMode::CreateNew).map(drop);
        assert!(!host.is_excused(&DISK_ERROR.to_string()), "none was drawn");
        host.fail_operation_after(1);
        host.fail_operation_after(7);
        create(&host, "/d/one").expect("the error is for the next one");
        let waiting = format!("writing the log: {DISK_ERROR}");
        assert!(!host.is_excused(&waiting));
        let error = create(&host, "/d/two").expect_err("drawn").to_string();
        assert!(host.is_excused(&format!("writing the log: {error}")));
        assert!(!host.is_excused("entry 7 cannot be stamped"), "another reason");
        host.disarm();
        create(&host, "/d/three").expect("nothing waits any more");
        assert!(host.is_excused(&error), "what has happened may be noticed later");
        host.kill();
        assert!(!host.is_excused(&error), "another process has met no error");
        host.fail_operation_after(0);
        host.disarm();
        create(&host, "/d/four").expect("it was taken back");
        assert!(!host.is_excused(&error), "taken back before it happened");
    }
}
