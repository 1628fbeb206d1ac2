//! The page: what one needs first is at the top. Nothing is loaded from elsewhere.

use std::fmt::Write;

use crate::checker::{Judgement, Outage, Outcome};
use crate::history::{Act, History, Process};

use super::charts::Series;
use super::facts::RunFacts;
use super::html::{escaped, seconds};
use super::logs::NodeLog;
use super::svg::TimeAxis;
use super::{operations, outages, stamp, timeline, verdicts};

const STYLE: &str = include_str!("page.css");

/// All that a page tells.
pub(super) struct Run<'a> {
    pub facts: &'a RunFacts,
    pub history: &'a History,
    pub judgement: &'a Judgement,
    pub outages: &'a [Outage],
}

pub(super) fn page(run: &Run<'_>, logs: &[NodeLog]) -> String {
    let Run { facts, history, judgement, outages } = run;
    let axis = TimeAxis { end: history.ops().last().map_or(1, |op| op.time.max(1)) };
    let series = Series::of(history, axis);
    let mut html = String::with_capacity(256 << 10);
    let title = format!("{}: {} under {}", judgement.outcome.word(), facts.workload, nemeses(facts));
    let _ = write!(
        html,
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{}</title><style>{STYLE}</style></head><body>",
        escaped(&title)
    );
    write_head(&mut html, run);
    section(&mut html, "Verdicts", "", &verdicts::verdicts(history, judgement));
    section(
        &mut html,
        "Outages",
        "The longest time without an acknowledgement that each fault caused.",
        &outages::tables(facts, outages),
    );
    section(
        &mut html,
        "Throughput",
        &legend(&[("done", "done"), ("failed", "failed"), ("unknown", "unknown"), ("band", "fault")]),
        &series.throughput(outages),
    );
    section(
        &mut html,
        "Latency of what was done",
        &legend(&[("median", "median"), ("p99", "p99"), ("worst", "worst")]),
        &series.latency(outages),
    );
    let shades = [
        ("done", "done"),
        ("failed", "failed"),
        ("unknown", "unknown"),
        ("fault", "fault"),
        ("mark", "anomaly"),
    ];
    section(
        &mut html,
        "Timeline",
        &legend(&shades),
        &timeline::timeline(facts, history, judgement, outages, axis),
    );
    section(&mut html, "Operations", "", &operations::table(history));
    section(&mut html, "Logs", "Lines of each node around the faults, in UTC.", &logs_html(logs));
    section(&mut html, "Run", "", &facts_html(run));
    html + "</body></html>\n"
}

fn nemeses(facts: &RunFacts) -> String {
    if facts.nemeses.is_empty() { "no faults".to_owned() } else { facts.nemeses.join(", ") }
}

fn section(html: &mut String, title: &str, note: &str, body: &str) {
    let _ = write!(html, "<section><h2>{title} <span class=note>{note}</span></h2>{body}</section>");
}

fn legend(shades: &[(&str, &str)]) -> String {
    let one = |(class, text): &(&str, &str)| format!("<span class=\"key {class}\"></span>{text} ");
    shades.iter().map(one).collect()
}

/// The verdict, what it is of, and how to see it again.
fn write_head(html: &mut String, run: &Run<'_>) {
    let Run { facts, history, judgement, outages } = run;
    let wrong: u64 = judgement.findings.iter().map(|finding| finding.verdict.anomaly_count()).sum();
    let unsure =
        judgement.findings.iter().filter(|finding| finding.verdict.outcome == Outcome::Unknown).count();
    let judged =
        judgement.findings.iter().filter(|finding| finding.verdict.outcome != Outcome::Absent).count();
    let said = match judgement.outcome {
        Outcome::Invalid if wrong == 1 => "1 anomaly".to_owned(),
        Outcome::Invalid => format!("{wrong} anomalies"),
        Outcome::Unknown | Outcome::Absent => format!("no anomaly, but {unsure} verdicts are not known"),
        Outcome::Valid => format!("no anomaly in {judged} checks"),
    };
    let _ = write!(
        html,
        "<header class={}><h1>{}</h1><p class=said>{said}</p><p>{} under {} on {} {}</p>",
        verdicts::class(judgement.outcome),
        judgement.outcome.word(),
        escaped(&facts.workload),
        escaped(&nemeses(facts)),
        escaped(&facts.server.kind),
        escaped(&facts.server.version),
    );
    let clients = history.ops().iter().filter(|op| matches!(op.process, Process::Client(_)));
    let begun = clients.filter(|op| op.kind == crate::history::Kind::Invoke).count();
    let _ = write!(
        html,
        "<p>operations: {begun}, faults: {}, nodes: {}; {} from {} UTC, seed <b>{}</b></p></header>",
        outages.len(),
        facts.nodes.len(),
        seconds(history.ops().last().map_or(0, |op| op.time)),
        stamp::written(facts.started_at_ms),
        facts.seed,
    );
    let _ = write!(
        html,
        "<p class=note>Run it again:</p><pre class=command>{}</pre>",
        escaped(&facts.command_line())
    );
}

fn logs_html(logs: &[NodeLog]) -> String {
    let mut html = String::new();
    for log in logs {
        let count: usize = log.parts.iter().map(|part| part.lines.len()).sum();
        let _ = write!(
            html,
            "<details><summary><b>{}</b> <span class=note>{count} lines</span></summary><div class=body>",
            escaped(&log.name)
        );
        for missing in &log.missing {
            let _ = write!(html, "<p class=note>{}</p>", escaped(missing));
        }
        for part in &log.parts {
            let _ = write!(html, "<h3>{}</h3><pre>", escaped(&part.title));
            for line in &part.lines {
                let _ = writeln!(html, "{}", escaped(line));
            }
            html.push_str("</pre>");
            if part.left_out > 0 {
                let _ = write!(html, "<p class=note>and {} more lines</p>", part.left_out);
            }
        }
        html.push_str("</div></details>");
    }
    html
}

fn facts_html(run: &Run<'_>) -> String {
    let facts = run.facts;
    let mut rows: Vec<(String, String)> = vec![
        ("meant to last".into(), format!("{} s", facts.seconds)),
        ("server".into(), format!("{} {}", facts.server.kind, facts.server.version)),
    ];
    rows.extend(facts.server.settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    rows.extend(facts.versions.iter().map(|(name, value)| (name.clone(), value.clone())));
    for node in facts.nodes.iter().chain(&facts.name_servers) {
        rows.push((node.name.clone(), format!("{} {}", node.address, node.logs.join(" "))));
    }
    let machine = &facts.machine;
    let text = format!(
        "{} cores, {} MiB, {}, Linux {}",
        machine.cores, machine.memory_mib, machine.processor, machine.kernel
    );
    rows.push(("machine".into(), text));
    let inspected = run.history.ops().iter().filter(|op| matches!(op.act, Act::Inspect { .. }));
    for op in inspected.filter(|op| op.kind != crate::history::Kind::Invoke) {
        if let Act::Inspect { what, found } = &op.act {
            rows.push((what.clone(), found.clone()));
        }
    }
    let mut html = "<table class=facts>".to_owned();
    for (name, value) in rows {
        let _ = write!(html, "<tr><th>{}<td>{}</tr>", escaped(&name), escaped(&value));
    }
    html + "</table>"
}

#[cfg(test)]
mod tests {
    use crate::checker::tests::tape::{Tape, fault, send};
    use crate::checker::{self, Limits};
    use crate::history::Kind;

    use super::*;

    fn page_of(tape: &Tape, facts: &RunFacts) -> String {
        let history = tape.history();
        let limits = Limits { by_kind: facts.limits.clone(), default: None };
        let judgement = checker::judge(&history, &checker::all(limits.clone(), &[]), &[]);
        let outages = checker::outages(&history, &limits);
        page(&Run { facts, history: &history, judgement: &judgement, outages: &outages }, &[])
    }

    fn run_with_an_anomaly() -> Tape {
        let mut tape = Tape::default();
        tape.acked(1, 0, 0).acked(2, 0, 1).note(fault(1, true), Kind::Invoke).note(fault(1, true), Kind::Ok);
        tape.at(5_000).call(send(3), Kind::Info).note(fault(1, false), Kind::Ok).acked(4, 0, 2);
        tape.drained().pulled(0, 0, 1, &[1]);
        tape
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let page = page_of(&run_with_an_anomaly(), &crate::report::facts::tests::facts());
        for foreign in ["http:", "https:", "src=", "href=", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_is_wrong_stands_at_the_top_and_is_open() {
        let page = page_of(&run_with_an_anomaly(), &crate::report::facts::tests::facts());
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is missing"));
        let parts = [
            "<h1>INVALID</h1>",
            "seed <b>42</b>",
            "flotilla-jepsen run --note &#39;it",
            "<details open><summary><span class=\"chip invalid\">INVALID</span> <b>acked-kept</b>",
            "id 2 was acknowledged and is lost",
            "kill-leader #1: 5000 ms without an acknowledgement",
            "<tr class=over><td>kill-leader",
            "Throughput over time",
            "Timeline of operations and faults",
        ];
        let places: Vec<usize> = parts.iter().map(|part| place(part)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(page.matches("<svg").count() == page.matches("</svg>").count());
    }

    #[test]
    fn what_others_wrote_can_do_no_harm() {
        let mut facts = crate::report::facts::tests::facts();
        facts.workload = "<script>alert(1)</script>".into();
        facts.nodes =
            vec![crate::report::NodeFacts { name: "<b>".into(), address: "\"'".into(), logs: vec![] }];
        let mut tape = run_with_an_anomaly();
        tape.note(Act::Inspect { what: "<i>".into(), found: "</pre>".into() }, Kind::Fail);
        let page = page_of(&tape, &facts);
        assert!(!page.contains("<script") && !page.contains("<i>") && page.contains("&lt;/pre&gt;"));
    }

    #[test]
    fn a_history_of_nothing_has_a_page() {
        let page = page_of(&Tape::default(), &crate::report::facts::tests::facts());
        assert!(page.contains("<h1>unknown</h1>") && !page.contains("NaN") && !page.contains("inf"));
    }
}
