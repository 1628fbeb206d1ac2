//! What `run.json` says of a run.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::args::{Product, RunArgs};
use crate::cluster::{Layout, Server};
use crate::java::LIBRARY_VERSION;
use crate::nemesis::Nemesis;
use crate::report::{CountFrom, Limit, Machine, NodeFacts, RunFacts, ServerFacts};
use crate::workload::{Sends, Workload};

/// Limit of Flotilla's outages unless another one is given: elections take about a second, but runs share their machine.
const LIMIT_MS: u64 = 10_000;

/// Facts of a run that begins.
pub(super) fn facts(
    args: &RunArgs,
    server: &dyn Server,
    sends: &Sends,
    layout: &Layout,
    started: SystemTime,
) -> RunFacts {
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let logs = |name: &str| {
        let log = layout.log(name);
        vec![log.strip_prefix(&layout.folder).unwrap_or(&log).display().to_string()]
    };
    let nodes = layout.nodes.iter().enumerate().map(|(number, place)| {
        let name = format!("n{number}");
        NodeFacts { address: place.advertised.to_string(), logs: logs(&name), name }
    });
    let name_servers = layout.name_servers.iter().enumerate().map(|(number, place)| {
        let name = format!("namesrv{number}");
        NodeFacts { address: place.for_clients.to_string(), logs: logs(&name), name }
    });
    let mut settings = BTreeMap::from([("flushDiskType".to_owned(), layout.flush.key().to_owned())]);
    settings.extend(layout.settings.iter().cloned());
    let mut versions = BTreeMap::from([("flotilla-jepsen".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    if let Sends::Java(java) = sends {
        let poll = java.poll_ms().map_or("its default".to_owned(), |poll| format!("{poll} ms"));
        let client = format!("rocketmq-client {LIBRARY_VERSION}, route poll {poll}");
        versions
            .extend([("sending client".to_owned(), client), ("java".to_owned(), java.version().to_owned())]);
    }
    RunFacts {
        seed: args.seed(),
        command: args.command(),
        workload: args.workload.to_string(),
        nemeses: args.nemesis.iter().map(ToString::to_string).collect(),
        server: ServerFacts { kind: server.name().to_owned(), version: server.version(), settings },
        nodes: nodes.collect(),
        name_servers: name_servers.collect(),
        started_at_ms: u64::try_from(started.as_millis()).unwrap_or(0),
        seconds: args.seconds,
        limits: limits(args),
        must_judge: must_judge(args.workload).iter().map(|name| (*name).to_owned()).collect(),
        versions,
        machine: Machine::here(),
    }
}

/// Outages that are forgiven. Where faults of several kinds come together there is no saying which of them is at fault, and
/// they are measured only; that clients are served in the end is asked of every run.
fn limits(args: &RunArgs) -> BTreeMap<String, Limit> {
    let known = match args.target.server {
        Product::Flotilla => LIMIT_MS,
        Product::RocketmqDledger => 0,
    };
    let outage_ms = args.limit_ms.unwrap_or(known);
    let ([nemesis], 1..) = (args.nemesis.as_slice(), outage_ms) else { return BTreeMap::new() };
    let from = if is_survived(*nemesis) { CountFrom::Begin } else { CountFrom::Heal };
    BTreeMap::from([(nemesis.to_string(), Limit { outage_ms, from })])
}

/// Claims that a majority survives the fault, hears each other, and can be reached by clients.
pub fn is_survived(nemesis: Nemesis) -> bool {
    match nemesis {
        Nemesis::KillOne
        | Nemesis::KillLeader
        | Nemesis::PauseLeader
        | Nemesis::PauseOne
        | Nemesis::IsolateLeader
        | Nemesis::IsolateMinority
        | Nemesis::Halves
        | Nemesis::Bridge
        | Nemesis::OneWay
        | Nemesis::Transfer
        | Nemesis::LateRegistration
        | Nemesis::NameServer
        | Nemesis::NameServers
        | Nemesis::StopLeader
        | Nemesis::RollingRestart
        | Nemesis::TornTail
        | Nemesis::DamagedViews
        | Nemesis::DeletedViews
        | Nemesis::Clock
        | Nemesis::PowerLoss => true,
        Nemesis::KillMajority
        | Nemesis::KillAll
        | Nemesis::PauseMajority
        | Nemesis::Ring
        | Nemesis::Slow
        | Nemesis::Throttle
        | Nemesis::Resets
        | Nemesis::PowerLossAll => false,
    }
}

/// Checkers that a run of a workload gives something to judge, or it has shown nothing.
fn must_judge(workload: Workload) -> &'static [&'static str] {
    match workload {
        Workload::Queue => &["acked-kept", "stored-once", "offsets-final", "consumed"],
        Workload::Log => {
            &["acked-kept", "stored-once", "offsets-final", "committed-reads", "real-time-order"]
        }
        Workload::Order => &["acked-kept", "stored-once", "consumed", "key-order"],
        Workload::Offsets => &["offset-registers"],
        Workload::Topics => &["topic-registers"],
        Workload::Retry => &["acked-kept", "stored-once", "consumed"],
    }
}
