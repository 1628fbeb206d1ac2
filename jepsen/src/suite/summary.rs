//! What all runs of a suite came to: a table, `summary.json`, and a page that leads to each run's report.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::plan::Planned;
use crate::checker::Outcome;
use crate::judge::Judged;
use crate::nemesis::Nemesis;
use crate::report::escaped;
use crate::run::Product;

/// A suite.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) seed: u64,
    pub(super) minutes: u64,
    pub(super) server: String,
    /// Kinds of faults that could not be brought about with this product.
    pub(super) left_out: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// A run of it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Its folder.
    pub(super) run: String,
    pub(super) workload: String,
    pub(super) nemeses: Vec<String>,
    pub(super) nodes: usize,
    pub(super) name_servers: usize,
    pub(super) flush: String,
    pub(super) seed: u64,
    pub(super) outcome: Outcome,
    /// Checkers that found something wrong or could not tell, with what they said first.
    pub(super) findings: Vec<String>,
    pub(super) acked: u64,
    pub(super) faults: u64,
    /// Longest time without an acknowledgement that a fault answers for, in ms.
    pub(super) outage_ms_max: Option<f64>,
    /// It took so long altogether.
    pub(super) seconds: f64,
    pub(super) command: String,
}

impl Row {
    pub(super) fn new(
        run: &str,
        planned: &Planned,
        command: Vec<String>,
        judged: anyhow::Result<Judged>,
        took: Duration,
    ) -> Row {
        let flush = planned.flush.to_possible_value();
        let mut row = Row {
            run: run.to_owned(),
            workload: planned.workload.to_string(),
            nemeses: planned.nemeses.iter().map(ToString::to_string).collect(),
            nodes: planned.nodes,
            name_servers: planned.name_servers,
            flush: flush.map(|value| value.get_name().to_owned()).unwrap_or_default(),
            seed: planned.seed,
            outcome: Outcome::Unknown,
            findings: Vec::new(),
            acked: 0,
            faults: 0,
            outage_ms_max: None,
            seconds: took.as_secs_f64(),
            command: command.join(" "),
        };
        match judged {
            Ok(judged) => {
                row.outcome = judged.outcome;
                row.findings = judged.findings;
                (row.acked, row.faults, row.outage_ms_max) =
                    (judged.acked, judged.faults, judged.outage_ms_max);
            }
            Err(error) => row.findings.push(format!("not done, or not judged: {error:#}")),
        }
        row
    }

    fn cells(&self) -> [String; 9] {
        [
            self.run.clone(),
            self.nemeses.join(" "),
            format!("{}+{} {}", self.nodes, self.name_servers, self.flush),
            self.seed.to_string(),
            self.outcome.word().to_owned(),
            self.acked.to_string(),
            self.faults.to_string(),
            self.outage_ms_max.map_or("-".to_owned(), |outage| format!("{outage:.0}")),
            format!("{:.0}", self.seconds),
        ]
    }
}

const HEADS: [&str; 9] =
    ["run", "faults", "brokers", "seed", "verdict", "acked", "faults", "longest outage, ms", "s"];

/// In the style of the page.
fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Absent | Outcome::Unknown => "unknown",
        Outcome::Valid => "valid",
        Outcome::Invalid => "invalid",
    }
}

impl Summary {
    pub(super) fn new(seed: u64, minutes: u64, server: &Product, left_out: &[Nemesis]) -> Summary {
        let server = server.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let left_out = left_out.iter().map(ToString::to_string).collect();
        Summary { seed, minutes, server, left_out, rows: Vec::new() }
    }

    /// The worst of all; not known when there was no run.
    pub(super) fn outcome(&self) -> Outcome {
        self.rows.iter().map(|row| row.outcome).max().unwrap_or(Outcome::Unknown)
    }

    /// For a terminal.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let [run, kinds, brokers, seed, verdict, acked, faults, outage, seconds] = row.cells();
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "{verdict:<8} {run:<32} {brokers:<10} seed {seed:<10} acked {acked:>7}  faults {faults:>3}  \
                 longest outage {outage:>6} ms  {seconds:>4} s  {kinds}"
            );
            for finding in &row.findings {
                let _ = writeln!(text, "         {finding}");
            }
        }
        let count = |outcome| self.rows.iter().filter(|row| row.outcome == outcome).count();
        let (valid, invalid) = (count(Outcome::Valid), count(Outcome::Invalid));
        let acked: u64 = self.rows.iter().map(|row| row.acked).sum();
        let faults: u64 = self.rows.iter().map(|row| row.faults).sum();
        let _ = write!(
            text,
            "{} runs of {} with seed {}: {valid} valid, {invalid} invalid, {} unknown; {acked} sends acknowledged, \
             {faults} faults",
            self.rows.len(),
            self.server,
            self.seed,
            self.rows.len() - valid - invalid,
        );
        if !self.left_out.is_empty() {
            let _ = write!(text, "; not brought about: {}", self.left_out.join(" "));
        }
        text
    }

    /// Writes `summary.json` and `index.html`.
    pub(super) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::write(folder.join("summary.json"), serde_json::to_string_pretty(self)? + "\n")?;
        std::fs::write(folder.join("index.html"), self.page())?;
        Ok(())
    }

    fn page(&self) -> String {
        let mut rows = String::new();
        for row in &self.rows {
            let [run, rest @ ..] = row.cells();
            let class = class(row.outcome);
            let link = format!("<a href=\"{0}/report.html\">{0}</a>", escaped(&run));
            let cells: String = rest.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            let _ = writeln!(rows, "<tr class=\"{class}\"><td>{link}</td>{cells}</tr>");
            for finding in &row.findings {
                let _ = writeln!(
                    rows,
                    "<tr class=\"{class}\"><td></td><td colspan=\"8\">{}</td></tr>",
                    escaped(finding)
                );
            }
            let _ = writeln!(
                rows,
                "<tr class=\"again\"><td></td><td colspan=\"8\"><code>{}</code></td></tr>",
                escaped(&row.command)
            );
        }
        let heads: String = HEADS.iter().map(|head| format!("<th>{head}</th>")).collect();
        let last = self.table();
        let last = last.lines().last().unwrap_or_default();
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>flotilla-jepsen suite {seed}</title>\n\
             <style>{STYLE}</style>\n<h1>{server}: {minutes} minutes of faults</h1>\n<p>{last}</p>\n\
             <table><tr>{heads}</tr>\n{rows}</table>\n</html>\n",
            seed = self.seed,
            server = escaped(&self.server),
            minutes = self.minutes,
            last = escaped(last),
        )
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;color:#1d2430}\
    table{border-collapse:collapse;width:100%}th{text-align:left;border-bottom:2px solid #8894a8}\
    td{padding:.15rem .6rem .15rem 0;vertical-align:top}tr.valid td:nth-child(5){color:#1a7f37}\
    tr.invalid td{color:#b42318}tr.unknown td:nth-child(5){color:#9a6700}\
    tr.again code{font-size:12px;color:#5b6675}tr.again td{border-bottom:1px solid #d8dee8}";
