//! One page a run, that says what was tried, what was seen and whether it was right.
//!
//! | module   | part of the page                                              |
//! |----------|---------------------------------------------------------------|
//! | page     | the whole, in the order in which a tired reader needs it      |
//! | verdicts | what each checker says, with the lines that show it           |
//! | outages  | what each fault did to the clients                            |
//! | charts   | throughput and latency over time, with the faults behind them |
//! | timeline | who did what when: nodes with their faults, clients           |
//! | logs     | what the nodes logged around the faults                       |

mod charts;
mod facts;
mod html;
mod judged;
mod logs;
mod operations;
mod outages;
mod page;
mod stamp;
mod svg;
mod text;
mod timeline;
mod verdicts;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::checker::{Judgement, Outage};
use crate::history::{Act, Kind};

pub use crate::checker::{CountFrom, Limit};
pub use facts::{Machine, NodeFacts, RunFacts, ServerFacts};
pub(crate) use html::escaped;
pub use judged::{Asked, JudgedHistory, judge_history};
pub use text::verdict_text;

/// Name of the history in a run folder.
pub const HISTORY_FILE: &str = "history.jsonl";

/// Name of the page in a run folder.
pub const REPORT_FILE: &str = "report.html";

/// A page that was written, and what it tells.
#[derive(Debug)]
pub struct Report {
    pub path: PathBuf,
    pub judgement: Judgement,
    /// What each fault did to clients.
    pub outages: Vec<Outage>,
    /// Sends that were acknowledged.
    pub acked: u64,
}

/// Judges the run in `folder` and writes its page there.
///
/// # Errors
/// `history.jsonl` or `run.json` can't be read, or the page can't be written. A log that can't be read is said in the page.
pub fn write_report(folder: &Path) -> anyhow::Result<Report> {
    let facts = RunFacts::load(&folder.join(RunFacts::FILE))?;
    let judged = judge_history(&folder.join(HISTORY_FILE), &Asked::of(&facts))?;
    let JudgedHistory { history, judgement, outages } = judged;
    let excerpts = logs::excerpts(folder, &facts, &outages);
    let run = page::Run { facts: &facts, history: &history, judgement: &judgement, outages: &outages };
    let path = folder.join(REPORT_FILE);
    std::fs::write(&path, page::page(&run, &excerpts))
        .with_context(|| format!("{} can't be written", path.display()))?;
    let acked = history.ops().iter().filter(|op| op.kind == Kind::Ok && matches!(op.act, Act::Send { .. }));
    let acked = acked.count() as u64;
    Ok(Report { path, judgement, outages, acked })
}
