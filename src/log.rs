//! `flotilla log`: looks at a data folder.
//!
//! LIMIT: the readers of a stopped log are not there yet, so both commands say so and fail.

use std::process::ExitCode;

use anyhow::bail;

use crate::cli::LogCommand;

/// Runs the command and gives the exit code.
pub fn run(command: LogCommand) -> anyhow::Result<ExitCode> {
    let (name, dir) = match command {
        LogCommand::Inspect { dir } => ("inspect", dir),
        LogCommand::Verify { dir } => ("verify", dir),
    };
    bail!("log {name} {}: not available in this version", dir.display())
}
