//! `flotilla bench consume`: reads a topic by one or several groups.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::FutureExt;
use futures::future::try_join_all;
use tokio::runtime::Runtime;

use super::args::{ConsumeArgs, From};
use super::groups;
use super::outcome::{Outcome, rounded};
use super::receivers::{MeasuredBy, Reading, Receiver};
use super::stage::{Counts, Plan, Stage, Work};

const SECONDS: Duration = Duration::from_secs(10);
/// With a number of messages to wait for: none for so long means that there are no more.
const IDLE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_secs(1);

/// Runs to the end and prints the result.
///
/// # Errors
/// Fewer messages came than were asked for; see [`super::run`].
pub fn run(args: &ConsumeArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    let (name_servers, topic) = super::prepare(&args.target, runtime)?;
    let consumers = args.clients * args.groups;
    let threads = args.threads.min(consumers);
    let measured = args.seconds.or(args.messages.is_none().then_some(SECONDS));
    let stage = Stage::new(Plan { warmup: args.warmup, measured }, threads as usize);
    let run = stage.clock.now_us();
    let order = Order {
        name_servers: name_servers.to_owned(),
        topic: topic.to_owned(),
        names: (0..args.groups).map(|group| groups::name(run, &group.to_string())).collect(),
        clients: args.clients,
        threads,
        from: args.from,
        messages: args.messages,
        last_us: Arc::default(),
    };
    let work = (0..threads).map(|thread| work(&order, thread)).collect();
    let threads = stage.run(runtime, work);
    runtime.block_on(groups::delete(name_servers, &order.names));
    let threads = threads?;

    let mut groups: Vec<Reading> = (0..args.groups).map(|_| Reading::new(None)).collect();
    for (group, reading) in threads.into_iter().flatten() {
        groups[group as usize].merge(reading);
    }
    let sum = |figure: fn(&Reading) -> u64| groups.iter().map(figure).sum::<u64>();
    let mut outcome = Outcome::new("consume", name_servers, topic);
    outcome.clients = consumers;
    let first_us = groups.iter().filter_map(|group| group.first_us).min();
    let last_us = groups.iter().map(|group| group.last_us).max().unwrap_or(0);
    // What comes all at once has no time between first and last.
    let from_us = first_us.filter(|first_us| *first_us < last_us).unwrap_or(stage.begin_us());
    let seconds = last_us.saturating_sub(from_us) as f64 / 1e6;
    outcome.over(seconds, sum(|group| group.messages), sum(|group| group.bytes));
    outcome.received = Some(sum(|group| group.messages));
    outcome.duplicates = Some(sum(|group| group.ledger.duplicates()));
    outcome.out_of_order = Some(sum(|group| group.ledger.out_of_order()));
    if args.from == From::Last {
        // Of messages that lay there before, it would be their age.
        let mut latencies = super::latency::Latencies::new();
        groups.iter().for_each(|group| latencies.merge(&group.latencies));
        outcome.latency_us = latencies.summary();
    }
    outcome.client_cpu_seconds = rounded(stage.cpu_seconds(), 3);
    super::show(&outcome, args.target.json);
    if let Some(wanted) = args.messages {
        let got = Counts::get(&stage.counts.received);
        ensure!(
            got >= wanted || stage.is_interrupted(),
            "{got} of {wanted} messages came before the time was up"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What the threads are to do.
#[derive(Clone, Debug)]
struct Order {
    name_servers: String,
    topic: String,
    /// The groups' names.
    names: Arc<[String]>,
    clients: u32,
    threads: u32,
    from: From,
    messages: Option<u64>,
    /// Time of the last message of all threads, µs since 1970.
    last_us: Arc<AtomicU64>,
}

/// The work of one thread: its consumers' readings, by group.
fn work(order: &Order, thread: u32) -> Work<Vec<(u32, Reading)>> {
    let order = order.clone();
    Box::new(move |stage: Arc<Stage>| consume(order, stage, thread).boxed_local())
}

async fn consume(order: Order, stage: Arc<Stage>, thread: u32) -> anyhow::Result<Vec<(u32, Reading)>> {
    let groups = order.names.len() as u32;
    let all = (0..groups).flat_map(|group| (0..order.clients).map(move |client| (group, client)));
    let mine = all.enumerate().filter(|(number, _)| *number as u32 % order.threads == thread);
    let mut receivers = Vec::new();
    for (_, (group, client)) in mine {
        let name = &order.names[group as usize];
        let receiver = Receiver::start(&order.name_servers, &order.topic, name, true).await?;
        receivers.push((group, client, receiver));
    }
    let readings: Vec<Rc<RefCell<Reading>>> =
        (0..groups).map(|_| Rc::new(RefCell::new(Reading::new(None)))).collect();
    stage.prepared().await;
    order.last_us.fetch_max(stage.clock.now_us(), Ordering::Relaxed);

    let at_end = order.from == From::Last;
    let loops = receivers.iter().map(|(group, client, receiver)| {
        let (order, stage, reading) = (&order, &stage, &readings[*group as usize]);
        async move {
            receiver.take(*client as usize, order.clients as usize, at_end).await?;
            drain(receiver, order, stage, reading).await
        }
    });
    try_join_all(loops).await?;
    for (_, _, receiver) in receivers {
        receiver.stop().await;
    }
    let reading =
        |(group, reading): (u32, Rc<RefCell<Reading>>)| (group, reading.replace(Reading::new(None)));
    Ok((0..).zip(readings).map(reading).collect())
}

/// Polls one consumer until the run is over.
async fn drain(
    receiver: &Receiver,
    order: &Order,
    stage: &Stage,
    reading: &RefCell<Reading>,
) -> anyhow::Result<()> {
    while !stage.is_over() {
        let messages = tokio::select! {
            messages = receiver.poll(POLL) => messages.context("a poll failed")?,
            () = stage.over() => break,
        };
        let received = || Counts::get(&stage.counts.received);
        if messages.is_empty() {
            let idle_us = stage.clock.now_us().saturating_sub(order.last_us.load(Ordering::Relaxed));
            if let Some(wanted) = order.messages
                && idle_us > super::clock::micros(IDLE)
            {
                let got = received();
                ensure!(got >= wanted, "{got} of {wanted} messages came, and none for {} s", IDLE.as_secs());
                bail!("none came for {} s", IDLE.as_secs());
            }
            continue;
        }
        reading.borrow_mut().arrived(stage, &messages, MeasuredBy::Arrival);
        order.last_us.fetch_max(stage.clock.now_us(), Ordering::Relaxed);
        if order.messages.is_some_and(|wanted| received() >= wanted) {
            stage.end();
        }
    }
    Ok(())
}
