//! `flotilla bench e2e`: sends and receives at the same time. One thread receives, the others send: at a rate, or without one as
//! much as is received, so that neither side runs away from the other.

use std::cell::RefCell;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::FutureExt;
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::args::E2eArgs;
use super::groups;
use super::ledger::{Acked, Received};
use super::outcome::Outcome;
use super::produce::describe;
use super::receivers::{MeasuredBy, Reading, Receiver};
use super::room::Room;
use super::senders::{self, Load, Sending};
use super::stage::{Plan, Stage, Work};

const POLL: Duration = Duration::from_millis(200);
/// After the last answer: acked messages that don't arrive for so long are lost.
const STRAGGLERS: Duration = Duration::from_secs(10);
/// Likewise those without an answer, which may not be there at all.
const UNCERTAIN: Duration = Duration::from_secs(1);

/// Runs to the end and prints the result; exit code 1 when an acked message did not arrive.
///
/// # Errors
/// Nothing was acked; see [`super::run`].
pub fn run(args: &E2eArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    ensure!(
        args.rate > 0.0 || args.groups == 1,
        "without a rate one group decides how much is sent: --rate 0 and --groups exclude each other"
    );
    let target = super::prepare(&args.target, runtime)?;
    let load = Load::new(target, &args.load, (args.clients, args.window), args.rate)?;
    let room = (args.rate == 0.0).then(|| Arc::new(Room::new(args.clients as usize * args.window as usize)));
    let load = Load { keeps_acked: true, room, ..load };
    let plan = Plan { warmup: args.time.warmup, measured: Some(args.time.seconds) };
    let stage = Stage::new(plan, load.threads as usize + 1);
    let sent = Arc::new(Sent { threads_left: AtomicUsize::new(load.threads as usize), ..Sent::default() });
    let mut work = vec![receive(&load, args.groups, &sent)];
    work.extend((0..load.threads).map(|number| send(&load, number, &sent)));
    let mut groups = Vec::new();
    let mut threads = Vec::new();
    let parts = stage.run(runtime, work);
    runtime.block_on(groups::delete(&load.name_servers, &group_names(&load, args.groups)));
    for part in parts? {
        match part {
            Part::Sent(sending) => threads.push(*sending),
            Part::Received(readings) => groups.extend(readings),
        }
    }
    let sending = Sending::all(threads);

    let mut outcome = Outcome::new("e2e", &load.name_servers, &load.topic);
    describe(&mut outcome, &load, &stage, &sending);
    let mut latencies = super::latency::Latencies::new();
    for group in &groups {
        latencies.merge(&group.latencies);
        latencies.merge(&sending.unsent);
    }
    outcome.latency_us = latencies.summary();
    let sum = |figure: fn(&Reading) -> u64| groups.iter().map(figure).sum::<u64>();
    let acked = sent.acked.lock();
    let lost = groups.iter().map(|group| acked.lost(load.run, &group.ledger)).sum();
    outcome.received = Some(sum(|group| group.messages));
    outcome.lost = Some(lost);
    outcome.duplicates = Some(sum(|group| group.ledger.duplicates()));
    outcome.out_of_order = Some(sum(|group| group.ledger.out_of_order()));
    sending.explain();
    ensure!(sending.acked > 0 || stage.seconds() == 0.0, "nothing was acked");
    super::show(&outcome, args.target.json);
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Figures of a thread.
enum Part {
    Sent(Box<Sending>),
    Received(Vec<Reading>),
}

/// What the receiving thread must know of the others.
#[derive(Debug, Default)]
struct Sent {
    threads_left: AtomicUsize,
    /// Of the threads that have ended.
    acked: Mutex<Acked>,
    unknown: AtomicU64,
    /// Cancelled when the last answer has come.
    all: CancellationToken,
}

impl Sent {
    /// Claims that a group has received all that was acked. How much it has received says nothing: messages arrive that were
    /// never acked.
    fn all_acked_are_in(&self, run: u64, received: &Received) -> bool {
        let acked = self.acked.lock();
        // Counting is quick, looking at each number is not.
        received.distinct() >= acked.count() && acked.lost(run, received) == 0
    }
}

/// Names of the groups of a run.
fn group_names(load: &Load, groups: u32) -> Vec<String> {
    (0..groups).map(|group| groups::name(load.run, &group.to_string())).collect()
}

fn send(load: &Load, number: u32, sent: &Arc<Sent>) -> Work<Part> {
    let (load, sent) = (load.clone(), sent.clone());
    let work = async move |stage: Arc<Stage>| {
        let mut sending = senders::run(load, stage, number).await;
        if let Ok(sending) = &mut sending {
            sent.acked.lock().merge(std::mem::take(&mut sending.numbers));
            sent.unknown.fetch_add(sending.unknown_ever, Ordering::AcqRel);
        }
        // After a failure too: the receiver waits for this.
        if sent.threads_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            sent.all.cancel();
        }
        sending.map(|sending| Part::Sent(Box::new(sending)))
    };
    Box::new(move |stage| async move { work(stage).await }.boxed_local())
}

fn receive(load: &Load, groups: u32, sent: &Arc<Sent>) -> Work<Part> {
    let (load, sent) = (load.clone(), sent.clone());
    Box::new(move |stage| receive_all(load, groups, sent, stage).boxed_local())
}

async fn receive_all(load: Load, groups: u32, sent: Arc<Sent>, stage: Arc<Stage>) -> anyhow::Result<Part> {
    let mut receivers = Vec::new();
    for name in group_names(&load, groups) {
        let receiver = Receiver::start(&load.name_servers, &load.topic, &name, true).await?;
        // Before anything is sent: what comes from now on is received.
        receiver.take(0, 1, true).await?;
        receivers.push(receiver);
    }
    stage.prepared().await;
    let readings: Vec<RefCell<Reading>> =
        receivers.iter().map(|_| RefCell::new(Reading::new(Some(load.run)))).collect();
    let loops = receivers
        .iter()
        .zip(&readings)
        .map(|(receiver, reading)| receive_group(receiver, reading, &load, &sent, &stage));
    try_join_all(loops).await?;
    for receiver in receivers {
        receiver.stop().await;
    }
    Ok(Part::Received(readings.into_iter().map(RefCell::into_inner).collect()))
}

/// Receives until everything is there that must be, or none comes any more.
async fn receive_group(
    receiver: &Receiver,
    reading: &RefCell<Reading>,
    load: &Load,
    sent: &Sent,
    stage: &Stage,
) -> anyhow::Result<()> {
    let mut last_us = stage.clock.now_us();
    let mut noticed = false;
    loop {
        let messages = tokio::select! {
            messages = receiver.poll(POLL) => messages.context("a poll failed")?,
            () = sent.all.cancelled(), if !noticed => {
                (noticed, last_us) = (true, stage.clock.now_us());
                Vec::new()
            }
        };
        if !messages.is_empty() {
            let new = reading.borrow_mut().arrived(stage, &messages, MeasuredBy::Sending);
            if let Some(room) = &load.room {
                room.make(new);
            }
            last_us = stage.clock.now_us();
        }
        if noticed {
            let quiet = Duration::from_micros(stage.clock.now_us().saturating_sub(last_us));
            let complete = sent.all_acked_are_in(load.run, &reading.borrow().ledger);
            let certain = sent.unknown.load(Ordering::Acquire) == 0;
            if quiet >= STRAGGLERS || (complete && (certain || quiet >= UNCERTAIN)) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::body::Header;

    #[test]
    fn messages_without_an_ack_do_not_stand_for_those_with_one() {
        let header = |sequence| Header { run: 1, producer: 0, sequence, intended_us: 0, key: None };
        let (sent, mut received) = (Sent::default(), Received::default());
        [0, 1, 2].into_iter().for_each(|sequence| sent.acked.lock().insert(0, sequence));
        for sequence in [0, 1, 7, 8] {
            received.message(Some(0), &header(sequence));
        }
        assert!(!sent.all_acked_are_in(1, &received), "2 is under way");
        received.message(Some(0), &header(2));
        assert!(sent.all_acked_are_in(1, &received));
    }
}
