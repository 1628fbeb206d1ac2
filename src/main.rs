//! The `flotilla` command: parses arguments and wires the parts together.
#![forbid(unsafe_code)]

mod bench;
mod broker;
mod check_config;
mod cli;
mod faults;
mod log;
mod logging;
mod namesrv;
mod namesrv_keys;
mod ports;
#[cfg(feature = "faults")]
mod power_loss;
mod signals;
mod standalone;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flotilla: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    logging::start(&cli.logging, default_level(&cli.command))?;
    let command = match cli.command {
        Command::Log(args) => return log::run(args.command),
        Command::CheckConfig(args) => return check_config::run(args),
        Command::Bench(args) => return bench::run(&args),
        #[cfg(feature = "faults")]
        Command::PowerLoss(args) => return power_loss::run(args.command).map(|()| ExitCode::SUCCESS),
        command => command,
    };
    faults::begin()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("the run-time can't be started")?;
    let done = runtime.block_on(async {
        match command {
            Command::Namesrv(args) => namesrv::run(args).await,
            Command::Broker(args) => broker::run(args).await,
            Command::Standalone(args) => standalone::run(args).await,
            Command::Log(_) | Command::CheckConfig(_) | Command::Bench(_) => Ok(()),
            #[cfg(feature = "faults")]
            Command::PowerLoss(_) => Ok(()),
        }
    });
    // Whatever still runs on a blocking thread must not hold up the exit.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

/// Long-running processes tell what they do; standalone shares the terminal with its user, so only trouble shows.
fn default_level(command: &Command) -> &'static str {
    match command {
        Command::Namesrv(_) | Command::Broker(_) => "info",
        Command::Standalone(_) | Command::Log(_) | Command::CheckConfig(_) => "warn",
        // A killed leader is what it looks for; its own lines tell what came of it.
        Command::Bench(_) => "error",
        #[cfg(feature = "faults")]
        Command::PowerLoss(_) => "warn",
    }
}
