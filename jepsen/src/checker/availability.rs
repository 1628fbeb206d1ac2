//! How long each fault kept clients from being acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::history::{Act, Fault, History, Kind};

use super::limits::{CountFrom, Limits};
use super::{Checker, Verdict};

/// Anomalies: `outage` (longer than the limit), `not-recovered` (all faults were healed, and nothing that was tried from
/// then on was acknowledged). Unknown: a fault with a limit during which nobody tried anything, and the end of all faults
/// after which nobody did.
pub struct Availability {
    pub limits: Limits,
}

/// An inspection of this name that was right says that no fault is in force any more, also none that failed half-way.
pub const ALL_HEALED: &str = "all faults healed";

/// How long after it was healed a fault answers for an outage that begins then, unless another one begins: an old leader
/// that comes back may disturb too. The outage itself may be longer. Nanoseconds.
const AFTERMATH: u64 = 10_000_000_000;

const NANOS_PER_MS: f64 = 1e6;

/// What one occurrence of a fault did to the clients. Times in nanoseconds of the history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outage {
    pub kind: String,
    pub number: u32,
    pub nodes: Vec<u32>,
    pub detail: String,
    pub began: u64,
    /// `None`: it was not healed by a step of its own.
    pub healed: Option<u64>,
    /// The longest time without an acknowledgement, in milliseconds, of what the fault answers for; counted from
    /// `counted_from` on at the earliest. `None`: there was nobody who could have been acknowledged.
    pub outage_ms: Option<f64>,
    pub counted_from: CountFrom,
    /// The same counted from the beginning of the fault, which `outage_ms` may not be.
    pub since_begin_ms: Option<f64>,
    /// An acknowledgement ended the outage, rather than the next fault or the end of the attempts.
    pub recovered: bool,
    /// Attempts that ended meanwhile without success, or with an unknown outcome.
    pub failed_count: u64,
    pub unknown_count: u64,
    pub limit_ms: Option<u64>,
    /// Lines of the fault.
    pub lines: Vec<u64>,
}

impl Outage {
    pub fn exceeds_limit(&self) -> bool {
        self.outage_ms.zip(self.limit_ms).is_some_and(|(outage, limit)| outage > limit as f64)
    }
}

impl Checker for Availability {
    fn name(&self) -> &'static str {
        "availability"
    }

    fn proves(&self) -> &'static str {
        "No fault kept all clients from being acknowledged for longer than its kind's limit, and they are acknowledged \
         again when all faults are healed."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        for outage in outages(history, &self.limits) {
            let Some(limit) = outage.limit_ms else {
                verdict.count("faults without a limit", 1);
                continue;
            };
            let Some(lasted) = outage.outage_ms else {
                verdict.unknown("a fault with a limit during which nobody tried anything");
                continue;
            };
            verdict.judged("faults");
            if outage.exceeds_limit() {
                verdict.anomaly("outage", &outage.lines, || {
                    let (kind, number) = (&outage.kind, outage.number);
                    let end = if outage.recovered { "" } else { ", and none ended it" };
                    format!("{kind} #{number}: {lasted:.0} ms without an acknowledgement{end}; the limit is {limit} ms")
                });
            }
        }
        check_recovery(history, &mut verdict);
        verdict
    }
}

/// Whatever the faults were, clients are served again in the end.
fn check_recovery(history: &History, verdict: &mut Verdict) {
    let Some(healed) = all_healed(history) else { return };
    let counts = counts_as_attempt(history);
    let mut tried = None;
    for op in history.ops()[healed as usize + 1..].iter().filter(|op| counts(&op.act)) {
        if op.kind == Kind::Ok {
            return verdict.count("recoveries", 1);
        }
        tried = Some(op.index);
    }
    let Some(tried) = tried else {
        return verdict.unknown("nobody tried anything after all faults were healed");
    };
    verdict.anomaly("not-recovered", &[healed, tried], || {
        format!("all faults were healed (line #{healed}) and nothing was acknowledged from then on (until line #{tried})")
    });
}

/// The line from which on no fault is in force; `None` where there was none, or one that nobody ended is in force.
fn all_healed(history: &History) -> Option<u64> {
    let mut in_force = BTreeSet::new();
    let mut healed = None;
    for op in history.ops() {
        match &op.act {
            Act::Fault(fault) if fault.begins && op.kind != Kind::Fail => _ = in_force.insert(fault.number),
            // One that was refused, or could not be ended, may have been begun half-way: it says nothing.
            Act::Fault(fault) if op.kind == Kind::Fail && fault.begins => _ = in_force.remove(&fault.number),
            Act::Fault(fault) if matches!(op.kind, Kind::Ok | Kind::Info) => {
                in_force.remove(&fault.number);
                healed = Some(op.index);
            }
            Act::Inspect { what, .. } if what == ALL_HEALED && op.kind == Kind::Ok => {
                in_force.clear();
                healed = Some(op.index);
            }
            _ => {}
        }
    }
    healed.filter(|_| in_force.is_empty())
}

/// One for each fault that was not refused, in the order of the beginnings.
pub fn outages(history: &History, limits: &Limits) -> Vec<Outage> {
    let attempts = Attempts::of(history);
    let faults = faults(history);
    let begins: Vec<u64> = faults.iter().map(|fault| fault.began).collect();
    faults
        .into_iter()
        .filter(|fault| !fault.refused)
        .map(|fault| {
            let next = begins.get(begins.partition_point(|began| *began <= fault.began)).copied();
            measure(&fault, next.unwrap_or(u64::MAX), &attempts, limits)
        })
        .collect()
}

struct Occurrence<'a> {
    fault: &'a Fault,
    began: u64,
    healed: Option<u64>,
    refused: bool,
    lines: Vec<u64>,
}

fn faults(history: &History) -> Vec<Occurrence<'_>> {
    let mut faults: BTreeMap<u32, Occurrence<'_>> = BTreeMap::new();
    for op in history.ops() {
        let Act::Fault(fault) = &op.act else { continue };
        if fault.begins {
            let occurrence = faults.entry(fault.number).or_insert(Occurrence {
                fault,
                began: op.time,
                healed: None,
                refused: false,
                lines: Vec::new(),
            });
            // Which nodes were hit may be known only afterwards.
            occurrence.fault = fault;
            occurrence.refused |= op.kind == Kind::Fail;
            occurrence.lines.push(op.index);
        } else if let Some(occurrence) = faults.get_mut(&fault.number) {
            if matches!(op.kind, Kind::Ok | Kind::Info) {
                occurrence.healed = Some(op.time);
            }
            occurrence.lines.push(op.index);
        }
    }
    let mut faults: Vec<_> = faults.into_values().collect();
    faults.sort_by_key(|fault| fault.began);
    faults
}

/// What clients tried, where it counts.
struct Attempts {
    acked: Vec<u64>,
    failed: Vec<u64>,
    unknown: Vec<u64>,
    /// The first and the last line of an attempt.
    span: Option<(u64, u64)>,
}

impl Attempts {
    fn of(history: &History) -> Self {
        let counts = counts_as_attempt(history);
        let mut attempts = Attempts { acked: vec![], failed: vec![], unknown: vec![], span: None };
        for op in history.ops() {
            if !counts(&op.act) {
                continue;
            }
            attempts.span = Some((attempts.span.map_or(op.time, |span| span.0), op.time));
            match op.kind {
                Kind::Invoke => {}
                Kind::Ok => attempts.acked.push(op.time),
                Kind::Fail => attempts.failed.push(op.time),
                Kind::Info => attempts.unknown.push(op.time),
            }
        }
        attempts
    }
}

/// Whether an operation of this history is one by which it is told if clients are served: a send; without sends, another
/// write, since reads may be answered by a group that takes nothing; without writes, a read.
pub(crate) fn counts_as_attempt(history: &History) -> impl Fn(&Act) -> bool + use<> {
    let best = history.ops().iter().filter_map(|op| weight(&op.act)).min();
    move |act| best.is_some() && weight(act) == best
}

/// How well an operation tells whether clients are served, the best 0.
fn weight(act: &Act) -> Option<u8> {
    match act {
        Act::Send { .. } => Some(0),
        Act::CommitOffset { .. } | Act::SetTopic { .. } | Act::DeleteTopic { .. } => Some(1),
        Act::ReadOffset { .. } | Act::ReadTopic { .. } => Some(2),
        Act::Pull { .. }
        | Act::Consume { .. }
        | Act::Drained { .. }
        | Act::Fault(_)
        | Act::Inspect { .. } => None,
    }
}

fn measure(occurrence: &Occurrence<'_>, next: u64, attempts: &Attempts, limits: &Limits) -> Outage {
    let fault = occurrence.fault;
    let limit = limits.of(&fault.fault);
    let counted_from = limit.map_or(CountFrom::Begin, |limit| limit.from);
    let start = match counted_from {
        CountFrom::Begin => Some(occurrence.began),
        CountFrom::Heal => occurrence.healed,
    };
    // A fault that is in force answers for what happens, whatever begins meanwhile.
    let blame = Blame {
        recovers_from: occurrence.healed.unwrap_or(occurrence.began),
        begins_until: occurrence.healed.map_or(next, |healed| healed.saturating_add(AFTERMATH)),
        cut_at: occurrence.healed.map_or(next, |healed| healed.max(next)),
        // What takes the majority away again is forgiven anew.
        carried_on: counted_from == CountFrom::Begin,
    };
    let longest = start.and_then(|start| longest_gap(start, blame, attempts));
    let since_begin = longest_gap(occurrence.began, blame, attempts);
    let end = blame.begins_until.min(blame.cut_at);
    let within =
        |times: &[u64]| times.iter().filter(|time| (occurrence.began..end).contains(time)).count() as u64;
    let in_ms = |gap: (u64, bool)| gap.0 as f64 / NANOS_PER_MS;
    Outage {
        kind: fault.fault.clone(),
        number: fault.number,
        nodes: fault.nodes.clone(),
        detail: fault.detail.clone(),
        began: occurrence.began,
        healed: occurrence.healed,
        outage_ms: longest.map(in_ms),
        since_begin_ms: since_begin.map(in_ms),
        counted_from,
        recovered: longest.is_some_and(|(_, recovered)| recovered),
        failed_count: within(&attempts.failed),
        unknown_count: within(&attempts.unknown),
        limit_ms: limit.map(|limit| limit.outage_ms),
        lines: occurrence.lines.clone(),
    }
}

/// For which gaps between acknowledgements a fault answers. Times in nanoseconds of the history.
#[derive(Clone, Copy)]
struct Blame {
    /// Its end: without an acknowledgement from then on nobody has recovered from it.
    recovers_from: u64,
    /// For gaps that begin before, to their ends.
    begins_until: u64,
    /// Another fault begins, which answers for the rest of a gap.
    cut_at: u64,
    /// It goes on answering for a gap from which nobody had recovered when another fault began.
    carried_on: bool,
}

impl Blame {
    /// How much of the gap counts.
    fn part(self, since: u64, until: u64) -> u64 {
        let carried = self.carried_on && since <= self.recovers_from;
        let end = if carried { until } else { until.min(self.cut_at) };
        end.saturating_sub(since)
    }
}

/// The longest time without an acknowledgement from `start` on, and whether one ended it. `None` where the attempts were
/// over before.
fn longest_gap(start: u64, blame: Blame, attempts: &Attempts) -> Option<(u64, bool)> {
    let (first, last) = attempts.span?;
    let mut since = start.max(first);
    let begins_until = blame.begins_until.min(blame.cut_at);
    if since >= begins_until.min(last) {
        return None;
    }
    let mut longest = (0, true);
    let after = attempts.acked.partition_point(|time| *time < since);
    let ends = attempts.acked[after..].iter().map(|time| (*time, true)).chain([(last, false)]);
    for (until, acked) in ends {
        if since >= begins_until {
            break;
        }
        let part = blame.part(since, until);
        longest = longest.max((part, acked && since + part == until));
        since = until;
    }
    Some(longest)
}
