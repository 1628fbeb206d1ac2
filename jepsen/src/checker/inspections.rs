//! What the harness looked at after the run.

use crate::history::{Act, History, Kind};

use super::{Checker, Verdict};

/// Anomaly: `found-wrong`. Unknown: what could not be looked at.
pub struct Inspections;

impl Checker for Inspections {
    fn name(&self) -> &'static str {
        "inspections"
    }

    fn proves(&self) -> &'static str {
        "What was looked at after the run is right: `flotilla log verify` is clean, the replicas' logs are equal byte by \
         byte."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        for op in history.ops() {
            let Act::Inspect { what, found } = &op.act else { continue };
            match op.kind {
                Kind::Invoke => {}
                Kind::Ok => verdict.judged("inspections"),
                Kind::Info => verdict.unknown(format!("could not be looked at: {what}")),
                Kind::Fail => {
                    verdict.judged("inspections");
                    verdict.anomaly("found-wrong", &[op.index], || {
                        let reason = op.error.as_deref().map_or(String::new(), |error| format!(" ({error})"));
                        format!("{what}: {found}{reason}")
                    });
                }
            }
        }
        let begun = history.calls().filter(|call| matches!(call.begin.act, Act::Inspect { .. }));
        for call in begun.filter(|call| call.end.is_none()) {
            if let Act::Inspect { what, .. } = &call.begin.act {
                verdict.unknown(format!("was begun and not finished: {what}"));
            }
        }
        verdict
    }
}
