//! What a checker says of a history.

use std::collections::BTreeMap;

use serde::Serialize;

/// Anomalies of one kind that are kept with their text; the rest are counted.
pub const ANOMALIES_KEPT_MAX: u64 = 50;

/// The outcome of a check, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The history holds nothing that the checker could judge.
    Absent,
    /// Everything that was to be judged was, and is right.
    Valid,
    /// Nothing is known to be wrong, but not all could be judged.
    Unknown,
    /// Something is wrong.
    Invalid,
}

impl Outcome {
    /// For people; what is wrong is loud.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Absent => "nothing to judge",
            Outcome::Valid => "valid",
            Outcome::Unknown => "unknown",
            Outcome::Invalid => "INVALID",
        }
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// Name of its kind; each checker lists its own.
    pub kind: &'static str,
    /// What happened, in one sentence.
    pub text: String,
    /// Indices of the lines that show it.
    pub lines: Vec<u64>,
}

/// Outcome with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub outcome: Outcome,
    /// In the order in which they were found, at most [`ANOMALIES_KEPT_MAX`] of a kind.
    pub anomalies: Vec<Anomaly>,
    /// How many of each kind there were.
    pub anomaly_counts: BTreeMap<&'static str, u64>,
    /// Why not all could be judged, each reason with the number of times it held.
    pub unknown: BTreeMap<String, u64>,
    /// How much was judged, and other figures, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Default for Verdict {
    fn default() -> Self {
        Verdict {
            outcome: Outcome::Absent,
            anomalies: Vec::new(),
            anomaly_counts: BTreeMap::new(),
            unknown: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl Verdict {
    /// Names a figure, so that it is told even if it stays 0.
    pub fn count(&mut self, name: &'static str, more: u64) {
        *self.counts.entry(name).or_default() += more;
    }

    /// Something was judged. What is right or wrong with it is told apart from this.
    pub fn judged(&mut self, name: &'static str) {
        self.count(name, 1);
        self.outcome = self.outcome.max(Outcome::Valid);
    }

    /// Something can't be judged. `reason` is of few kinds: it is a key.
    pub fn unknown(&mut self, reason: impl Into<String>) {
        *self.unknown.entry(reason.into()).or_default() += 1;
        self.outcome = self.outcome.max(Outcome::Unknown);
    }

    /// Something is wrong. `text` is only asked for while there is room for it.
    pub fn anomaly(&mut self, kind: &'static str, lines: &[u64], text: impl FnOnce() -> String) {
        let count = self.anomaly_counts.entry(kind).or_default();
        *count += 1;
        if *count <= ANOMALIES_KEPT_MAX {
            self.anomalies.push(Anomaly { kind, text: text(), lines: lines.to_vec() });
        }
        self.outcome = Outcome::Invalid;
    }

    pub fn anomaly_count(&self) -> u64 {
        self.anomaly_counts.values().sum()
    }
}
