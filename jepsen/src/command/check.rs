//! `check HISTORY`: judges a history and says so on standard output.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use crate::checker::{CountFrom, Judgement, Limit, Outage, Outcome};
use crate::history::write_edn;
use crate::report::{Asked, JudgedHistory, RunFacts, judge_history, verdict_text};

/// Judges a history.
///
/// Exits with 0 if it is valid, 1 if it is not, 2 if that is not known or the history can't be read.
#[derive(clap::Args, Debug)]
pub struct CheckArgs {
    /// The history, one operation a line (JSONL).
    history: PathBuf,
    /// Longest time without acknowledgements that a fault may cause, in milliseconds, for kinds of fault without a limit
    /// of their own in run.json.
    #[arg(long, value_name = "N")]
    limit_ms: Option<u64>,
    /// What else is known of the run: limits, and what must be judged [default: run.json beside the history, if there].
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Prints the verdicts, and the outage of each fault, as JSON.
    #[arg(long)]
    json: bool,
    /// Writes the history as EDN, which Jepsen's own tools read.
    #[arg(long, value_name = "FILE")]
    edn: Option<PathBuf>,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    judgement: &'a Judgement,
    outages: Vec<Outage>,
}

impl CheckArgs {
    /// # Errors
    /// A file can't be read or written, or the history does not hold together; the message names the line.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let mut asked = self.load_facts()?.as_ref().map_or_else(Asked::default, Asked::of);
        asked.limits.default = self.limit_ms.map(|outage_ms| Limit { outage_ms, from: CountFrom::Begin });
        let JudgedHistory { history, judgement, outages } = judge_history(&self.history, &asked)?;
        if let Some(path) = &self.edn {
            let file = File::create(path).with_context(|| format!("{} can't be created", path.display()))?;
            write_edn(history.ops().iter().cloned().map(Ok), &mut BufWriter::new(file))?;
        }
        let text = if self.json {
            let answer = Answer { judgement: &judgement, outages };
            serde_json::to_string_pretty(&answer).context("a judgement can't be written as JSON")? + "\n"
        } else {
            verdict_text(&judgement)
        };
        std::io::stdout().write_all(text.as_bytes()).context("standard output refused")?;
        Ok(judgement.outcome)
    }

    fn load_facts(&self) -> anyhow::Result<Option<RunFacts>> {
        if let Some(path) = &self.facts {
            return RunFacts::load(path).map(Some);
        }
        let beside = self.history.with_file_name(RunFacts::FILE);
        if beside.exists() { RunFacts::load(&beside).map(Some) } else { Ok(None) }
    }
}
