//! What the nodes logged around the faults, and whatever they complained of.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::checker::{CountFrom, Outage};

use super::facts::{NodeFacts, RunFacts};
use super::html::{cut, seconds};
use super::stamp;

/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 320;

/// Bytes of a line that are read at once; what is longer is taken for several.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Lines that are shown around one fault, and of complaints.
const LINES_MAX: usize = 30;

/// Faults of which a node's lines are shown.
const FAULTS_MAX: usize = 40;

/// Milliseconds before the beginning or the healing of a fault, and after its outage, that are shown.
const MARGIN_MS: u64 = 300;

/// Words in which a complaint is known.
const COMPLAINTS: [&str; 5] = [" ERROR", "\"ERROR\"", "panicked", "Exception", "FATAL"];

/// What is shown of one node.
pub(super) struct NodeLog {
    pub name: String,
    pub parts: Vec<Part>,
    /// Why something is missing.
    pub missing: Vec<String>,
}

pub(super) struct Part {
    pub title: String,
    pub lines: Vec<String>,
    pub left_out: u64,
    /// In milliseconds since 1970. Complaints have no stretch of time.
    window: Option<(u64, u64)>,
}

impl Part {
    fn take(&mut self, line: &str) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(cut(line, LINE_CHARS_MAX));
        } else {
            self.left_out += 1;
        }
    }
}

/// Reads the logs once, line by line.
pub(super) fn excerpts(folder: &Path, facts: &RunFacts, outages: &[Outage]) -> Vec<NodeLog> {
    let nodes = facts.nodes.iter().chain(&facts.name_servers);
    nodes.map(|node| node_log(folder, node, facts, outages)).collect()
}

fn node_log(folder: &Path, node: &NodeFacts, facts: &RunFacts, outages: &[Outage]) -> NodeLog {
    let complaints = Part { title: "complaints".into(), lines: vec![], left_out: 0, window: None };
    let around = outages.iter().take(FAULTS_MAX).flat_map(|outage| around(outage, facts.started_at_ms));
    let mut log = NodeLog {
        name: node.name.clone(),
        parts: std::iter::once(complaints).chain(around).collect(),
        missing: vec![],
    };
    if outages.len() > FAULTS_MAX {
        log.missing.push(format!("only the first {FAULTS_MAX} of {} faults are shown", outages.len()));
    }
    if node.logs.is_empty() {
        log.missing.push("run.json names no log".to_owned());
    }
    for path in &node.logs {
        if let Err(error) = read_log(&folder.join(path), &mut log.parts) {
            log.missing.push(format!("{path} can't be read: {error}"));
        }
    }
    log.parts.retain(|part| !part.lines.is_empty());
    log
}

/// The parts for a fault: from just before it to just after the clients were served again, and the same for its healing
/// where that comes later.
fn around(outage: &Outage, started_at_ms: u64) -> Vec<Part> {
    let lasted = |ms: Option<f64>| ms.unwrap_or(0.0).clamp(500.0, 60_000.0) as u64;
    let part = |nanos: u64, what: &str, from: u64, to: u64| Part {
        title: format!("{} #{}{what} at {}", outage.kind, outage.number, seconds(nanos)),
        lines: vec![],
        left_out: 0,
        window: Some((from, to)),
    };
    let began = started_at_ms + outage.began / 1_000_000;
    let mut end = began + lasted(outage.since_begin_ms) + MARGIN_MS;
    let Some(healed_nanos) = outage.healed else {
        return vec![part(outage.began, "", began.saturating_sub(MARGIN_MS), end)];
    };
    let healed = (started_at_ms + healed_nanos / 1_000_000).saturating_sub(MARGIN_MS);
    end = end.min(healed.max(began + MARGIN_MS));
    let aftermath = match outage.counted_from {
        CountFrom::Begin => lasted(None),
        CountFrom::Heal => lasted(outage.outage_ms),
    };
    vec![
        part(outage.began, "", began.saturating_sub(MARGIN_MS), end),
        part(healed_nanos, " healed", healed.max(end + 1), healed + 2 * MARGIN_MS + aftermath),
    ]
}

fn read_log(path: &Path, parts: &mut [Part]) -> std::io::Result<()> {
    let mut input = BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    // Lines without a time belong to the one before: stack traces.
    let mut time = None;
    loop {
        bytes.clear();
        if input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        let text = without_colours(&String::from_utf8_lossy(&bytes));
        let line = text.trim_end();
        time = stamp::read(line).or(time);
        for part in parts.iter_mut() {
            let belongs = match part.window {
                Some((from, to)) => time.is_some_and(|time| (from..=to).contains(&time)),
                None => COMPLAINTS.iter().any(|word| line.contains(word)),
            };
            if belongs {
                part.take(line);
            }
        }
    }
}

/// Cuts the escapes with which a terminal colours its text.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.find(|c: char| c.is_ascii_alphabetic()).map_or("", |end| &after[end + 1..]);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_around_a_fault_and_complaints_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut facts = crate::report::facts::tests::facts();
        facts.started_at_ms = 1_795_678_401_000;
        let text = "2026-11-26T07:33:21.000Z  INFO early\n\
                    2026-11-26T07:33:25.900Z  \u{1b}[32mINFO\u{1b}[0m just before\n\
                    2026-11-26T07:33:26.500Z ERROR within\n  at a trace\n\
                    2026-11-26T07:33:40.000Z  INFO late\nthread 'x' panicked at y\n";
        std::fs::write(folder.path().join("a.log"), text).expect("written");
        let node = |name: &str, log: &str| NodeFacts {
            name: name.into(),
            address: String::new(),
            logs: vec![log.into()],
        };
        facts.nodes = vec![node("a", "a.log"), node("b", "b.log")];
        let mut tape = crate::checker::tests::tape::Tape::default();
        tape.at(5_000).note(crate::checker::tests::tape::fault(1, true), crate::history::Kind::Info);
        let outages = crate::checker::outages(&tape.history(), &crate::checker::Limits::default());
        let logs = excerpts(folder.path(), &facts, &outages);
        let lines: Vec<_> = logs[0].parts.iter().map(|part| &part.lines[..]).collect();
        assert_eq!(lines[0], ["2026-11-26T07:33:26.500Z ERROR within", "thread 'x' panicked at y"]);
        assert_eq!(
            lines[1],
            [
                "2026-11-26T07:33:25.900Z  INFO just before",
                "2026-11-26T07:33:26.500Z ERROR within",
                "  at a trace"
            ]
        );
        assert!(logs[1].missing[0].starts_with("b.log can't be read"), "{:?}", logs[1].missing);
    }
}
