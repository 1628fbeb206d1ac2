//! Commands that judge what was recorded. They read files and write one; nothing is started.

mod check;
mod report;

use std::process::ExitCode;

pub use check::CheckArgs;
pub use report::ReportArgs;

use crate::checker::Outcome;

/// 0: valid. 1: invalid. 2: unknown, and, by the caller, whatever could not be done.
pub fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Valid => ExitCode::SUCCESS,
        Outcome::Invalid => ExitCode::from(1),
        Outcome::Unknown | Outcome::Absent => ExitCode::from(2),
    }
}
