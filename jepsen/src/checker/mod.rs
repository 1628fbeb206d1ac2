//! Judges of a history: each proves one promise, from the history alone.
//!
//! Rules for all: a verdict is `Valid` only if everything it speaks of was judged; what nobody knows (`info`, or no end)
//! is neither blamed nor trusted; memory and time grow with the length of the history, and what could grow faster has a
//! bound, past which the verdict is `Unknown`.

mod acked_kept;
mod availability;
mod committed_reads;
mod consumed;
mod evidence;
mod faults;
mod final_reads;
mod inspections;
mod key_order;
mod limits;
mod linearizable;
mod offsets_final;
mod real_time_order;
mod registers;
mod scope;
mod stored_once;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;

use serde::Serialize;

use crate::history::History;

pub use acked_kept::AckedKept;
pub(crate) use availability::counts_as_attempt;
pub use availability::{ALL_HEALED, Availability, Outage, outages};
pub use committed_reads::CommittedReads;
pub use consumed::Consumed;
pub use faults::Faults;
pub use inspections::Inspections;
pub use key_order::KeyOrder;
pub use limits::{CountFrom, Limit, Limits};
pub use offsets_final::OffsetsFinal;
pub use real_time_order::RealTimeOrder;
pub use registers::{OffsetRegisters, TopicRegisters};
pub use stored_once::StoredOnce;
pub use verdict::{ANOMALIES_KEPT_MAX, Anomaly, Outcome, Verdict};

/// One promise, and how a history breaks it.
pub trait Checker {
    /// Short and fixed; stands in `must_judge` of `run.json`.
    fn name(&self) -> &'static str;
    /// What a valid verdict proves, with the source of the rule.
    fn proves(&self) -> &'static str;
    fn check(&self, history: &History) -> Verdict;
}

/// All checkers, in the order in which a reader wants them. `kinds` of faults must have been in force.
pub fn all(limits: Limits, kinds: &[String]) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(AckedKept),
        Box::new(StoredOnce),
        Box::new(OffsetsFinal),
        Box::new(CommittedReads),
        Box::new(RealTimeOrder),
        Box::new(Consumed),
        Box::new(KeyOrder),
        Box::new(OffsetRegisters::default()),
        Box::new(TopicRegisters::default()),
        Box::new(Availability { limits }),
        Box::new(Faults { wanted: kinds.to_vec() }),
        Box::new(Inspections),
    ]
}

/// What one checker found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub checker: &'static str,
    pub proves: &'static str,
    pub verdict: Verdict,
}

/// What all found.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// Of the whole history. `Unknown` where nothing at all was judged; never `Absent`.
    pub outcome: Outcome,
    pub findings: Vec<Finding>,
}

/// Runs the checkers. One named in `must_judge` that found nothing to judge is `Unknown`, as is a history of which nothing
/// was judged, and a name that no checker has.
pub fn judge(history: &History, checkers: &[Box<dyn Checker>], must_judge: &[String]) -> Judgement {
    let mut outcome = Outcome::Absent;
    let mut findings = Vec::with_capacity(checkers.len());
    for checker in checkers {
        let mut verdict = checker.check(history);
        if verdict.outcome == Outcome::Absent && must_judge.iter().any(|name| name == checker.name()) {
            verdict.unknown("the history holds nothing of what this run was to show");
        }
        outcome = outcome.max(verdict.outcome);
        findings.push(Finding { checker: checker.name(), proves: checker.proves(), verdict });
    }
    let stranger = must_judge.iter().any(|name| checkers.iter().all(|checker| checker.name() != name));
    if outcome == Outcome::Absent || stranger {
        outcome = outcome.max(Outcome::Unknown);
    }
    Judgement { outcome, findings }
}
