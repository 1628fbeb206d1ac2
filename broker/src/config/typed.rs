//! The configuration as values of the right types, grouped by who needs them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flotilla_raft_store::FlushMode;
use flotilla_raft_store::peers::{Peer, parse_peer_name, parse_peers};

use super::address::{AddressProbe, choose};
use super::merge::{ConfigError, Note, Settings};
use super::{group, keys};

/// Everything that a broker can be told. A field is documented by the key that sets it.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    pub identity: Identity,
    pub raft: RaftConfig,
    pub disk: DiskConfig,
    pub topics: TopicDefaults,
    pub serving: Serving,
    pub registration: Registration,
    pub limits: Limits,
    pub admin: AdminConfig,
    /// Every key as text, for those who show the configuration (code 26).
    pub settings: Arc<Settings>,
}

/// Who the broker is and where clients find it.
#[derive(Debug, Clone)]
pub struct Identity {
    pub cluster: String,
    pub broker_name: String,
    /// Host part of the advertised address, a name or an address.
    pub advertised_host: String,
    /// `bindAddress:listenPort`; port 0 = a free one.
    pub listen: SocketAddr,
    pub region: String,
    pub trace_on: bool,
}

impl Identity {
    /// The address told to clients and name servers, given the port that was really bound.
    pub fn advertised(&self, port: u16) -> String {
        if self.advertised_host.contains(':') {
            format!("[{}]:{port}", self.advertised_host)
        } else {
            format!("{}:{port}", self.advertised_host)
        }
    }
}

/// The Raft group and this replica's place in it.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    pub group: String,
    pub peers: Vec<Peer>,
    pub self_index: u64,
    /// `ip:port` to listen on.
    pub listen: String,
    pub heartbeat_ms: u64,
    pub election_ms: (u64, u64),
    pub window: usize,
    pub append_bytes_max: usize,
    pub in_flight_bytes_max: u64,
}

/// Where the data is and how it is written.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    pub root: PathBuf,
    pub segment_size: u64,
    pub flush: FlushMode,
    /// Past the page cache.
    pub direct: bool,
    pub memory_bytes_max: usize,
    pub watermarks: Watermarks,
    /// Pause between looks at what may be deleted.
    pub clean_interval: Duration,
}

/// Use of this replica's disk in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Above it segments go whatever their age.
    pub clean_forcibly: u8,
    /// Above it the replica takes no more messages as a leader.
    pub full: u8,
}

/// Settings of topics, groups and messages. Replicated: the leader's count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDefaults {
    /// What this node would make the group's settings, were it the first to lead.
    pub settings: flotilla_core::Settings,
    pub message_size_max: usize,
}

/// How requests are answered.
#[derive(Debug, Clone)]
pub struct Serving {
    pub long_polling: bool,
    pub short_polling: Duration,
    /// Longest drain at a graceful stop.
    pub drain: Duration,
    /// Silence that ends the drain early.
    pub drain_idle: Duration,
    /// Longest hold of a send without a known leader.
    pub forward_hold: Duration,
    pub queries: QueryConfig,
    pub lite_pull: bool,
    pub store_replies: bool,
    pub reset_in_log: bool,
    /// How long a queue lock lasts without a renewal.
    pub lock_lifetime: Duration,
}

/// Queries by key.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    pub key_index: bool,
    /// Messages of an answer.
    pub count_max: usize,
    /// Messages of an answer to a query for a unique id.
    pub unique_max: usize,
}

/// Name servers.
#[derive(Debug, Clone)]
pub struct Registration {
    pub name_servers: Vec<String>,
    pub period: Duration,
    pub timeout: Duration,
}

/// Bounds: each has an answer for "full".
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections_max: usize,
    pub frame_size_max: usize,
    pub in_flight_bytes_max: usize,
    pub idle: Duration,
}

/// HTTP administration.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// `None` = off.
    pub listen: Option<SocketAddr>,
}

/// Types all settings. Notes tell about choices that were made.
pub(super) fn build(
    settings: &Settings,
    probe: &dyn AddressProbe,
    notes: &mut Vec<Note>,
) -> Result<BrokerConfig, ConfigError> {
    let read = Read { settings };
    let mut problems = Vec::new();
    let bind = read.bind(&mut problems);
    let raft = read.raft(bind, &mut problems);
    let name_servers = read.name_servers();
    let advertised_host = read.advertised_host(&name_servers, &raft.peers, probe, notes, &mut problems);
    let disk = read.disk(&mut problems);
    ConfigError::of(problems)?;
    Ok(BrokerConfig {
        identity: Identity {
            cluster: read.text("brokerClusterName"),
            broker_name: read.text("brokerName"),
            advertised_host,
            listen: SocketAddr::new(bind, read.number("listenPort")),
            region: read.text("regionId"),
            trace_on: read.flag("traceOn"),
        },
        raft,
        disk,
        topics: read.topics(),
        serving: read.serving(),
        registration: Registration {
            name_servers,
            period: read.millis("registerNameServerPeriod"),
            timeout: read.millis("registerBrokerTimeoutMills"),
        },
        limits: read.limits(),
        admin: AdminConfig { listen: read.text("adminListen").parse().ok() },
        settings: Arc::new(settings.clone()),
    })
}

/// Typed access; the kinds were checked by the merge.
struct Read<'a> {
    settings: &'a Settings,
}

impl Read<'_> {
    fn text(&self, name: &str) -> String {
        self.settings.get(name).text.clone()
    }

    fn flag(&self, name: &str) -> bool {
        self.settings.get(name).text == "true"
    }

    fn number<N: std::str::FromStr<Err: std::fmt::Debug>>(&self, name: &str) -> N {
        self.settings.get(name).text.parse().expect("the table's bounds fit the field's type")
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    fn bind(&self, problems: &mut Vec<String>) -> IpAddr {
        let setting = self.settings.get("bindAddress");
        setting.text.parse().unwrap_or_else(|_| {
            problems.push(format!("{}: expected an IP address", setting.named()));
            IpAddr::from([0, 0, 0, 0])
        })
    }

    fn name_servers(&self) -> Vec<String> {
        keys::addresses(&self.text("namesrvAddr")).map(str::to_owned).collect()
    }

    fn raft(&self, bind: IpAddr, problems: &mut Vec<String>) -> RaftConfig {
        let peers = self.peers(problems);
        let own = self.own_peer(&peers, problems);
        let group = self.settings.get("dLegerGroup");
        let name = if group.text.is_empty() { self.text("brokerName") } else { group.text.clone() };
        let configured = self.text("raftListen");
        let listen = match own {
            Some(own) if configured.is_empty() => SocketAddr::new(bind, own.port).to_string(),
            _ => configured,
        };
        RaftConfig {
            group: name,
            self_index: own.map_or(0, |own| own.index.into()),
            listen,
            heartbeat_ms: self.number("raftHeartbeatMillis"),
            election_ms: (self.number("raftElectionMinMillis"), self.number("raftElectionMaxMillis")),
            window: self.number("raftAppendWindow"),
            append_bytes_max: self.number("raftAppendBytesMax"),
            in_flight_bytes_max: self.number("raftInFlightBytesMax"),
            peers,
        }
    }

    fn peers(&self, problems: &mut Vec<String>) -> Vec<Peer> {
        let setting = self.settings.get("dLegerPeers");
        if setting.text.is_empty() {
            problems.push(
                "dLegerPeers is not set: list all replicas, this one included, such as \
                 dLegerPeers=n0-host0:40911;n1-host1:40911;n2-host2:40911"
                    .to_owned(),
            );
            return Vec::new();
        }
        parse_peers(&setting.text).unwrap_or_else(|error| {
            problems.push(format!("{}: {error}", setting.named()));
            Vec::new()
        })
    }

    fn own_peer<'p>(&self, peers: &'p [Peer], problems: &mut Vec<String>) -> Option<&'p Peer> {
        let setting = self.settings.get("dLegerSelfId");
        let index = parse_peer_name(&setting.text).ok();
        let found = peers.iter().find(|peer| Some(peer.index) == index);
        if found.is_none() && !peers.is_empty() {
            let ids: Vec<_> = peers.iter().map(|peer| format!("n{}", peer.index)).collect();
            problems.push(match setting.text.as_str() {
                "" => format!("dLegerSelfId is not set: say which of {} this replica is", ids.join(", ")),
                _ => format!("{}: dLegerPeers lists {} only", setting.named(), ids.join(", ")),
            });
        }
        found
    }

    fn advertised_host(
        &self,
        name_servers: &[String],
        peers: &[Peer],
        probe: &dyn AddressProbe,
        notes: &mut Vec<Note>,
        problems: &mut Vec<String>,
    ) -> String {
        let setting = self.settings.get("brokerIP1");
        if !setting.text.is_empty() {
            let plain = setting.text.trim_start_matches('[').trim_end_matches(']');
            if plain.contains(':') && plain.parse::<IpAddr>().is_err() {
                problems
                    .push(format!("{}: expected an address or a host name without port", setting.named()));
            }
            return plain.to_owned();
        }
        let peers: Vec<_> = peers.iter().map(Peer::address).collect();
        match choose(name_servers.iter().chain(&peers).map(String::as_str), probe) {
            Ok(chosen) => {
                let text =
                    format!("brokerIP1 not set: clients are told {}, {}", chosen.address, chosen.because);
                notes.push(Note::Info(text));
                chosen.address.to_string()
            }
            Err(reason) => {
                problems
                    .push(format!("brokerIP1 is not set and no address was found ({reason}): set brokerIP1"));
                String::new()
            }
        }
    }

    fn disk(&self, problems: &mut Vec<String>) -> DiskConfig {
        let setting = self.settings.get("storePathRootDir");
        let root = match (setting.text.strip_prefix("~/"), self.settings.home()) {
            (Some(below), Some(home)) => PathBuf::from(home).join(below),
            (Some(_), None) => {
                problems.push(format!("{}: HOME is not set", setting.named()));
                PathBuf::new()
            }
            (None, _) => PathBuf::from(&setting.text),
        };
        let flush = match self.settings.get("flushDiskType").text.as_str() {
            "ASYNC_FLUSH" => FlushMode::Async,
            _ => FlushMode::Sync,
        };
        DiskConfig {
            root,
            segment_size: self.number("mappedFileSizeCommitLog"),
            flush,
            direct: self.flag("logDirectWrites"),
            memory_bytes_max: self.number("logMemoryBytesMax"),
            watermarks: Watermarks {
                clean_forcibly: self.number("diskSpaceCleanForciblyRatio"),
                full: self.number("diskSpaceWarningLevelRatio"),
            },
            clean_interval: self.millis("cleanResourceInterval"),
        }
    }

    fn topics(&self) -> TopicDefaults {
        TopicDefaults {
            settings: group::from_file(self.settings),
            message_size_max: self.number("maxMessageSize"),
        }
    }

    fn serving(&self) -> Serving {
        Serving {
            long_polling: self.flag("longPollingEnable"),
            short_polling: self.millis("shortPollingTimeMills"),
            drain: self.millis("drainMillis"),
            drain_idle: self.millis("drainIdleMillis"),
            forward_hold: self.millis("forwardHoldMillis"),
            queries: QueryConfig {
                key_index: self.flag("messageIndexEnable"),
                count_max: self.number("maxMsgsNumBatch"),
                unique_max: self.number("defaultQueryMaxNum"),
            },
            lite_pull: self.flag("litePullMessageEnable"),
            store_replies: self.flag("storeReplyMessageEnable"),
            reset_in_log: self.flag("useServerSideResetOffset"),
            lock_lifetime: self.millis("rebalanceLockMaxLiveMillis"),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            connections_max: self.number("connectionsMax"),
            frame_size_max: self.number("frameSizeMax"),
            in_flight_bytes_max: self.number("inFlightBytesMax"),
            idle: Duration::from_secs(self.number("serverChannelMaxIdleTimeSeconds")),
        }
    }
}
