//! Whether what was to be suffered was suffered.

use std::collections::BTreeMap;

use crate::history::{Act, History, Kind};

use super::{Checker, Verdict};

/// Unknown: a kind of fault that was wanted and never was in force. Nothing is an anomaly: no product is to blame for a fault
/// that could not be brought about.
#[derive(Debug, Default)]
pub struct Faults {
    /// Kinds that the run was to bring about.
    pub wanted: Vec<String>,
}

impl Checker for Faults {
    fn name(&self) -> &'static str {
        "faults"
    }

    fn proves(&self) -> &'static str {
        "Each kind of fault that the run asked for was in force at least once: what is right without it shows nothing."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        // Of each occurrence: its kind, and whether it was in force and never refused.
        let mut occurrences: BTreeMap<u32, (&str, bool)> = BTreeMap::new();
        for op in history.ops() {
            let Act::Fault(fault) = &op.act else { continue };
            let occurrence = occurrences.entry(fault.number).or_insert((&fault.fault, true));
            occurrence.1 &= !(fault.begins && op.kind == Kind::Fail);
        }
        for (_, in_force) in occurrences.values() {
            if *in_force {
                verdict.judged("faults in force");
            } else {
                verdict.count("faults refused", 1);
            }
        }
        for kind in &self.wanted {
            if !occurrences.values().any(|(known, in_force)| known == kind && *in_force) {
                verdict.unknown(format!("{kind} was never in force"));
            }
        }
        verdict
    }
}
