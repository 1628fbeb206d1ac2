//! `flotilla-jepsen`: the command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use flotilla_jepsen::command::{CheckArgs, ReportArgs, exit_code};

/// Breaks broker groups and judges what their clients saw.
#[derive(Parser)]
#[command(name = "flotilla-jepsen", version)]
enum Cli {
    Check(CheckArgs),
    Report(ReportArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse() {
        Cli::Check(args) => args.run(),
        Cli::Report(args) => args.run(),
    };
    match outcome {
        Ok(outcome) => exit_code(outcome),
        Err(error) => {
            eprintln!("flotilla-jepsen: {error:#}");
            ExitCode::from(2)
        }
    }
}
