//! From a history's file to what the checkers say of it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;

use super::facts::RunFacts;
use crate::checker::{self, Judgement, Limits, Outage, outages};
use crate::history::History;

/// What a run was to show, which its history does not tell.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub limits: Limits,
    /// Kinds of faults that must have been in force.
    pub kinds: Vec<String>,
    /// Names of checkers that must have found something to judge.
    pub must_judge: Vec<String>,
}

impl Asked {
    /// As `run.json` tells.
    pub fn of(facts: &RunFacts) -> Asked {
        Asked {
            limits: Limits { by_kind: facts.limits.clone(), default: None },
            kinds: facts.nemeses.clone(),
            must_judge: facts.must_judge.clone(),
        }
    }
}

/// A history that was read and judged once, for all who want to know.
#[derive(Debug)]
pub struct JudgedHistory {
    pub history: History,
    pub judgement: Judgement,
    /// What each fault did to clients.
    pub outages: Vec<Outage>,
}

/// Reads a history and runs all checkers.
///
/// # Errors
/// The file can't be read, or does not hold together; the message names the line.
pub fn judge_history(path: &Path, asked: &Asked) -> anyhow::Result<JudgedHistory> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("{name} can't be opened"))?;
    let history = History::read(BufReader::new(file)).with_context(|| name.to_string())?;
    let checkers = checker::all(asked.limits.clone(), &asked.kinds);
    let judgement = checker::judge(&history, &checkers, &asked.must_judge);
    let outages = outages(&history, &asked.limits);
    Ok(JudgedHistory { history, judgement, outages })
}
