//! Whole groups under virtual time and a simulated network, in one thread.
//!
//! The real replicas of `raft-store`, with the broker's own tables as their machine, run on disks in memory that lose, tear and
//! reorder what was not synced, and on a network that delays, cuts and resets. The broker's own registrars tell real name servers
//! of them, frame by frame, and its own parts keep the members of consumer groups. A seed decides everything: settings, delays,
//! the order of steps, what clients do, which faults happen. After a phase with faults all of them end, and the group must
//! come to life in bounded time. The [`invariants`] are looked at all along.
//!
//! ```text
//! sweep ── a process per run ── run ─┬─ plan, faults: drawn from the seed
//!                                    ├─ world: one millisecond for each host after the other
//!                                    │    host: runtime with a paused clock, replica, hands (disk), workload (clients), registrars,
//!                                    │          membership of consumer groups
//!                                    │    names: name servers, registry and warm-up, which forget all with their process
//!                                    │    consumers: introduce themselves to hosts, come and go
//!                                    │    net: pipes between hosts, and between them, name servers and consumers
//!                                    ├─ judge: history, invariants
//!                                    └─ trace: what happened, as one number
//! ```
//! Where determinism comes from: one thread; runtimes with paused clocks; no thread pool (see `raft-store`'s `Hands`); and a
//! C library that tells only what [`surface`] lets it. A seed counts only when two runs of it give the same trace.

use std::panic;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

pub mod consumers;
pub mod faults;
pub mod hands;
pub mod history;
pub mod host;
pub mod invariants;
pub mod judge;
pub mod liveness;
pub mod machine;
pub mod membership;
pub mod message;
pub mod mutants;
pub mod name_faults;
pub mod name_server;
pub mod names;
pub mod net;
pub mod outcome;
pub mod party;
pub mod plan;
pub mod random;
pub mod registering;
pub mod surface;
pub mod sweep;
pub mod trace;
pub mod workload;
pub mod world;

pub use outcome::Outcome;

use faults::Faults;
use judge::{Judge, SharedJudge};
use mutants::Mutant;
use name_faults::NameFaults;
use plan::Plan;
use random::Random;
use world::World;

/// How a seed is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Virtual seconds with faults.
    pub seconds: u64,
    /// The trace is written here.
    pub trace: Option<PathBuf>,
    /// A fault that the product is given.
    pub mutant: Option<Mutant>,
    /// Filter for the nodes' own log lines, which go to standard error.
    pub log: Option<String>,
}

/// Runs one seed. A process can do that once.
///
/// # Panics
/// The program does not answer for clock and entropy, or a simulation has run here before.
pub fn run(seed: u64, options: &RunOptions) -> Outcome {
    // Before the simulation begins: otherwise its own hash maps would change what the run draws.
    if let Some(filter) = &options.log {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        lines.with_timer(outcome::VirtualTime).init();
    }
    let options = options.clone();
    // A thread of its own: its hash maps, generators and ids begin where those of every other run begin.
    let run = move || {
        surface::begin(seed);
        mutants::within(options.mutant, || simulate(seed, &options))
    };
    let thread = std::thread::Builder::new().name("simulation".into()).stack_size(16 << 20);
    match thread.spawn(run).map(std::thread::JoinHandle::join) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::failed(seed, "the simulation itself has panicked".into()),
        Err(error) => Outcome::failed(seed, format!("no thread: {error}")),
    }
}

fn simulate(seed: u64, options: &RunOptions) -> Outcome {
    if let Some(path) = &options.trace
        && let Err(error) = trace::write_to(path)
    {
        return Outcome::failed(seed, format!("{}: {error}", path.display()));
    }
    let judge = SharedJudge::new(Mutex::new(Judge::default()));
    let panicked = Arc::new(Mutex::new(None));
    note_panics(seed, &panicked);
    let mut random = Random::new(seed);
    let plan = Plan::draw(&mut random);
    say!("seed {seed} {plan:?}");
    let mut faults = Faults::new(random.fork());
    let group = random.fork();
    let mut world = World::new(plan, group, random.fork(), Arc::clone(&judge), options.mutant);
    let mut name_faults = NameFaults::new(random.fork());
    while world.now_ms() < options.seconds * 1000 && world.violation().is_none() {
        faults.step(&mut world);
        let now_ms = world.now_ms();
        name_faults.step(&world.plan, &mut world.names, now_ms);
        world.step();
        take_panic(&panicked, &judge);
    }
    if world.violation().is_none() {
        say!("faults end");
        faults.heal_all(&mut world);
        name_faults.heal_all(&world.plan, &mut world.names);
        world.end_faults();
        let converged = liveness::converge(&mut world);
        take_panic(&panicked, &judge);
        let mut judge = judge.lock();
        judge.check(converged);
        let verdict = judge.has_heard();
        judge.check(verdict);
    }
    Outcome::of(seed, &world)
}

/// A panic inside a node's task ends only the task; here it is a finding. Where it ends the process, as in release builds, the
/// outcome is told before.
fn note_panics(seed: u64, panicked: &Arc<Mutex<Option<String>>>) {
    let panicked = Arc::clone(panicked);
    panic::set_hook(Box::new(move |information| {
        let place = information.location().map(ToString::to_string).unwrap_or_default();
        let what = information.payload_as_str().unwrap_or("?");
        let what = format!("panic at {place}: {what}");
        if cfg!(panic = "abort") {
            let line = Outcome::failed(seed, what.clone()).to_line();
            // Nobody is left to tell when even this fails.
            std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).ok();
        }
        panicked.lock().get_or_insert(what);
    }));
}

fn take_panic(panicked: &Mutex<Option<String>>, judge: &SharedJudge) {
    if let Some(what) = panicked.lock().take() {
        judge.lock().check(Err(what));
    }
}
