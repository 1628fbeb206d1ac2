//! `flotilla-jepsen`: the command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flotilla_jepsen::judge::{self, Judged};
use flotilla_jepsen::outages::{self, OutagesArgs};
use flotilla_jepsen::run::{self, RunArgs};
use flotilla_jepsen::suite::{self, SuiteArgs};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Breaks real broker groups and judges what their clients saw.
#[derive(Debug, Parser)]
#[command(name = "flotilla-jepsen", version, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 something is wrong with the product, 2 not known, or wrong arguments."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One run: a cluster, a workload and faults, then the verdict
    Run(RunArgs),
    /// Many runs: all workloads and all faults, a folder each, and a summary
    Suite(SuiteArgs),
    /// A table: how long each kind of fault keeps clients waiting, median and worst of many trials
    Outages(OutagesArgs),
    /// Judges the folder of a run
    Judge { folder: std::path::PathBuf },
}

/// Not known, or wrong arguments.
const UNKNOWN: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,flotilla_client=error,flotilla_net=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("flotilla-jepsen: the run-time can't be started: {error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            done = act(cli.command) => match done {
                Ok(code) => code,
                Err(error) => {
                    eprintln!("flotilla-jepsen: {error:#}");
                    UNKNOWN
                }
            },
            () = interrupted() => {
                eprintln!("flotilla-jepsen: interrupted");
                130
            }
        }
    });
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn act(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => {
            let args = args.seeded();
            let folder = args.folder();
            eprintln!("seed {}, folder {}", args.seed(), folder.display());
            run::run(&args, &folder).await?;
            let judged = judge::judge(&folder)?;
            println!("{}", judged.text());
            Ok(Judged::exit_code(judged.outcome))
        }
        Command::Judge { folder } => {
            let judged = judge::judge(&folder)?;
            println!("{}", judged.text());
            Ok(Judged::exit_code(judged.outcome))
        }
        Command::Suite(args) => Ok(Judged::exit_code(suite::suite(&args).await?)),
        Command::Outages(args) => Ok(Judged::exit_code(outages::outages(&args).await?)),
    }
}

/// Ctrl-C or SIGTERM. What runs is dropped then, and with it all processes.
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
