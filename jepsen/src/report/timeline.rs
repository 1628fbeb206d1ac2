//! Who did what when: a row for each node with its faults, and one for each client.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::checker::{Judgement, Outage};
use crate::history::{History, Kind, Process};

use super::facts::RunFacts;
use super::html::{cut, escaped, seconds};
use super::operations::name;
use super::svg::{LEFT, TimeAxis, begin, fault_text};

const NODE_ROW: f64 = 22.0;
const CLIENT_ROW: f64 = 11.0;
const TOP: f64 = 18.0;

/// Rows of clients that are drawn; a run has tens.
const CLIENTS_MAX: usize = 96;

/// Cells of a client's row: each shows the worst outcome in its stretch of time.
const CELLS: usize = 600;

/// Width of a letter of the labels, about.
const LETTER: f64 = 6.0;

/// How what a client did ended; the worst wins a cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shade {
    Done,
    Failed,
    Unknown,
}

impl Shade {
    fn class(self) -> &'static str {
        match self {
            Shade::Done => "done",
            Shade::Failed => "failed",
            Shade::Unknown => "unknown",
        }
    }
}

pub(super) fn timeline(
    facts: &RunFacts,
    history: &History,
    judgement: &Judgement,
    outages: &[Outage],
    axis: TimeAxis,
) -> String {
    let rows = client_rows(history, axis);
    let left_out = rows.len().saturating_sub(CLIENTS_MAX);
    let node_count =
        outages.iter().flat_map(|outage| &outage.nodes).max().map_or(0, |node| *node as usize + 1);
    let node_count = node_count.max(facts.nodes.len());
    let clients_top = TOP + node_count as f64 * NODE_ROW + 8.0;
    let bottom = clients_top + rows.len().min(CLIENTS_MAX) as f64 * CLIENT_ROW + 4.0;
    let mut svg = begin(bottom + 22.0, "Timeline of operations and faults");
    axis.draw(&mut svg, TOP, bottom);
    for node in 0..node_count {
        let name = facts.nodes.get(node).map_or_else(|| format!("node {node}"), |node| node.name.clone());
        draw_label(&mut svg, "tick", TOP + (node as f64 + 0.65) * NODE_ROW, &cut(&name, 16));
    }
    draw_faults(&mut svg, outages, node_count, axis);
    for (row, (process, cells)) in rows.iter().take(CLIENTS_MAX).enumerate() {
        let y = clients_top + row as f64 * CLIENT_ROW;
        draw_label(&mut svg, "tick small", y + 8.5, &format!("client {process}"));
        draw_client(&mut svg, y, cells, axis);
    }
    draw_anomalies(&mut svg, history, judgement, axis, bottom);
    svg.push_str("</svg>");
    if left_out > 0 {
        let _ = write!(svg, "<p class=note>{left_out} more clients are not drawn.</p>");
    }
    svg
}

fn draw_label(svg: &mut String, class: &str, y: f64, text: &str) {
    let text = escaped(text);
    let _ = write!(
        svg,
        r#"<text class="{class}" x="{:.1}" y="{y:.1}" text-anchor="end">{text}</text>"#,
        LEFT - 6.0
    );
}

/// A bar in the row of each node that a fault touches; on all rows where it names none.
fn draw_faults(svg: &mut String, outages: &[Outage], node_count: usize, axis: TimeAxis) {
    // Where the last label of a row ends: labels must not lie over each other.
    let mut taken = vec![0.0f64; node_count];
    for outage in outages {
        let (from, to) = (axis.x(outage.began), axis.x(outage.healed.unwrap_or(axis.end)));
        let width = (to - from).max(2.0);
        let all: Vec<u32> = (0..node_count as u32).collect();
        let nodes = if outage.nodes.is_empty() { &all } else { &outage.nodes };
        let title = escaped(&fault_text(outage));
        for node in nodes {
            let y = TOP + f64::from(*node) * NODE_ROW + 3.0;
            let class = if outage.exceeds_limit() { "fault over" } else { "fault" };
            let _ = write!(
                svg,
                r#"<rect class="{class}" x="{from:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}"><title>{title}</title></rect>"#,
                NODE_ROW - 6.0
            );
            let label = cut(&format!("{} #{}", outage.kind, outage.number), 24);
            let taken = &mut taken[*node as usize];
            if from >= *taken {
                let x = from + 3.0;
                let _ = write!(
                    svg,
                    r#"<text class="label" x="{x:.1}" y="{:.1}">{}</text>"#,
                    y + 12.0,
                    escaped(&label)
                );
                *taken = from + 8.0 + label.chars().count() as f64 * LETTER;
            }
        }
    }
}

type Cells = Vec<Option<Shade>>;

/// What each client was at, from the beginning to the end of each operation.
fn client_rows(history: &History, axis: TimeAxis) -> BTreeMap<u32, Cells> {
    let mut rows: BTreeMap<u32, Cells> = BTreeMap::new();
    let cell = |nanos: u64| ((nanos as f64 / axis.end as f64 * CELLS as f64) as usize).min(CELLS - 1);
    for call in history.calls() {
        let Process::Client(process) = call.begin.process else { continue };
        if name(&call.begin.act).is_none() {
            continue;
        }
        let shade = match call.outcome() {
            Kind::Ok => Shade::Done,
            Kind::Fail => Shade::Failed,
            Kind::Info | Kind::Invoke => Shade::Unknown,
        };
        let row = rows.entry(process).or_insert_with(|| vec![None; CELLS]);
        // Nobody was at what has no end: the process was given up, or the run was over.
        let end = call.end.map_or(call.begin.time, |end| end.time);
        for cell in &mut row[cell(call.begin.time)..=cell(end)] {
            *cell = (*cell).max(Some(shade));
        }
    }
    rows
}

/// Cells of the same shade in a row are one rectangle.
fn draw_client(svg: &mut String, y: f64, cells: &Cells, axis: TimeAxis) {
    let at = |cell: usize| axis.x((axis.end as f64 * cell as f64 / CELLS as f64) as u64);
    let height = CLIENT_ROW - 2.0;
    for shade in [Shade::Done, Shade::Failed, Shade::Unknown] {
        let mut path = String::new();
        let mut cell = 0;
        while cell < CELLS {
            let same = cells[cell..].iter().take_while(|other| **other == Some(shade)).count();
            if same > 0 {
                let _ =
                    write!(path, "M{:.1} {y:.1}H{:.1}v{height}H{:.1}Z", at(cell), at(cell + same), at(cell));
            }
            cell += same.max(1);
        }
        if !path.is_empty() {
            let _ = write!(svg, r#"<path class="{}" d="{path}"/>"#, shade.class());
        }
    }
}

/// A mark above each time at which a line that shows an anomaly stands.
fn draw_anomalies(svg: &mut String, history: &History, judgement: &Judgement, axis: TimeAxis, bottom: f64) {
    for finding in &judgement.findings {
        for anomaly in &finding.verdict.anomalies {
            let Some(op) = anomaly.lines.last().and_then(|line| history.ops().get(*line as usize)) else {
                continue;
            };
            let x = axis.x(op.time);
            let title = escaped(&format!("{} at {}: {}", anomaly.kind, seconds(op.time), anomaly.text));
            let _ = write!(
                svg,
                r#"<g class="mark"><title>{title}</title><line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom:.1}"/><path d="M{:.1} 4H{:.1}L{x:.1} {TOP}Z"/></g>"#,
                x - 6.0,
                x + 6.0
            );
        }
    }
}
