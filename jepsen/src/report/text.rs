//! A judgement for a terminal.

use std::fmt::Write;

use crate::checker::{Judgement, Verdict};

/// Anomalies of one checker that are spelt out.
const ANOMALIES_SHOWN_MAX: usize = 10;

/// One line a checker, what is wrong or unknown below it, the outcome last.
pub fn verdict_text(judgement: &Judgement) -> String {
    let mut text = String::new();
    for finding in &judgement.findings {
        let verdict = &finding.verdict;
        let _ = writeln!(text, "{:<16}  {:<18} {}", verdict.outcome.word(), finding.checker, counts(verdict));
        for (kind, count) in &verdict.anomaly_counts {
            let _ = writeln!(text, "    {kind}: {count}");
        }
        for anomaly in verdict.anomalies.iter().take(ANOMALIES_SHOWN_MAX) {
            let _ = writeln!(text, "      {} [{}]", anomaly.text, lines(&anomaly.lines));
        }
        let shown = verdict.anomalies.len().min(ANOMALIES_SHOWN_MAX) as u64;
        if verdict.anomaly_count() > shown {
            let _ = writeln!(text, "      ... and {} more", verdict.anomaly_count() - shown);
        }
        for (reason, count) in &verdict.unknown {
            let _ = writeln!(text, "    not known ({count}): {reason}");
        }
    }
    let _ = writeln!(text, "verdict: {}", judgement.outcome.word());
    text
}

/// Figures of a verdict, in one line.
pub(super) fn counts(verdict: &Verdict) -> String {
    let counts: Vec<String> = verdict.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    counts.join(", ")
}

fn lines(lines: &[u64]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("#{line}")).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use crate::checker::{Finding, Outcome};

    use super::*;

    #[test]
    fn it_says_what_is_wrong_and_what_is_not_known() {
        let mut verdict = Verdict::default();
        verdict.judged("reads");
        for id in 0..12 {
            verdict.anomaly("lost", &[id, id + 1], || format!("id {id} is lost"));
        }
        verdict.unknown("a queue was not read");
        let finding = Finding { checker: "acked-kept", proves: "", verdict };
        let text = verdict_text(&Judgement { outcome: Outcome::Invalid, findings: vec![finding] });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "INVALID           acked-kept         reads 1");
        assert_eq!(lines[1], "    lost: 12");
        assert_eq!(lines[2], "      id 0 is lost [#0 #1]");
        assert_eq!(lines[12], "      ... and 2 more");
        assert_eq!(lines[13], "    not known (1): a queue was not read");
        assert_eq!(lines[14], "verdict: INVALID");
    }
}
