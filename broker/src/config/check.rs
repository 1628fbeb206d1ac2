//! Contradictions between settings. Each refuses the start with the names of both sides.

use std::net::IpAddr;

use flotilla_core::SettingChange;

use super::merge::{Note, Settings};
use super::typed::BrokerConfig;

/// What a request frame needs beyond the body of a message: header, properties, topic.
const FRAME_OVERHEAD: usize = 256 * 1024;

/// What a log record needs beyond the body of a message.
const RECORD_OVERHEAD: u64 = 256 * 1024;

pub(super) fn check(config: &BrokerConfig, settings: &Settings, notes: &mut Vec<Note>) -> Vec<String> {
    let mut problems = Vec::new();
    raft(config, settings, &mut problems);
    sizes(config, settings, &mut problems);
    ports(config, settings, &mut problems);
    addresses(config, settings, notes, &mut problems);
    group(config, notes);
    problems
}

/// A change of the group's settings, as [`check`] and [`modes`] would see it at the next start.
pub(super) fn change(config: &BrokerConfig, change: &SettingChange) -> Result<(), String> {
    let refused = match change {
        SettingChange::PropertyFilterEnable(true) => {
            Some("SQL subscriptions are not available yet".to_owned())
        }
        SettingChange::MessageSizeMax(bytes) => {
            let mut changed = config.clone();
            changed.topics.message_size_max = *bytes as usize;
            let mut problems = Vec::new();
            sizes(&changed, &config.settings, &mut problems);
            problems.into_iter().next().map(|problem| format!("maxMessageSize={bytes}: {problem}"))
        }
        _ => None,
    };
    refused.map_or(Ok(()), Err)
}

/// Modes of RocketMQ that can't be had here: starting without them would break what the user relies on.
pub(super) fn modes(settings: &Settings) -> Vec<String> {
    let mut problems = Vec::new();
    const REFUSED: [(&str, &str, &str); 8] = [
        ("enableDLegerCommitLog", "false", "every group is replicated; remove the line"),
        ("brokerRole", "SLAVE", "replicas of a group elect their leader; list them in dLegerPeers"),
        ("enableControllerMode", "true", "replicas of a group elect their leader; list them in dLegerPeers"),
        (
            "useTLS",
            "true",
            "encrypted connections are not available yet, and talking in the open would be unsafe",
        ),
        ("enablePropertyFilter", "true", "SQL subscriptions are not available yet"),
        ("aclEnable", "true", "access control is not available yet, and starting open would be unsafe"),
        (
            "authenticationEnabled",
            "true",
            "access control is not available yet, and starting open would be unsafe",
        ),
        (
            "authorizationEnabled",
            "true",
            "access control is not available yet, and starting open would be unsafe",
        ),
    ];
    for (name, value, because) in REFUSED {
        let setting = settings.get(name);
        if setting.text == value {
            problems.push(format!("{}: {because}", setting.named()));
        }
    }
    problems
}

fn raft(config: &BrokerConfig, settings: &Settings, problems: &mut Vec<String>) {
    let named = |name| settings.get(name).named();
    let (min, max) = config.raft.election_ms;
    if min >= max {
        problems.push(format!(
            "{} must be below {}",
            named("raftElectionMinMillis"),
            named("raftElectionMaxMillis")
        ));
    }
    if config.raft.heartbeat_ms * 2 > min {
        problems.push(format!(
            "{} must be at most half of {}, or a single late heartbeat starts an election",
            named("raftHeartbeatMillis"),
            named("raftElectionMinMillis")
        ));
    }
    for name in ["brokerName", "brokerClusterName"] {
        if settings.get(name).text.is_empty() {
            problems.push(format!("{name} must not be empty"));
        }
    }
}

fn sizes(config: &BrokerConfig, settings: &Settings, problems: &mut Vec<String>) {
    let named = |name| settings.get(name).named();
    let message = config.topics.message_size_max;
    if message + FRAME_OVERHEAD > config.limits.frame_size_max {
        problems.push(format!(
            "{} does not fit a frame: {} must be {FRAME_OVERHEAD} bytes larger",
            named("maxMessageSize"),
            named("frameSizeMax")
        ));
    }
    let record = (message as u64).max(config.raft.append_bytes_max as u64) + RECORD_OVERHEAD;
    if record > config.disk.segment_size {
        problems.push(format!(
            "{} must be at least {record}, so that a segment holds {} and {}",
            named("mappedFileSizeCommitLog"),
            named("maxMessageSize"),
            named("raftAppendBytesMax")
        ));
    }
    if record > config.raft.in_flight_bytes_max {
        problems.push(format!(
            "{} must be at least {record}, or {} could never be sent",
            named("raftInFlightBytesMax"),
            named("maxMessageSize")
        ));
    }
    if config.limits.frame_size_max > config.limits.in_flight_bytes_max {
        problems.push(format!("{} must hold {}", named("inFlightBytesMax"), named("frameSizeMax")));
    }
}

fn ports(config: &BrokerConfig, settings: &Settings, problems: &mut Vec<String>) {
    let raft_port = config.raft.listen.parse::<std::net::SocketAddr>().map_or(0, |address| address.port());
    let raft_name = match settings.get("raftListen").text.is_empty() {
        true => settings.get("dLegerPeers").named(),
        false => settings.get("raftListen").named(),
    };
    let admin_port = config.admin.listen.map_or(0, |address| address.port());
    let ports = [
        (config.identity.listen.port(), settings.get("listenPort").named()),
        (raft_port, raft_name),
        (admin_port, settings.get("adminListen").named()),
    ];
    for (at, (port, name)) in ports.iter().enumerate() {
        for (other, other_name) in &ports[at + 1..] {
            if *port != 0 && port == other {
                problems.push(format!("{name} and {other_name} use the same port {port}"));
            }
        }
    }
}

fn addresses(config: &BrokerConfig, settings: &Settings, notes: &mut Vec<Note>, problems: &mut Vec<String>) {
    let is_loopback = |host: &str| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let advertised = &config.identity.advertised_host;
    let distant = config.raft.peers.iter().find(|peer| !is_loopback(&peer.host));
    if let Some(distant) = distant.filter(|_| is_loopback(advertised)) {
        problems.push(format!(
            "clients would be told {advertised}, but replica n{} is on another machine ({}): set brokerIP1 to the \
             address that clients reach this one under",
            distant.index, distant.host
        ));
    }
    if advertised.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        problems
            .push(format!("{}: not an address that clients can reach", settings.get("brokerIP1").named()));
    }
    if config.registration.name_servers.is_empty() {
        notes.push(Note::Warning(
            "namesrvAddr is not set: no client will find this broker through a name server".to_owned(),
        ));
    }
}

fn group(config: &BrokerConfig, notes: &mut Vec<Note>) {
    let count = config.raft.peers.len();
    if count.is_multiple_of(2) {
        let text = format!("dLegerPeers lists {count} replicas: one fewer survives as many failures");
        notes.push(Note::Warning(text));
    } else if count == 1 {
        notes.push(Note::Warning("dLegerPeers lists one replica: nothing survives its loss".to_owned()));
    }
}
