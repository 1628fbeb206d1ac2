//! What a run can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::sending::{ClientKind, Sending};
use crate::cluster::Flush;
use crate::nemesis::Nemesis;
use crate::workload::Workload;

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Product {
    /// Flotilla, by --binary
    Flotilla,
    /// Apache RocketMQ with DLedger, by --rocketmq-home or through Maven
    RocketmqDledger,
}

/// What the network between all parties is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkKind {
    /// TCP proxies on loopback: works for everybody, can do everything
    Proxies,
    /// Network namespaces: needs root; cuts as a real network does, and can't slow down or reset
    Namespaces,
}

/// What is tested, and where it is.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// What is tested
    #[arg(long, value_enum, default_value = "flotilla")]
    pub server: Product,

    /// Binary of Flotilla
    #[arg(long, default_value = "target/release/flotilla")]
    pub binary: PathBuf,

    /// RocketMQ's folder: its jars are there or in lib/ [default: fetched by mvn into target/jepsen-rocketmq]
    #[arg(long)]
    pub rocketmq_home: Option<PathBuf>,
}

impl Default for Target {
    /// What the command line means when it says nothing.
    fn default() -> Self {
        Target {
            server: Product::Flotilla,
            binary: PathBuf::from("target/release/flotilla"),
            rocketmq_home: None,
        }
    }
}

/// Arguments of a run.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What clients do
    #[arg(long, short, value_enum, default_value = "queue")]
    pub workload: Workload,

    /// What breaks, separated by commas; several are also combined. Nothing when absent
    #[arg(long, short, value_enum, value_delimiter = ',')]
    pub nemesis: Vec<Nemesis>,

    /// How long clients work
    #[arg(long, short, default_value_t = 60)]
    pub seconds: u64,

    /// Brokers: 3 or 5
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,

    /// Name servers: 1 to 3
    #[arg(long, default_value_t = 1)]
    pub name_servers: usize,

    /// Decides about faults, victims, times and contents [default: drawn, and told]
    #[arg(long)]
    pub seed: Option<u64>,

    /// When brokers acknowledge
    #[arg(long, value_enum, default_value = "sync")]
    pub flush: Flush,

    #[command(flatten)]
    pub target: Target,

    /// What the network between all parties is made of
    #[arg(long, value_enum, default_value = "proxies")]
    pub network: NetworkKind,

    /// Folder of the run; must not hold a history yet [default: target/jepsen/WORKLOAD-SEED]
    #[arg(long)]
    pub out: Option<PathBuf>,

    /// Operations a second of all clients together
    #[arg(long, default_value_t = 200)]
    pub rate: u32,

    /// Longest time without acknowledgements that is forgiven for each fault: since it began where a majority survives it,
    /// else since it was healed. 0 forgives all [default: 10000 for Flotilla, 0 for RocketMQ]
    #[arg(long)]
    pub limit_ms: Option<u64>,

    /// Ends after so many faults, however long that takes; --seconds then says nothing
    #[arg(long)]
    pub faults: Option<u32>,

    /// Seconds between the first work and the first fault [default: 0 for Flotilla; 15 for RocketMQ, whose replicas copy topics
    /// and offsets every 10 s]
    #[arg(long)]
    pub settle: Option<u64>,

    /// Seconds for which every fault goes on [default: drawn for each by its kind; with --faults 5 at most]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=900))]
    pub hold: Option<u64>,

    #[command(flatten)]
    pub sending: Sending,

    /// Turns a deliberate fault of a Flotilla that is built with `--features faults` on
    #[arg(long)]
    pub mutant: Option<String>,

    /// One more setting of the brokers; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
}

impl Default for RunArgs {
    /// What the command line means when it says nothing.
    fn default() -> Self {
        RunArgs {
            workload: Workload::Queue,
            nemesis: Vec::new(),
            seconds: 60,
            nodes: 3,
            name_servers: 1,
            seed: None,
            flush: Flush::Sync,
            target: Target::default(),
            network: NetworkKind::Proxies,
            out: None,
            rate: 200,
            limit_ms: None,
            faults: None,
            settle: None,
            hold: None,
            sending: Sending::default(),
            mutant: None,
            settings: Vec::new(),
        }
    }
}

impl RunArgs {
    /// Draws a seed where none was given.
    #[must_use]
    pub fn seeded(mut self) -> Self {
        self.seed.get_or_insert_with(|| rand::random_range(0..1_000_000_000));
        self
    }

    /// The seed; 0 where none was given or drawn.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }

    /// Time between the first work and the first fault.
    pub fn settle(&self) -> Duration {
        let known = match self.target.server {
            Product::Flotilla => 0,
            Product::RocketmqDledger => 15,
        };
        Duration::from_secs(self.settle.unwrap_or(known))
    }

    /// Folder of the run.
    pub fn folder(&self) -> PathBuf {
        let named = || PathBuf::from(format!("target/jepsen/{}-{}", self.workload, self.seed()));
        self.out.clone().unwrap_or_else(named)
    }

    /// The command line that does it again, with every argument that matters.
    pub fn command(&self) -> Vec<String> {
        let value = |value: &dyn std::fmt::Display| value.to_string();
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let mut words = vec!["flotilla-jepsen".to_owned(), "run".to_owned()];
        let mut push = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        push("--workload", value(&self.workload));
        if !self.nemesis.is_empty() {
            let names: Vec<String> = self.nemesis.iter().map(ToString::to_string).collect();
            push("--nemesis", names.join(","));
        }
        push("--seconds", value(&self.seconds));
        push("--nodes", value(&self.nodes));
        push("--name-servers", value(&self.name_servers));
        push("--seed", value(&self.seed()));
        push("--flush", name(self.flush.to_possible_value()));
        push("--server", name(self.target.server.to_possible_value()));
        push("--network", name(self.network.to_possible_value()));
        push("--rate", value(&self.rate));
        if let Some(limit) = self.limit_ms {
            push("--limit-ms", value(&limit));
        }
        if let Some(faults) = self.faults {
            push("--faults", value(&faults));
        }
        if let Some(settle) = self.settle {
            push("--settle", value(&settle));
        }
        if let Some(hold) = self.hold {
            push("--hold", value(&hold));
        }
        if self.sending.client != ClientKind::default() {
            push("--client", name(self.sending.client.to_possible_value()));
        }
        if let Some(poll) = self.sending.poll_ms {
            push("--poll-ms", value(&poll));
        }
        if let Some(mutant) = &self.mutant {
            push("--mutant", mutant.clone());
        }
        for (key, setting) in &self.settings {
            push("--set", format!("{key}={setting}"));
        }
        match self.target.server {
            Product::Flotilla => push("--binary", self.target.binary.display().to_string()),
            Product::RocketmqDledger => {
                if let Some(home) = &self.target.rocketmq_home {
                    push("--rocketmq-home", home.display().to_string());
                }
            }
        }
        words
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "expected key=value".to_owned())
}
