//! The command line: what can be said, and the help for it. Wiring is in the module of each command.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bench::args::BenchArgs;

/// A message broker that speaks Apache RocketMQ's protocols and replicates every message by Raft.
#[derive(Debug, Parser)]
#[command(name = "flotilla", version = crate::faults::VERSION, max_term_width = 100)]
#[command(
    after_help = "To try it out: `flotilla standalone`, then point a RocketMQ client at 127.0.0.1:9876."
)]
pub struct Cli {
    #[command(flatten)]
    pub logging: LoggingArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct LoggingArgs {
    /// How log lines look; they go to standard error
    #[arg(long, global = true, value_enum, default_value = "text", env = "FLOTILLA_LOG_FORMAT")]
    #[arg(help_heading = "Logging")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or directives such as info,openraft=debug
    #[arg(long, global = true, value_name = "LEVEL", env = "FLOTILLA_LOG_LEVEL")]
    #[arg(help_heading = "Logging")]
    pub log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a name server: tells clients which broker has which topic
    Namesrv(NamesrvArgs),
    /// Run one replica of a broker group, configured by RocketMQ's properties
    Broker(BrokerArgs),
    /// Run a name server and a whole replicated group in one process, for development and tests
    Standalone(StandaloneArgs),
    /// Look at a data folder without starting a broker
    Log(LogArgs),
    /// Put load on Flotilla or Apache RocketMQ and measure
    Bench(BenchArgs),
    /// Show what a configuration file says, key by key; exit code 1 if a start would be refused
    CheckConfig(CheckConfigArgs),
    /// Take back what a power cut would have cost a killed node (a build for tests only)
    #[cfg(feature = "faults")]
    PowerLoss(PowerLossArgs),
}

#[derive(Debug, Args)]
pub struct NamesrvArgs {
    /// Configuration file: RocketMQ's keys as `key=value` lines
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one key; may be repeated, the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Print every key with its value and origin, then exit; fails if the name server would not start
    #[arg(short = 'p', long)]
    pub print_config: bool,

    /// Address for clients and brokers [default: bindAddress and listenPort, 0.0.0.0:9876]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Address of the HTTP administration (health, metrics); off when absent
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<SocketAddr>,

    /// Folder of what tools may change: key-values, order configuration, settings [default: memory only]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Values are merged, strongest first: --set, environment FLOTILLA_<KEY> (such as
FLOTILLA_LISTEN_PORT), the file, environment NAMESRV_ADDR (for namesrvAddr only), default.
docs/operating.md lists all keys.

SIGTERM or Ctrl-C hands leadership over, forwards until clients have gone elsewhere, then exits;
a second one exits at once.

Example: flotilla broker -c examples/three-node/n0.properties --set flushDiskType=ASYNC_FLUSH")]
pub struct BrokerArgs {
    /// Configuration file: RocketMQ's keys as `key=value` lines
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Name servers, the same as --set namesrvAddr=
    #[arg(short = 'n', long = "namesrv", value_name = "HOST:PORT;...")]
    pub namesrv: Option<String>,

    /// Set one key; may be repeated, the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Print every key with its value and origin, then exit; fails if the broker would not start
    #[arg(short = 'p', long)]
    pub print_config: bool,

    /// The same for the keys that tell brokers apart
    #[arg(short = 'm', long)]
    pub print_important_config: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
When it is ready, one block on standard output says where everything is. Ports and data stay the
same at the next start with the same folder.")]
pub struct StandaloneArgs {
    /// Folder of all data, created when missing
    #[arg(long, value_name = "DIR", default_value = "./data/standalone")]
    pub data: PathBuf,

    /// Replicas of the group; fixed once the folder exists
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,

    /// Address of the name server [default: 127.0.0.1:9876, or a free port when that is taken]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Address of the HTTP administration [default: 127.0.0.1:8088, or a free port when that is taken]
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<SocketAddr>,

    /// Set one key of all brokers; may be repeated. Ports, folders and peers can't be set
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The values of the file are merged with --set and, for a broker, with the environment, as at a
start. Keys that nobody gave are left out unless --all is given.")]
pub struct CheckConfigArgs {
    /// Configuration file
    pub file: PathBuf,

    /// Whose configuration it is
    #[arg(long, value_enum, default_value = "broker")]
    pub kind: ConfigKind,

    /// How the answer looks
    #[arg(long, value_enum, default_value = "table")]
    pub output: OutputFormat,

    /// Show defaults too
    #[arg(long)]
    pub all: bool,

    /// Set one key; may be repeated, the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigKind {
    Broker,
    Namesrv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub struct LogArgs {
    #[command(subcommand)]
    pub command: LogCommand,
}

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print identity, vote, segments, indexes, terms, sizes and checkpoints
    Inspect {
        /// Data folder of one replica (storePathRootDir)
        dir: PathBuf,
    },
    /// Check every record of a stopped replica; exit code 1, with file and offset, at the first damage
    Verify {
        /// Data folder of one replica (storePathRootDir)
        dir: PathBuf,
    },
}

#[cfg(feature = "faults")]
#[derive(Debug, Args)]
pub struct PowerLossArgs {
    #[command(subcommand)]
    pub command: PowerLossCommand,
}

#[cfg(feature = "faults")]
#[derive(Debug, Subcommand)]
pub enum PowerLossCommand {
    /// Settle what became of what was not synced; the node must not run
    Restore(RestoreArgs),
}

#[cfg(feature = "faults")]
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Folder of the journal, as FLOTILLA_POWER_LOSS named it
    pub dir: PathBuf,

    /// Draws what survives, is lost, or is torn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Everything is lost
    #[arg(long)]
    pub all_lost: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_is_explained() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().filter(|sub| sub.get_name() != "help").for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn the_commands_of_the_documents_parse() {
        let lines = [
            "flotilla namesrv --listen 127.0.0.1:9876 --admin 127.0.0.1:8087",
            "flotilla broker -c n0.properties --set listenPort=1 --set a=b -n a:1;b:2",
            "flotilla --log-format json broker --print-config",
            "flotilla broker -c n0.properties -m",
            "flotilla standalone --log-level debug --data d --nodes 1 --listen 127.0.0.1:0",
            "flotilla log inspect ./data/n0",
            "flotilla log verify ./data/n0",
            "flotilla namesrv -c namesrv.conf -p --set listenPort=1",
            "flotilla check-config n0.properties --kind namesrv --output json --all",
            "flotilla bench produce --namesrv 127.0.0.1:9876 --clients 64 --size 1024 --seconds 10",
            "flotilla bench produce -n a:1;b:2 -t t --size choice:100@90,4096@10 --rate 500 --json",
            "flotilla bench produce --window 256 --clients 4 --batch 32 --warmup 0 --threads 2",
            "flotilla bench consume --topic t --clients 4 --messages 2000000 --from first --groups 2",
            "flotilla bench e2e --topic t --rate 5000 --size 1024 --seconds 10 --warmup 5",
            "flotilla bench e2e --rate 0",
            "flotilla bench failover --clients 8 --rate 2000 --seconds 20 --trials 20 --kill true",
            "flotilla bench report results.jsonl --page docs/performance.md",
        ];
        for line in lines {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "flotilla",
            "flotilla log",
            "flotilla standalone --nodes 0",
            "flotilla namesrv --listen x",
            "flotilla check-config",
            "flotilla bench",
            "flotilla bench produce --size 10",
            "flotilla bench produce --seconds 0",
            "flotilla bench e2e --rate=-1",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
