//! Operations by kind: how many, how they ended, how long they took.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::history::{Act, Call, History, Kind};

use super::html::millis;

/// Name of what is done, as in the history; `None` for faults and notes.
pub(super) fn name(act: &Act) -> Option<&'static str> {
    match act {
        Act::Send { .. } => Some("send"),
        Act::Pull { .. } => Some("pull"),
        Act::Consume { .. } => Some("consume"),
        Act::CommitOffset { .. } => Some("commit-offset"),
        Act::ReadOffset { .. } => Some("read-offset"),
        Act::SetTopic { .. } => Some("set-topic"),
        Act::DeleteTopic { .. } => Some("delete-topic"),
        Act::ReadTopic { .. } => Some("read-topic"),
        Act::Drained { .. } | Act::Fault(_) | Act::Inspect { .. } => None,
    }
}

/// How long what was done took, in milliseconds.
pub(super) fn latency_ms(call: &Call<'_>) -> Option<f64> {
    call.done().map(|end| (end.time - call.begin.time) as f64 / 1e6)
}

/// The value below which the given part of the sorted list lies; 0 for an empty one.
pub(super) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(0.0)
}

#[derive(Default)]
struct Row {
    done: u64,
    failed: u64,
    unknown: u64,
    latencies_ms: Vec<f64>,
}

/// A table of all kinds of operation that the history holds.
pub(super) fn table(history: &History) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for call in history.calls() {
        let Some(name) = name(&call.begin.act) else { continue };
        let row = rows.entry(name).or_default();
        match call.outcome() {
            Kind::Ok => row.done += 1,
            Kind::Fail => row.failed += 1,
            Kind::Info | Kind::Invoke => row.unknown += 1,
        }
        row.latencies_ms.extend(latency_ms(&call));
    }
    let mut html = "<table><thead><tr><th>operation<th class=n>done<th class=n>failed<th class=n>unknown\
                    <th class=n>median<th class=n>p99<th class=n>p99.9<th class=n>worst</tr></thead><tbody>"
        .to_owned();
    for (name, mut row) in rows {
        row.latencies_ms.sort_unstable_by(f64::total_cmp);
        let _ = write!(
            html,
            "<tr><td>{name}<td class=n>{}<td class=n>{}<td class=n>{}",
            row.done, row.failed, row.unknown
        );
        for part in [0.5, 0.99, 0.999, 1.0] {
            let told = if row.latencies_ms.is_empty() {
                "–".to_owned()
            } else {
                millis(quantile(&row.latencies_ms, part))
            };
            let _ = write!(html, "<td class=n>{told}");
        }
        html.push_str("</tr>");
    }
    html + "</tbody></table>"
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_of_the_list() {
        let list: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|part| quantile(&list, part)), [50.0, 99.0, 100.0]);
        assert_eq!(quantile(&[7.0], 0.5), 7.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
