//! Each checker on hand-made histories: one that is right, each anomaly alone, and outcomes that nobody knows.

mod delivery;
mod notes;
mod placement;
mod reads;
mod registers;
mod speed;
pub(crate) mod tape;

use std::collections::BTreeSet;

use super::{Checker, Outcome};
use tape::Tape;

/// A history by the claim it stands for, and what the checker must say: outcome and kinds of anomaly.
type Case = (&'static str, fn(&mut Tape), Outcome, &'static [&'static str]);

/// As below; the cases must also show what is unknown.
fn run_table(checker: &dyn Checker, kinds: &[&str], cases: &[Case]) {
    let unknown = cases.iter().any(|(_, _, outcome, _)| *outcome == Outcome::Unknown);
    assert!(unknown, "{}: no case is unknown", checker.name());
    run_table_without_unknown(checker, kinds, cases);
}

/// Runs the cases; together they must show exactly the kinds of anomaly that the checker names.
fn run_table_without_unknown(checker: &dyn Checker, kinds: &[&str], cases: &[Case]) {
    let mut shown = BTreeSet::new();
    let mut outcomes = BTreeSet::new();
    for (claim, build, outcome, expected) in cases {
        let mut tape = Tape::default();
        build(&mut tape);
        let history = tape.history();
        let verdict = checker.check(&history);
        let found: Vec<&str> = verdict.anomaly_counts.keys().copied().collect();
        assert_eq!((verdict.outcome, &found[..]), (*outcome, *expected), "{claim}: {verdict:#?}");
        for anomaly in &verdict.anomalies {
            let inside = anomaly.lines.iter().all(|line| *line < history.ops().len() as u64);
            assert!(!anomaly.lines.is_empty() && inside && !anomaly.text.is_empty(), "{claim}: {anomaly:?}");
        }
        outcomes.insert(*outcome);
        shown.extend(found);
    }
    assert_eq!(shown, kinds.iter().copied().collect(), "each kind of {} is shown", checker.name());
    for outcome in [Outcome::Valid, Outcome::Invalid] {
        assert!(outcomes.contains(&outcome), "{}: no case is {outcome:?}", checker.name());
    }
}

#[test]
fn a_whole_run_without_fault_is_valid_for_all() {
    let mut tape = Tape::default();
    tape.whole_run();
    let judgement = super::judge(&tape.history(), &super::all(notes::limits(), &[]), &[]);
    for finding in &judgement.findings {
        assert_eq!(finding.verdict.outcome, Outcome::Valid, "{finding:#?}");
    }
    assert_eq!(judgement.outcome, Outcome::Valid);
}

#[test]
fn a_history_of_nothing_is_unknown() {
    let history = Tape::default().history();
    let judgement = super::judge(&history, &super::all(notes::limits(), &[]), &[]);
    assert_eq!(judgement.outcome, Outcome::Unknown);
    assert!(judgement.findings.iter().all(|finding| finding.verdict.outcome == Outcome::Absent));
}

#[test]
fn what_must_be_judged_and_is_absent_is_unknown() {
    let mut tape = Tape::default();
    tape.note(tape::inspect("log"), crate::history::Kind::Ok);
    let history = tape.history();
    let checkers = super::all(notes::limits(), &[]);
    let judge = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        super::judge(&history, &checkers, &names).outcome
    };
    assert_eq!(judge(&[]), Outcome::Valid);
    assert_eq!(judge(&["inspections"]), Outcome::Valid);
    assert_eq!(judge(&["consumed"]), Outcome::Unknown);
    assert_eq!(judge(&["no such checker"]), Outcome::Unknown);
}
