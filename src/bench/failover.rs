//! `flotilla bench failover`: the outage that clients see while something kills the leader, and whether all that was acked is
//! there afterwards.

mod read_back;
mod trials;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::FutureExt;
use tokio::runtime::Runtime;

use super::args::FailoverArgs;
use super::latency::Latencies;
use super::outcome::{Outcome, Size, rounded};
use super::senders::{self, Load, Sending};
use super::stage::{Plan, Stage, Work};
use super::topic;
use read_back::read_back;
use trials::Trial;

/// Time for connections and routes before a trial is measured.
const WARMUP: Duration = Duration::from_secs(1);

/// Runs all trials and prints the result; exit code 1 when an acked message is not there.
///
/// # Errors
/// A command of the shell failed, the topic can't be read back: the trials before are printed then; see [`super::run`].
pub fn run(args: &FailoverArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    let target = super::prepare(&args.target, runtime)?;
    let (mut trials, mut latencies) = (Vec::new(), Latencies::new());
    let ended = run_trials(args, target, runtime, &mut trials, &mut latencies);
    if trials.is_empty() {
        return ended.map(|()| ExitCode::SUCCESS);
    }
    let lost: u64 = trials.iter().map(|trial| trial.lost).sum();
    let mut outcome = Outcome::new("failover", target.0, target.1);
    outcome.size = Some(Size::from(&args.load.size));
    outcome.clients = args.clients;
    outcome.window = Some(args.window);
    outcome.rate = Some(args.rate);
    outcome.latency_us = latencies.summary();
    trials::sum_up(&mut outcome, &trials);
    if args.target.json {
        println!("{}", trials::json(&outcome, &trials));
    } else {
        print!("{}{}", trials::table(&trials), outcome.table());
    }
    // What was measured before is worth as much as without it.
    ended?;
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one trial after the other and notes each one's figures as soon as it is over.
///
/// # Errors
/// What failed first; the trials before it are noted.
fn run_trials(
    args: &FailoverArgs,
    target: (&str, &str),
    runtime: &Runtime,
    trials: &mut Vec<Trial>,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    for number in 1..=args.trials {
        // Each with a run number of its own, so that none takes another's messages for its own.
        let load = Load {
            keeps_acked: true,
            ..Load::new(target, &args.load, (args.clients, args.window), args.rate)?
        };
        let before = runtime.block_on(topic::ends(target.0, target.1))?;
        let stage =
            Stage::new(Plan { warmup: WARMUP, measured: Some(args.seconds) }, load.threads as usize + 1);
        let sending = one_load(args, &load, &stage, runtime)?;
        sending.explain();
        ensure!(sending.acked > 0 || stage.is_interrupted(), "nothing was acked");
        let received = runtime.block_on(read_back(&load, &stage, before))?;
        let trial = Trial::new(&stage, &load, &sending, &received);
        latencies.merge(&sending.latencies);
        eprintln!("trial {number}: {}", trial.line());
        trials.push(trial);
        if let Some(command) = &args.restore {
            shell(command).context("--restore")?;
        }
        if stage.is_interrupted() {
            break;
        }
    }
    Ok(())
}

/// Sends, and runs the command in the middle.
fn one_load(
    args: &FailoverArgs,
    load: &Load,
    stage: &Arc<Stage>,
    runtime: &Runtime,
) -> anyhow::Result<Sending> {
    let mut work: Vec<Work<Option<Sending>>> = Vec::new();
    for number in 0..load.threads {
        let load = load.clone();
        work.push(Box::new(move |stage| {
            async move { senders::run(load, stage, number).await.map(Some) }.boxed_local()
        }));
    }
    let command = args.kill.clone();
    work.push(Box::new(move |stage| kill(command, stage).boxed_local()));
    Ok(Sending::all(stage.run(runtime, work)?.into_iter().flatten().collect()))
}

async fn kill(command: Option<String>, stage: Arc<Stage>) -> anyhow::Result<Option<Sending>> {
    stage.prepared().await;
    let Some(command) = command else { return Ok(None) };
    let middle_us = stage.begin_us().midpoint(stage.end_us());
    let pause = Duration::from_micros(middle_us.saturating_sub(stage.clock.now_us()));
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stage.over() => return Ok(None),
    }
    // This thread has nothing else to do.
    shell(&command).context("--kill")?;
    Ok(None)
}

/// Runs a command; what it prints goes to standard error, where it can't disturb the result.
fn shell(command: &str) -> anyhow::Result<()> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(std::io::stderr());
    let status = shell.status().context("sh can't be started")?;
    ensure!(status.success(), "`{command}` ended with {status}");
    Ok(())
}

/// Milliseconds of the longest time without an ack in the measured part.
fn longest_gap_ms(stage: &Stage) -> f64 {
    rounded(stage.gap.longest_ms(stage.end_us()), 3)
}
