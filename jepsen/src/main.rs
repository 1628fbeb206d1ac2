//! `flotilla-jepsen`: the command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flotilla_jepsen::checker::Outcome;
use flotilla_jepsen::command::{CheckArgs, ReportArgs, exit_code};
use flotilla_jepsen::judge;
use flotilla_jepsen::outages::{self, OutagesArgs};
use flotilla_jepsen::run::RunArgs;
use flotilla_jepsen::simulation::SimArgs;
use flotilla_jepsen::suite::{self, SuiteArgs};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Breaks real broker groups and judges what their clients saw.
#[derive(Debug, Parser)]
#[command(name = "flotilla-jepsen", version, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 something is wrong with the product, 2 that is not known or the arguments \
                  are wrong, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One run: a cluster, a workload and faults, then the verdict and a report
    Run(RunArgs),
    /// Many runs: all workloads and all faults, a folder each, and a summary
    Suite(SuiteArgs),
    /// A table: how long each kind of fault keeps clients waiting, median and worst of many trials
    Outages(OutagesArgs),
    Check(CheckArgs),
    Report(ReportArgs),
    Sim(SimArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check(args) => args.run(),
        Command::Report(args) => args.run(),
        Command::Sim(args) => args.run().map(|never| match never {}),
        Command::Run(args) => in_runtime(async {
            let args = args.seeded();
            eprintln!("seed {}, folder {}", args.seed(), args.folder().display());
            let judged = judge::run_and_judge(&args).await?;
            println!("{}", judged.text());
            Ok(judged.outcome)
        }),
        Command::Suite(args) => in_runtime(suite::suite(&args)),
        Command::Outages(args) => in_runtime(outages::outages(&args)),
    };
    match done {
        Ok(outcome) => exit_code(outcome),
        Err(error) if error.is::<Interrupted>() => ExitCode::from(130),
        Err(error) => {
            eprintln!("flotilla-jepsen: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// Runs something that starts processes. On Ctrl-C or SIGTERM it is dropped, and with it all that it started.
fn in_runtime(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,flotilla_client=error,flotilla_net=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => done,
            () = interrupted() => Err(Interrupted.into()),
        }
    });
    runtime.shutdown_background();
    done
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
