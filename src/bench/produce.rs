//! `flotilla bench produce`: sends, and measures from the (intended) send to the ack.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use futures::FutureExt;
use tokio::runtime::Runtime;

use super::args::ProduceArgs;
use super::outcome::{Outcome, Size, rounded};
use super::senders::{self, Load, Sending};
use super::stage::{Plan, Stage, Work};

/// Runs to the end and prints the result.
///
/// # Errors
/// Nothing was acked; see [`super::run`].
pub fn run(args: &ProduceArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    ensure!(
        args.batch == 0 || args.load.keys == 0,
        "--batch and --keys exclude each other: a batch goes to one queue"
    );
    let target = super::prepare(&args.target, runtime)?;
    let load =
        Load { batch: args.batch, ..Load::new(target, &args.load, (args.clients, args.window), args.rate)? };
    let plan = Plan { warmup: args.time.warmup, measured: Some(args.time.seconds) };
    let stage = Stage::new(plan, load.threads as usize);
    let work = (0..load.threads).map(|number| work(&load, number)).collect();
    let sending = Sending::all(stage.run(runtime, work)?);

    let mut outcome = Outcome::new("produce", &load.name_servers, &load.topic);
    describe(&mut outcome, &load, &stage, &sending);
    sending.explain();
    ensure!(sending.acked > 0 || stage.seconds() == 0.0, "nothing was acked");
    super::show(&outcome, args.target.json);
    Ok(ExitCode::SUCCESS)
}

/// The work of one thread.
fn work(load: &Load, number: u32) -> Work<Sending> {
    let load = load.clone();
    Box::new(move |stage: Arc<Stage>| senders::run(load, stage, number).boxed_local())
}

/// Sets everything that senders know.
pub fn describe(outcome: &mut Outcome, load: &Load, stage: &Stage, sending: &Sending) {
    outcome.size = Some(Size::from(&load.sizes));
    outcome.clients = load.clients;
    outcome.window = Some(load.window);
    outcome.batch = Some(load.batch);
    outcome.rate = Some(load.rate);
    outcome.over(stage.seconds(), sending.acked, sending.bytes);
    outcome.sent = Some(sending.sent);
    outcome.acked = Some(sending.acked);
    outcome.failed = Some(sending.failed);
    outcome.unknown = Some(sending.unknown);
    outcome.behind = Some(sending.unsent.count()).filter(|behind| *behind > 0);
    outcome.latency_us = sending.latencies.summary();
    outcome.ack_gap_ms_max = Some(rounded(stage.gap.longest_ms(stage.end_us()), 3));
    outcome.client_cpu_seconds = rounded(stage.cpu_seconds(), 3);
}
