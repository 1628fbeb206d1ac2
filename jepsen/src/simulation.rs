//! `flotilla-jepsen sim`: the simulation, which is a program of its own.
//!
//! It answers for clock and entropy in the C library's place as soon as it is linked, and it looks inside the product. Neither is
//! for this harness, which keeps real time and is a black box: so `flotilla-sim` is looked for beside the own program, given
//! the arguments as they are, and its exit code becomes the own one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;

/// Name of the simulation's program.
const PROGRAM: &str = "flotilla-sim";

/// Whole groups under virtual time, one seed after the other: `sim --seeds N --from K`; `sim -- --help` tells all arguments
#[derive(Debug, Args)]
pub struct SimArgs {
    /// What the simulation is asked for
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl SimArgs {
    /// Becomes the simulation; comes back only when that fails.
    ///
    /// # Errors
    /// The program is not there, or can't be started.
    pub fn run(&self) -> anyhow::Result<std::convert::Infallible> {
        let own = std::env::current_exe().context("finding the own program")?;
        let program = program_beside(&own)?;
        let error = Command::new(&program).args(&self.arguments).exec();
        Err(error).with_context(|| format!("starting {}", program.display()))
    }
}

/// # Errors
/// There is none; says how it is built.
fn program_beside(own: &Path) -> anyhow::Result<PathBuf> {
    let program = own.with_file_name(PROGRAM);
    let profile = own.parent().and_then(Path::file_name).is_some_and(|dir| dir == "release");
    let release = if profile { " --release" } else { "" };
    anyhow::ensure!(
        program.is_file(),
        "{} is not there; build it with: cargo build{release} -p {PROGRAM}",
        program.display()
    );
    Ok(program)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        sim: SimArgs,
    }

    #[test]
    fn the_simulation_gets_its_arguments_as_they_are() {
        let arguments = ["sim", "--seeds", "3", "--from", "7", "--once-each"];
        let cli = Cli::try_parse_from(arguments).expect("they are the simulation's to judge");
        assert_eq!(cli.sim.arguments, arguments[1..]);
    }

    #[test]
    fn a_simulation_that_is_not_built_is_named_with_the_command_that_builds_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let release = dir.path().join("release");
        std::fs::create_dir(&release).expect("a folder");
        let own = release.join("flotilla-jepsen");
        let told = program_beside(&own).expect_err("it is not there").to_string();
        assert!(told.ends_with("cargo build --release -p flotilla-sim"), "{told}");
        std::fs::write(release.join(PROGRAM), "").expect("a file");
        assert_eq!(program_beside(&own).expect("it is there"), release.join(PROGRAM));
    }
}
