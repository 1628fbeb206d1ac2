//! `flotilla power-loss` (feature `faults`): what a machine would have forgotten at the kill is taken back.

use anyhow::Context;
use flotilla_raft_store::vfs::{Loss, undo};

use crate::cli::{PowerLossCommand, RestoreArgs};

/// Sizes at which disks tear writes, in bytes.
const SECTORS: [usize; 2] = [512, 4096];

/// Runs the command.
pub fn run(command: PowerLossCommand) -> anyhow::Result<()> {
    let PowerLossCommand::Restore(RestoreArgs { dir, seed, all_lost }) = command;
    let loss = if all_lost { Loss::Everything } else { Loss::Random(seed) };
    let sector = SECTORS[(seed % 2) as usize];
    let restored = undo::restore(&dir, loss, sector)
        .with_context(|| format!("the journal {} can't be gone back by", dir.display()))?;
    let undo::Restored { files, changes, names, boots } = restored;
    let what = if all_lost { "all lost".to_owned() } else { format!("seed {seed}, torn at {sector}") };
    println!(
        "power loss {boots}: {changes} changes of {files} files and {names} of names were not synced ({what})"
    );
    Ok(())
}
