//! The simulation's program: one run, or many seeds of which each is run twice in processes of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use flotilla_sim::mutants::Mutant;
use flotilla_sim::{RunOptions, sweep};

mod c_library;

/// Runs whole groups under virtual time and drawn faults.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Command {
    #[command(subcommand)]
    once: Option<Once>,
    #[command(flatten)]
    many: Many,
}

#[derive(Debug, Subcommand)]
enum Once {
    /// Runs one seed in this process.
    Run(Run),
}

#[derive(Debug, Args)]
struct Run {
    /// What everything is drawn from.
    #[arg(long)]
    seed: u64,
    /// Virtual seconds with faults.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Gives the product this fault.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Writes the trace to this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Shows the nodes' own log lines: a filter as in `RUST_LOG`.
    #[arg(long)]
    log: Option<String>,
}

#[derive(Debug, Args)]
struct Many {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stop after so many minutes of real time.
    #[arg(long)]
    minutes: Option<u64>,
    /// Virtual seconds with faults in each run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Runs each seed only once: faster, and proves nothing about repeatability.
    #[arg(long)]
    once_each: bool,
    /// Begins no other seed after the first finding.
    #[arg(long)]
    until_found: bool,
    /// Gives the product this fault.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Appends what is found to this file.
    #[arg(long)]
    findings: Option<PathBuf>,
}

fn main() -> ExitCode {
    let command = Command::parse();
    match command.once {
        Some(Once::Run(run)) => {
            c_library::keep_memory();
            let options =
                RunOptions { seconds: run.seconds, trace: run.trace, mutant: run.mutant, log: run.log };
            let outcome = flotilla_sim::run(run.seed, &options);
            let mut out = std::io::stdout().lock();
            // Nobody is left to tell when even this fails.
            std::io::Write::write_all(&mut out, outcome.to_line().as_bytes()).ok();
            if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => sweep::run(&sweep::Sweep {
            seeds: command.many.seeds,
            from: command.many.from,
            minutes: command.many.minutes,
            seconds: command.many.seconds,
            jobs: command.many.jobs,
            twice: !command.many.once_each,
            until_found: command.many.until_found,
            mutant: command.many.mutant,
            findings: command.many.findings,
        }),
    }
}
