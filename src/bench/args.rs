//! Arguments of `flotilla bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::size::Sizes;

#[derive(Debug, Args)]
#[command(after_help = "\
A run warms up first and measures then. Latency is that of a whole send; with --rate it counts
from the time at which the message should have been sent. Ctrl-C ends a run early and shows the
result so far.

Example: flotilla bench produce --namesrv 127.0.0.1:9876 --clients 64 --size 1024 --seconds 10")]
pub struct BenchArgs {
    #[command(subcommand)]
    pub command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Send as fast as the servers answer, or at a rate
    Produce(ProduceArgs),
    /// Read a topic as a consumer group does
    Consume(ConsumeArgs),
    /// Send and receive at the same time: latency from (intended) send to receipt, losses
    E2e(E2eArgs),
    /// Send while something kills the leader: the outage that clients see, losses
    Failover(FailoverArgs),
    /// Make tables and charts of docs/performance.md from the results of a comparison
    Report(ReportArgs),
}

/// Where the servers are, and which topic is used.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Name servers of Flotilla or Apache RocketMQ
    #[arg(short = 'n', long, value_name = "HOST:PORT;...", env = "NAMESRV_ADDR")]
    pub namesrv: Option<String>,

    /// Topic; created when missing
    #[arg(short = 't', long, value_name = "TOPIC", default_value = "flotilla_bench")]
    pub topic: String,

    /// Queues of the topic on each broker, when it is created
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub queues: u32,

    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What is sent.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Bytes of a body: a number, uniform:LEAST-GREATEST, or choice:SIZE@WEIGHT,...
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    pub size: Sizes,

    /// Order messages by this many keys, each kept to one queue; 0: no keys
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub keys: u32,

    /// Connections to each broker
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub connections: u32,

    /// Threads that send; each has connections of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
}

/// How long it runs.
#[derive(Debug, Args)]
pub struct TimeArgs {
    /// Length of the measured part, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub seconds: Duration,

    /// Length of the part before, in seconds; its messages are not counted
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds_or_none)]
    pub warmup: Duration,
}

#[derive(Debug, Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub time: TimeArgs,

    /// Clients that send at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,

    /// Requests of a client that wait for their answer at once; 1: each waits for the one before
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,

    /// Messages of one request; 0: no batches
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub batch: u32,

    /// Requests a second of all clients together, whatever the answers do; 0: each client sends when it may
    #[arg(long, value_name = "PER SECOND", default_value_t = 0.0, value_parser = rate_or_none)]
    pub rate: f64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Time counts from the first message after the warm-up to the last one. Without --messages it ends
after --seconds; with --messages, when that many were received, and with an error when none comes
for ten seconds, or --seconds are over before. Each run is a consumer group of its own, so it reads
what others have read.")]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub target: TargetArgs,

    /// Consumers of each group, each with a connection of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub clients: u32,

    /// Consumer groups; each receives everything
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub groups: u32,

    /// Stop after this many messages, of all groups together
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,

    /// Where to begin
    #[arg(long, value_enum, default_value = "first")]
    pub from: From,

    /// Longest time, in seconds [default: 10; without limit with --messages]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,

    /// Length of the part before, in seconds; its messages are not counted
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_none)]
    pub warmup: Duration,

    /// Threads that receive; consumers are spread over them
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// The oldest message that is there
    First,
    /// What is sent from now on
    Last,
}

#[derive(Debug, Args)]
#[command(after_help = "\
With --rate 0 at most --clients times --window messages are between their send and their receipt:
the rate is then the most that producers and consumers sustain together. Ask for half of it to see
the latency of a system that is busy and not overloaded.

Exit code 1 when an acked message was never received.")]
pub struct E2eArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub time: TimeArgs,

    /// Clients that send at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,

    /// Requests of a client that wait for their answer at once
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,

    /// Messages a second of all clients together, whatever becomes of them; 0: each waits for room, which a receipt makes
    #[arg(long, value_name = "PER SECOND", default_value_t = 1000.0, value_parser = rate_or_none)]
    pub rate: f64,

    /// Consumer groups; each receives everything
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub groups: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
In the middle of each trial --kill runs; without it, kill the leader yourself. Afterwards all that
was sent is read back. Exit code 1 when an acked message is not there.

Example: flotilla bench failover -n 127.0.0.1:9876 --seconds 20 --kill 'kill -9 $(cat leader.pid)'")]
pub struct FailoverArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub load: LoadArgs,

    /// Length of a trial, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub seconds: Duration,

    /// Clients that send at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,

    /// Requests of a client that wait for their answer at once
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,

    /// Messages a second of all clients together
    #[arg(long, value_name = "PER SECOND", default_value_t = 2000.0, value_parser = rate)]
    pub rate: f64,

    /// Trials, one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub trials: u32,

    /// Command of the shell that kills the leader, run in the middle of each trial
    #[arg(long, value_name = "COMMAND")]
    pub kill: Option<String>,

    /// Command of the shell that brings the group back to full strength, run after each trial; the next one waits for its end
    #[arg(long, value_name = "COMMAND")]
    pub restore: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The page must have the lines <!-- bench:begin --> and <!-- bench:end -->: what is between them is
replaced. A page that does not exist is made.")]
pub struct ReportArgs {
    /// Results, one JSON object a line, as benches/side-by-side/compare.sh writes them
    #[arg(default_value = "target/side-by-side/compare.jsonl")]
    pub results: PathBuf,

    /// Page whose tables are replaced
    #[arg(long, value_name = "FILE", default_value = "docs/performance.md")]
    pub page: PathBuf,

    /// Folder of the charts (SVG) [default: the page's name without ending]
    #[arg(long, value_name = "DIR")]
    pub charts: Option<PathBuf>,
}

/// Longest run, in seconds: what the counters are made for.
const SECONDS_MAX: f64 = 86_400.0;

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(format!("expected 0 to {SECONDS_MAX} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let duration = seconds_or_none(text)?;
    if duration < Duration::from_millis(100) {
        return Err("expected a tenth of a second or more".to_owned());
    }
    Ok(duration)
}

fn rate_or_none(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number a second".to_owned())?;
    // Above this a release would be a burst, not a rate.
    if !(0.0..=10_000_000.0).contains(&rate) {
        return Err("expected 0 to 10000000 a second".to_owned());
    }
    Ok(rate)
}

fn rate(text: &str) -> Result<f64, String> {
    match rate_or_none(text)? {
        rate if rate > 0.0 => Ok(rate),
        _ => Err("expected more than 0 a second".to_owned()),
    }
}
