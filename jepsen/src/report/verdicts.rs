//! What each checker says, with the lines that show it.

use std::fmt::Write;

use crate::checker::{Anomaly, Finding, Judgement, Outcome};
use crate::history::History;

use super::html::{cut, escaped, seconds};
use super::text::counts;

/// Characters of a line of the history that are shown.
const LINE_CHARS_MAX: usize = 360;

/// Lines that are shown for one anomaly.
const LINES_MAX: usize = 12;

pub(super) fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Absent => "absent",
        Outcome::Valid => "valid",
        Outcome::Unknown => "unsure",
        Outcome::Invalid => "invalid",
    }
}

/// One part a checker, the worst first, what is wrong open.
pub(super) fn verdicts(history: &History, judgement: &Judgement) -> String {
    let mut html = String::new();
    let mut findings: Vec<&Finding> = judgement.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict.outcome));
    for finding in findings {
        write_finding(&mut html, history, finding);
    }
    html
}

fn write_finding(html: &mut String, history: &History, finding: &Finding) {
    let verdict = &finding.verdict;
    let open = if verdict.outcome == Outcome::Invalid { " open" } else { "" };
    let summary = match verdict.outcome {
        Outcome::Invalid => {
            let kinds = verdict.anomaly_counts.iter().map(|(kind, count)| format!("{kind} ×{count}"));
            kinds.collect::<Vec<_>>().join(", ")
        }
        Outcome::Unknown => verdict.unknown.keys().next().cloned().unwrap_or_default(),
        Outcome::Valid | Outcome::Absent => counts(verdict),
    };
    let _ = write!(
        html,
        "<details{open}><summary><span class=\"chip {}\">{}</span> <b>{}</b> <span class=note>{}</span></summary><div class=body>",
        class(verdict.outcome),
        verdict.outcome.word(),
        finding.checker,
        escaped(&summary)
    );
    let _ = write!(html, "<p>{}</p><p class=note>{}</p>", escaped(finding.proves), escaped(&counts(verdict)));
    for (reason, count) in &verdict.unknown {
        let _ = write!(html, "<p>Not known ({count}): {}</p>", escaped(reason));
    }
    for anomaly in &verdict.anomalies {
        write_anomaly(html, history, anomaly);
    }
    let more = verdict.anomaly_count() - verdict.anomalies.len() as u64;
    if more > 0 {
        let _ = write!(html, "<p class=note>and {more} more of the same kinds</p>");
    }
    html.push_str("</div></details>");
}

fn write_anomaly(html: &mut String, history: &History, anomaly: &Anomaly) {
    let _ = write!(html, "<p class=anomaly><b>{}</b>: {}</p><pre>", anomaly.kind, escaped(&anomaly.text));
    for line in anomaly.lines.iter().take(LINES_MAX) {
        let Some(op) = history.ops().get(*line as usize) else { continue };
        let json = serde_json::to_string(op).unwrap_or_default();
        let _ = writeln!(html, "#{line} {:>12}  {}", seconds(op.time), escaped(&cut(&json, LINE_CHARS_MAX)));
    }
    html.push_str("</pre>");
}
