//! Many seeds: each run is a process of its own, each seed is run twice, and only equal traces count.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use parking_lot::Mutex;

use crate::Outcome;
use crate::mutants::Mutant;

/// A run that takes longer in real time hangs.
const RUN_MAX: Duration = Duration::from_secs(180);
/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// How many seeds.
    pub seeds: u64,
    /// The first.
    pub from: u64,
    /// Stop after so much real time.
    pub minutes: Option<u64>,
    /// Virtual seconds with faults in each run.
    pub seconds: u64,
    /// Processes at a time.
    pub jobs: usize,
    /// Each seed is run twice.
    pub twice: bool,
    /// No seed begins after the first finding.
    pub until_found: bool,
    /// The product is given this fault.
    pub mutant: Option<Mutant>,
    /// What is found is appended here.
    pub findings: Option<PathBuf>,
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    virtual_ms: u64,
    entries: u64,
    messages: u64,
    terms: u64,
    starts: u64,
    findings: Vec<String>,
    told: Option<Instant>,
}

/// Runs them all; fails if there were findings.
pub fn run(sweep: &Sweep) -> ExitCode {
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(sweep.from));
    let totals = Arc::new(Mutex::new(Totals::default()));
    let workers: Vec<_> = (0..sweep.jobs.max(1))
        .map(|_| {
            let (sweep, next, totals) = (sweep.clone(), Arc::clone(&next), Arc::clone(&totals));
            std::thread::spawn(move || work(&sweep, &next, &totals, begun))
        })
        .collect();
    for worker in workers {
        if worker.join().is_err() {
            tell("a worker has panicked");
            return ExitCode::FAILURE;
        }
    }
    let totals = totals.lock();
    tell(&totals.line(begun));
    if totals.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(sweep: &Sweep, next: &AtomicU64, totals: &Mutex<Totals>, begun: Instant) {
    loop {
        let out_of_time =
            sweep.minutes.is_some_and(|minutes| begun.elapsed() > Duration::from_secs(60 * minutes));
        let found = sweep.until_found && !totals.lock().findings.is_empty();
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if out_of_time || found || seed >= sweep.from + sweep.seeds {
            return;
        }
        let finding = judge(sweep, seed, totals);
        let mut totals = totals.lock();
        totals.seeds += 1;
        if let Some(what) = finding {
            let again = sweep.arguments_of(seed).join(" ");
            let line =
                format!("seed {seed}: {what}\n  again: flotilla-sim {again} --trace /tmp/trace-{seed}");
            tell(&line);
            if let Some(path) = &sweep.findings {
                let file = OpenOptions::new().create(true).append(true).open(path);
                if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
                    tell(&format!("{}: {error}", path.display()));
                }
            }
            totals.findings.push(line);
        }
        if totals.told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            totals.told = Some(Instant::now());
            tell(&totals.line(begun));
        }
    }
}

/// Runs a seed; what was found, if anything.
fn judge(sweep: &Sweep, seed: u64, totals: &Mutex<Totals>) -> Option<String> {
    let first = match run_once(sweep, seed) {
        Ok(outcome) => outcome,
        Err(what) => return Some(what),
    };
    if sweep.twice {
        match run_once(sweep, seed) {
            Ok(second) if second == first => {}
            Ok(second) => {
                return Some(format!(
                    "NOT DETERMINISTIC: traces {:016x} and {:016x} ({:?}, {:?})",
                    first.trace, second.trace, first.violation, second.violation
                ));
            }
            Err(what) => return Some(format!("NOT DETERMINISTIC: the second run: {what}")),
        }
    }
    let mut totals = totals.lock();
    totals.virtual_ms += first.virtual_ms;
    totals.entries += first.entries;
    totals.messages += first.messages;
    totals.terms += first.terms;
    totals.starts += first.starts;
    first.violation
}

/// Runs a seed in a process of its own.
///
/// # Errors
/// It gave no outcome.
pub fn run_once(sweep: &Sweep, seed: u64) -> Result<Outcome, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(sweep.arguments_of(seed));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    wait(&mut child)?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find_map(Outcome::parse).ok_or_else(|| format!("no outcome, {}", output.status))
}

/// Waits for the end; one line of output never fills the pipe.
fn wait(child: &mut Child) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) if begun.elapsed() > RUN_MAX => {
                child.kill().ok();
                child.wait().ok();
                return Err(format!("hangs: no end within {RUN_MAX:?} of real time"));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.to_string()),
        }
    }
}

impl Sweep {
    /// What the program is asked for to run a seed as this sweep does.
    fn arguments_of(&self, seed: u64) -> Vec<String> {
        let mut arguments = vec!["run".to_owned(), "--seed".into(), seed.to_string()];
        arguments.extend(["--seconds".into(), self.seconds.to_string()]);
        if let Some(mutant) = self.mutant.and_then(|mutant| mutant.to_possible_value()) {
            arguments.extend(["--mutant".into(), mutant.get_name().into()]);
        }
        arguments
    }
}

impl Totals {
    fn line(&self, begun: Instant) -> String {
        let real = begun.elapsed().as_secs_f64().max(0.001);
        format!(
            "{} seeds in {real:.0} s ({:.2}/s), {} virtual s, {} entries, {} messages, {} terms, {} starts, {} findings",
            self.seeds,
            self.seeds as f64 / real,
            self.virtual_ms / 1000,
            self.entries,
            self.messages,
            self.terms,
            self.starts,
            self.findings.len()
        )
    }
}

fn tell(line: &str) {
    // Nobody is left to tell when even this fails.
    writeln!(std::io::stdout(), "{line}").ok();
}
