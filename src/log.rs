//! `flotilla log`: looks at a data folder without opening it, also while its broker runs.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use flotilla_raft_store::vfs::{RealVfs, Vfs};
use flotilla_raft_store::{InspectError, inspect, verify};

use crate::cli::LogCommand;

/// Runs the command and gives the exit code: 1 for damage.
pub fn run(command: LogCommand) -> anyhow::Result<ExitCode> {
    let vfs: Arc<dyn Vfs> = Arc::new(RealVfs);
    match command {
        LogCommand::Inspect { dir } => {
            let report = inspect(&vfs, &dir).with_context(|| looking_at(&dir))?;
            print!("{report}");
            Ok(if report.damage.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        LogCommand::Verify { dir } => match verify(&vfs, &dir) {
            Ok(verified) => {
                println!("{verified}");
                Ok(ExitCode::SUCCESS)
            }
            Err(InspectError::Damage(damage)) => {
                println!("{damage}");
                Ok(ExitCode::FAILURE)
            }
            Err(error) => Err(error).with_context(|| looking_at(&dir)),
        },
    }
}

fn looking_at(dir: &Path) -> String {
    format!("looking at {}", dir.display())
}
