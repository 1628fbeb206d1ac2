//! Trials of a fail-over: each one's figures, and all together.

use serde::Serialize;

use super::longest_gap_ms;
use crate::bench::outcome::{Outcome, median, rounded};
use crate::bench::receivers::Reading;
use crate::bench::senders::{Load, Sending};
use crate::bench::stage::Stage;

/// What one trial came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trial {
    /// Longest time without an ack.
    pub ack_gap_ms: f64,
    /// Length of the measured part.
    pub seconds: f64,
    /// Counts of messages of the measured part.
    pub sent: u64,
    pub acked: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Acked messages of the whole trial that are not there.
    pub lost: u64,
    /// Messages of the whole trial that are there twice.
    pub duplicates: u64,
    /// Messages of the whole trial that are behind one that their sender sent later to the same queue, or with the same key.
    pub out_of_order: u64,
    #[serde(skip)]
    behind: u64,
    #[serde(skip)]
    bytes: u64,
    #[serde(skip)]
    cpu_seconds: f64,
}

impl Trial {
    /// Puts together what senders and the reader know.
    pub fn new(stage: &Stage, load: &Load, sending: &Sending, received: &Reading) -> Trial {
        Trial {
            ack_gap_ms: longest_gap_ms(stage),
            seconds: rounded(stage.seconds(), 3),
            sent: sending.sent,
            acked: sending.acked,
            failed: sending.failed,
            unknown: sending.unknown,
            lost: sending.numbers.lost(load.run, &received.ledger),
            duplicates: received.ledger.duplicates(),
            out_of_order: received.ledger.out_of_order(),
            behind: sending.unsent.count(),
            bytes: sending.bytes,
            cpu_seconds: stage.cpu_seconds(),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "longest ack gap {:.0} ms, acked {}, failed {}, unknown {}, lost {}, duplicates {}",
            self.ack_gap_ms, self.acked, self.failed, self.unknown, self.lost, self.duplicates
        )
    }
}

/// Sets counts, rates and the worst gap of all trials.
pub fn sum_up(outcome: &mut Outcome, trials: &[Trial]) {
    let sum = |count: fn(&Trial) -> u64| trials.iter().map(count).sum::<u64>();
    outcome.over(
        trials.iter().map(|trial| trial.seconds).sum(),
        sum(|trial| trial.acked),
        sum(|trial| trial.bytes),
    );
    outcome.sent = Some(sum(|trial| trial.sent));
    outcome.acked = Some(sum(|trial| trial.acked));
    outcome.failed = Some(sum(|trial| trial.failed));
    outcome.unknown = Some(sum(|trial| trial.unknown));
    outcome.behind = Some(sum(|trial| trial.behind)).filter(|behind| *behind > 0);
    outcome.lost = Some(sum(|trial| trial.lost));
    outcome.duplicates = Some(sum(|trial| trial.duplicates));
    outcome.out_of_order = Some(sum(|trial| trial.out_of_order));
    outcome.ack_gap_ms_max = Some(trials.iter().map(|trial| trial.ack_gap_ms).fold(0.0, f64::max));
    outcome.client_cpu_seconds = rounded(trials.iter().map(|trial| trial.cpu_seconds).sum(), 3);
}

/// The gap in the middle.
fn median_gap_ms(trials: &[Trial]) -> f64 {
    median(trials.iter().map(|trial| trial.ack_gap_ms).collect()).unwrap_or(0.0)
}

/// The usual keys, and those of trials.
pub fn json(outcome: &Outcome, trials: &[Trial]) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        outcome: &'a Outcome,
        ack_gap_ms_median: f64,
        trials: &'a [Trial],
    }
    let line = Line { outcome, ack_gap_ms_median: rounded(median_gap_ms(trials), 3), trials };
    serde_json::to_string(&line).expect("the keys are texts and the numbers are finite")
}

/// A row a trial, and below the median and the worst gap.
pub fn table(trials: &[Trial]) -> String {
    let mut text = String::from(
        "| trial | ack gap ms |      sent |     acked |   failed |  unknown |  lost | twice | out of order |\n\
         |------:|-----------:|----------:|----------:|---------:|---------:|------:|------:|-------------:|\n",
    );
    for (number, trial) in trials.iter().enumerate() {
        text.push_str(&format!(
            "| {:>5} | {:>10.0} | {:>9} | {:>9} | {:>8} | {:>8} | {:>5} | {:>5} | {:>12} |\n",
            number + 1,
            trial.ack_gap_ms,
            trial.sent,
            trial.acked,
            trial.failed,
            trial.unknown,
            trial.lost,
            trial.duplicates,
            trial.out_of_order
        ));
    }
    let worst = trials.iter().map(|trial| trial.ack_gap_ms).fold(0.0, f64::max);
    text.push_str(&format!("\nack gap: median {:.0} ms, worst {worst:.0} ms\n\n", median_gap_ms(trials)));
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn trial(ack_gap_ms: f64, lost: u64) -> Trial {
        Trial { ack_gap_ms, lost, acked: 100, seconds: 10.0, ..Trial::default() }
    }

    #[test]
    fn median_and_worst_are_of_all_trials() {
        let trials = [trial(900.0, 0), trial(300.0, 2), trial(500.0, 0), trial(600.0, 1)];
        let mut outcome = Outcome::new("failover", "127.0.0.1:9876", "t");
        sum_up(&mut outcome, &trials);
        let json: serde_json::Value = serde_json::from_str(&json(&outcome, &trials)).unwrap();
        assert_eq!(json["ack_gap_ms_median"], 550.0);
        assert_eq!(json["ack_gap_ms_max"], 900.0);
        assert_eq!(json["lost"], 3);
        assert_eq!(json["messages_per_second"], 10.0);
        assert_eq!(json["trials"][1]["ack_gap_ms"], 300.0);
        assert!(table(&trials).contains("ack gap: median 550 ms, worst 900 ms"), "{}", table(&trials));
    }
}
