//! Whole configurations: what may start, what may not, and what is said about it.
#![allow(clippy::unwrap_used)]

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::*;
use flotilla_raft_store::FlushMode;

/// The file of the three-node example.
const EXAMPLE: &str = include_str!("../../../examples/three-node/n0.properties");

struct Probe(IpAddr);

impl AddressProbe for Probe {
    fn towards(&self, _: &str) -> io::Result<IpAddr> {
        Ok(self.0)
    }
}

fn loaded(file: &str, overrides: &[&str]) -> Result<Loaded, ConfigError> {
    let sources = Sources {
        file: Some(("n0.properties".to_owned(), file.as_bytes().to_vec())),
        environment: vec![("HOME".to_owned(), "/home/u".to_owned())],
        overrides: overrides.iter().map(ToString::to_string).collect(),
    };
    load(&sources, &Probe(IpAddr::from([10, 0, 0, 7])))
}

fn example(overrides: &[&str]) -> Result<Loaded, ConfigError> {
    loaded(EXAMPLE, overrides)
}

fn refused(overrides: &[&str]) -> String {
    example(overrides).map(|loaded| loaded.config).unwrap_err().to_string()
}

#[test]
fn the_example_file_starts_without_a_complaint() {
    let Loaded { config, notes, .. } = example(&[]).unwrap();
    assert_eq!(notes, []);
    assert_eq!(config.identity.cluster, "DefaultCluster");
    assert_eq!(config.identity.broker_name, "broker-a");
    assert_eq!(config.identity.advertised(10911), "127.0.0.1:10911");
    assert_eq!(config.identity.listen.to_string(), "0.0.0.0:10911");
    assert_eq!(config.registration.name_servers, ["127.0.0.1:9876"]);
    assert_eq!(config.disk.root.to_str(), Some("./data/n0"));
    assert_eq!(config.disk.segment_size, 268_435_456);
    assert_eq!(config.disk.flush, FlushMode::Sync);
    assert_eq!(config.raft.group, "broker-a");
    assert_eq!(config.raft.peers.len(), 3);
    assert_eq!(config.raft.self_index, 0);
    assert_eq!(config.raft.listen, "0.0.0.0:40911");
    assert_eq!(config.raft.election_ms, (200, 500));
    assert_eq!(config.admin.listen.unwrap().to_string(), "127.0.0.1:8088");
    assert!(config.topics.settings.auto_create_topic);
    assert_eq!(config.serving.drain, Duration::from_secs(35));
}

#[test]
fn values_reach_their_fields() {
    let overrides = [
        "flushDiskType=ASYNC_FLUSH",
        "dLegerSelfId=n2",
        "dLegerGroup=",
        "raftListen=127.0.0.1:7",
        "adminListen=",
        "brokerPermission=4",
        "storePathRootDir=~/data",
        "brokerIP1=[fd00::1]",
        "serverChannelMaxIdleTimeSeconds=7",
    ];
    let Loaded { config, .. } = example(&overrides).unwrap();
    assert_eq!(config.disk.flush, FlushMode::Async);
    assert_eq!(config.raft.self_index, 2);
    assert_eq!(config.raft.group, "broker-a");
    assert_eq!(config.raft.listen, "127.0.0.1:7");
    assert!(config.admin.listen.is_none());
    assert_eq!(config.topics.settings.broker_permission, flotilla_core::Perm(4));
    assert_eq!(config.disk.root.to_str(), Some("/home/u/data"));
    assert_eq!(config.identity.advertised(1), "[fd00::1]:1");
    assert_eq!(config.limits.idle, Duration::from_secs(7));
}

#[test]
fn an_address_is_found_when_none_is_given() {
    let Loaded { config, notes, .. } = example(&["brokerIP1="]).unwrap();
    assert_eq!(config.identity.advertised(1), "10.0.0.7:1");
    assert_eq!(
        notes,
        [Note::Info(
            "brokerIP1 not set: clients are told 10.0.0.7, the route to 127.0.0.1:9876 leaves from it"
                .to_owned()
        )]
    );
}

#[test]
fn a_configured_broker_id_is_told_to_have_no_effect() {
    let Loaded { notes, .. } = example(&["brokerId=1"]).unwrap();
    let [Note::Info(text)] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(text.starts_with("brokerId=1 (--set): accepted, no effect, because Raft decides"), "{text}");
}

#[test]
fn every_contradiction_refuses_the_start() {
    let cases: &[(&[&str], &str)] = &[
        (&["enableDLegerCommitLog=false"], "every group is replicated"),
        (&["dLegerSelfId=n7"], "dLegerSelfId=n7 (--set): dLegerPeers lists n0, n1, n2 only"),
        (&["dLegerSelfId="], "dLegerSelfId is not set"),
        (&["dLegerPeers="], "dLegerPeers is not set"),
        (&["dLegerPeers=n0-a"], "dLegerPeers=n0-a (--set): "),
        (&["dLegerPeers=n0-a:1;n0-b:2"], "dLegerPeers="),
        (&["brokerRole=SLAVE"], "brokerRole=SLAVE"),
        (&["enableControllerMode=true"], "enableControllerMode=true"),
        (&["enablePropertyFilter=true"], "SQL subscriptions are not available yet"),
        (&["aclEnable=true"], "starting open would be unsafe"),
        (&["authenticationEnabled=true"], "starting open would be unsafe"),
        (&["authorizationEnabled=true"], "starting open would be unsafe"),
        (&["raftElectionMaxMillis=200"], "raftElectionMinMillis=200 (default) must be below"),
        (&["raftHeartbeatMillis=200"], "at most half of raftElectionMinMillis"),
        (&["maxMessageSize=16000000", "frameSizeMax=16000000"], "does not fit a frame"),
        (&["mappedFileSizeCommitLog=1048576"], "so that a segment holds maxMessageSize"),
        (&["maxMessageSize=8000000", "raftInFlightBytesMax=4194304"], "could never be sent"),
        (&["inFlightBytesMax=16777216", "frameSizeMax=33554432"], "must hold frameSizeMax"),
        (&["adminListen=127.0.0.1:10911"], "use the same port 10911"),
        (&["listenPort=40911"], "use the same port 40911"),
        (&["dLegerPeers=n0-a:1;n1-b:2;n2-c:3"], "clients would be told 127.0.0.1"),
        (&["brokerIP1=0.0.0.0"], "not an address that clients can reach"),
        (&["brokerIP1=host:10911"], "without port"),
        (&["brokerName="], "brokerName must not be empty"),
        (&["bindAddress=localhost"], "expected an IP address"),
        (&["listenPort=-1"], "whole number from 0 to 65535"),
    ];
    for (overrides, expected) in cases {
        let error = refused(overrides);
        assert!(error.contains(expected), "{overrides:?} gave: {error}");
    }
}

#[test]
fn several_problems_are_told_at_once() {
    let error = refused(&["brokerRole=SLAVE", "aclEnable=true"]);
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn a_misspelt_key_is_told_with_the_refusal_that_it_causes() {
    let error = loaded("dLedgerPeers=n0-127.0.0.1:1\nbrokerIP1=127.0.0.1", &[]).unwrap_err().to_string();
    assert!(error.contains("dLegerPeers is not set"), "{error}");
    assert!(
        error.contains("warning: dLedgerPeers (n0.properties:1): unknown key, ignored; did you mean"),
        "{error}"
    );
}

#[test]
fn a_group_of_two_and_a_missing_name_server_are_warned_about() {
    let peers = "dLegerPeers=n0-127.0.0.1:40911;n1-127.0.0.1:40912";
    let Loaded { notes, .. } = example(&[peers, "namesrvAddr="]).unwrap();
    assert!(matches!(notes.as_slice(), [Note::Warning(_), Note::Warning(_)]), "{notes:?}");
}

#[test]
fn an_empty_configuration_says_what_is_needed() {
    let error = loaded("", &[]).unwrap_err().to_string();
    assert!(error.contains("dLegerPeers is not set"), "{error}");
    assert!(error.contains("such as dLegerPeers=n0-"), "{error}");
}
