//! `flotilla bench`: a load tool for any cluster that speaks RocketMQ's protocol, Flotilla's or Apache's.
//!
//! | module         | subject                                                                             |
//! |----------------|-------------------------------------------------------------------------------------|
//! | `args`         | the command line                                                                    |
//! | `stage`        | what the threads of a run share: begin, end, progress                               |
//! | `senders`      | producers: at a rate with [`pace`], or closed loop, up to the receipt with [`room`] |
//! | `receivers`    | consumers                                                                           |
//! | `topic`, `groups` | what a run needs at the servers, and what it must not leave there                |
//! | `produce`, `consume`, `e2e`, `failover` | a command each                                            |
//! | `body`, `size` | what is sent                                                                        |
//! | `ledger`, `sequences` | lost, duplicate and out-of-order messages                                     |
//! | `latency`, `gap`, `clock` | what is measured                                                         |
//! | `outcome`      | the result as JSON and for people                                                   |
//! | `report`       | tables and charts from many results                                                 |
//!
//! Latency counts from the time at which a message should have been sent, so that a server that stands still can't hide it
//! by keeping the load from being sent (coordinated omission).

pub mod args;
mod body;
mod clock;
mod consume;
mod e2e;
mod failover;
mod gap;
mod groups;
mod latency;
mod ledger;
mod outcome;
mod pace;
mod produce;
mod receivers;
mod report;
mod room;
mod senders;
mod sequences;
mod size;
mod stage;
mod topic;

use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::runtime::Runtime;

use args::{BenchArgs, BenchCommand, TargetArgs};
use outcome::Outcome;

/// Runs a command to its end and prints the result.
///
/// # Errors
/// No name server was given or answers; a client or thread can't be started; files of a report can't be read or written.
pub fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    // Signals and progress only: the load has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the run-time can't be started")?;
    match &args.command {
        BenchCommand::Produce(args) => produce::run(args, &runtime),
        BenchCommand::Consume(args) => consume::run(args, &runtime),
        BenchCommand::E2e(args) => e2e::run(args, &runtime),
        BenchCommand::Failover(args) => failover::run(args, &runtime),
        BenchCommand::Report(args) => report::run(args).map(|()| ExitCode::SUCCESS),
    }
}

/// The name servers, and the topic made if it was missing.
fn prepare<'a>(args: &'a TargetArgs, runtime: &Runtime) -> anyhow::Result<(&'a str, &'a str)> {
    let Some(name_servers) = args.namesrv.as_deref().filter(|text| !text.trim().is_empty()) else {
        bail!("no name server: give --namesrv HOST:PORT, or set NAMESRV_ADDR");
    };
    runtime.block_on(topic::ensure(name_servers, &args.topic, args.queues))?;
    Ok((name_servers, &args.topic))
}

/// Prints a result.
fn show(outcome: &Outcome, json: bool) {
    if json {
        println!("{}", outcome.json());
    } else {
        print!("{}", outcome.table());
    }
}
