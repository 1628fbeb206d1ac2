//! A run, and from its folder to its verdict and its report.

use std::path::Path;

use crate::checker::{Outage, Outcome};
use crate::report::{Report, write_report};
use crate::run::{self, RunArgs};

/// What a run came to.
#[derive(Debug)]
pub struct Judged {
    /// The worst of all checkers.
    pub outcome: Outcome,
    /// For each checker that found something wrong or could not tell: what, and how often.
    pub findings: Vec<String>,
    /// What each fault did to clients.
    pub outages: Vec<Outage>,
    /// Sends that were acknowledged.
    pub acked: u64,
    /// Faults that began.
    pub faults: u64,
    /// Longest time without an acknowledgement that a fault answers for, in ms.
    pub outage_ms_max: Option<f64>,
}

impl Judged {
    /// One line for each thing to say.
    pub fn text(&self) -> String {
        let word = self.outcome.word();
        let outage = self.outage_ms_max.map_or("none".to_owned(), |outage| format!("{outage:.0} ms"));
        let mut lines = vec![format!(
            "{word}: {} sends acknowledged, {} faults, longest outage {outage}",
            self.acked, self.faults
        )];
        lines.extend(self.findings.iter().map(|finding| format!("  {finding}")));
        lines.join("\n")
    }
}

/// Does a run and judges it. One that broke off is not known at best. Dropped, all processes end.
///
/// # Errors
/// There is no history of this run to judge, or it can't be judged.
pub async fn run_and_judge(args: &RunArgs) -> anyhow::Result<Judged> {
    let folder = args.folder();
    let broke_off = run::run(args, &folder).await?;
    let mut judged = judge(&folder)?;
    if let Some(why) = broke_off {
        judged.outcome = judged.outcome.max(Outcome::Unknown);
        judged.findings.push(format!("not done to its end: {why}"));
    }
    Ok(judged)
}

/// Judges the history of a run's folder, and writes its report.
///
/// # Errors
/// History or facts can't be read, or are none; the report can't be written.
pub fn judge(folder: &Path) -> anyhow::Result<Judged> {
    let Report { judgement, outages, acked, .. } = write_report(folder)?;
    let mut findings = Vec::new();
    for finding in &judgement.findings {
        let verdict = &finding.verdict;
        for (kind, count) in &verdict.anomaly_counts {
            let first = verdict.anomalies.iter().find(|anomaly| anomaly.kind == *kind);
            let text = first.map(|anomaly| anomaly.text.as_str()).unwrap_or_default();
            findings.push(format!("{}: {kind}, {count} times, first: {text}", finding.checker));
        }
        for (reason, count) in &verdict.unknown {
            findings.push(format!("{}: not known, {count} times: {reason}", finding.checker));
        }
    }
    Ok(Judged {
        outcome: judgement.outcome,
        findings,
        acked,
        faults: outages.len() as u64,
        outage_ms_max: outages.iter().filter_map(|outage| outage.outage_ms).reduce(f64::max),
        outages,
    })
}
