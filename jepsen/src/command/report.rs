//! `report FOLDER`: writes the page of a run.

use std::path::PathBuf;

use anyhow::Context;

use crate::checker::Outcome;
use crate::report::write_report;

/// Judges the run in a folder and writes report.html there.
///
/// The folder holds history.jsonl, run.json and the logs that it names. Exits like `check`.
#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    folder: PathBuf,
}

impl ReportArgs {
    /// # Errors
    /// The history or run.json can't be read, or the page can't be written. A missing log is said in the page.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let report = write_report(&self.folder)
            .with_context(|| format!("no report of {} can be written", self.folder.display()))?;
        println!("{}: {}", report.judgement.outcome.word(), report.path.display());
        Ok(report.judgement.outcome)
    }
}
