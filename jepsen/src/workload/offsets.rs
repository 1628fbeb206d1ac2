//! Committed offsets as registers: one for each group and queue, written and read by several clients at once.
//!
//! A call is made once: the client library's repetitions would let one write take effect twice. A refusal of a write is taken
//! as unknown unless it was certainly not taken up: commits are gathered before they are logged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use flotilla_client::{AdminClient, ClientError, MessageQueue, Producer};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Env;
use super::common::{Outcome, PATIENCE, client, create_topic, outcome, pace, queues_of};
use super::replica::Replica;
use crate::cluster::Ability;
use crate::history::Act;
use crate::recorder::Session;

const TOPIC: &str = "jepsen-offsets";
const QUEUES: u32 = 4;
/// Groups: with the queues, this many registers in all times four.
const GROUPS: u64 = 3;
const CLIENTS: u32 = 4;
const WORKERS: u32 = 3;
/// Part of the operations that write.
const WRITES: f64 = 0.5;
/// Most questions a second to each replica.
const ASKED_RATE_MAX: u32 = 20;

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let first = client(&env, "reader")?;
    create_topic(&first, TOPIC, QUEUES).await?;
    let producer = Producer::builder(&first).group("jepsen-readers").start().await?;
    let queues = queues_of(&producer, TOPIC).await?;
    // From 1: no two writes of a run write the same.
    let values = Arc::new(AtomicU64::new(1));
    let mut workers = JoinSet::new();
    for number in 0..CLIENTS {
        let client = client(&env, &format!("client-{number}"))?;
        let admin = AdminClient::new(&client).patience(Duration::ZERO);
        for worker in 0..WORKERS {
            let seed = env.seed.wrapping_add(u64::from(number * WORKERS + worker));
            workers.spawn(work(env.clone(), admin.clone(), queues.clone(), values.clone(), seed));
        }
    }
    // The library leaves a leader that says nothing; a client with an old route, as there are others, does not.
    let nodes = if env.cluster.server().can(Ability::ReplicaReads) { env.cluster.size() } else { 0 };
    for node in 0..nodes {
        workers.spawn(ask_replica(env.clone(), node));
    }
    env.phases.prepared.cancel();
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker")?;
    }
    env.recorder.drained(TOPIC);
    let admin = AdminClient::new(&first).patience(Duration::ZERO);
    let session = env.recorder.session();
    for group in 0..GROUPS {
        for queue in &queues {
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = read(&admin, &session, &name(group), queue).await {
                if Instant::now() > deadline {
                    return Err(error).context("the last read");
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    first.shutdown().await;
    Ok(())
}

fn name(group: u64) -> String {
    format!("jepsen-register-{group}")
}

/// Reads registers at one replica, whoever leads: what it does not know for sure it must not answer.
async fn ask_replica(env: Env, node: usize) {
    let mut random = SmallRng::seed_from_u64(env.seed.wrapping_add(1000 + node as u64));
    let session = env.recorder.session();
    let mut ticks = pace(env.rate.min(ASKED_RATE_MAX), 1, &mut random);
    let mut replica = None;
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let group = name(random.random_range(0..GROUPS));
        let queue = random.random_range(0..QUEUES);
        let act = |offset| Act::ReadOffset { group: group.clone(), topic: TOPIC.to_owned(), queue, offset };
        session.invoke(act(None));
        let committed = async {
            if replica.is_none() {
                replica = Some(Replica::connect(env.cluster.layout().nodes[node].advertised).await?);
            }
            replica.as_mut().context("no connection")?.committed(&group, TOPIC, queue).await
        };
        match committed.await {
            Ok(offset) => session.ok(act(offset)),
            Err(error) => {
                session.fail(act(None), format!("n{node}: {error:#}"));
                replica = None;
            }
        }
    }
}

async fn work(env: Env, admin: AdminClient, queues: Vec<MessageQueue>, values: Arc<AtomicU64>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate, CLIENTS * WORKERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let group = name(random.random_range(0..GROUPS));
        let queue = &queues[random.random_range(0..queues.len())];
        if random.random_bool(WRITES) {
            write(&admin, &mut session, &group, queue, values.fetch_add(1, Ordering::Relaxed)).await;
        } else {
            // A read that failed is in the history.
            let _ = read(&admin, &session, &group, queue).await;
        }
    }
}

async fn write(admin: &AdminClient, session: &mut Session, group: &str, queue: &MessageQueue, offset: u64) {
    let number = u32::try_from(queue.queue_id).unwrap_or(u32::MAX);
    let act =
        || Act::CommitOffset { group: group.to_owned(), topic: queue.topic.clone(), queue: number, offset };
    session.invoke(act());
    match admin.commit_offset(group, queue, i64::try_from(offset).unwrap_or(i64::MAX)).await {
        Ok(()) => session.ok(act()),
        Err(error) => match (&error, outcome(&error)) {
            (ClientError::Refused { .. }, _) | (_, Outcome::Info) => session.info(act(), &error),
            (_, Outcome::Fail) => session.fail(act(), &error),
        },
    }
}

async fn read(
    admin: &AdminClient,
    session: &Session,
    group: &str,
    queue: &MessageQueue,
) -> Result<(), ClientError> {
    let number = u32::try_from(queue.queue_id).unwrap_or(u32::MAX);
    let act = |offset| Act::ReadOffset {
        group: group.to_owned(),
        topic: queue.topic.clone(),
        queue: number,
        offset,
    };
    session.invoke(act(None));
    match admin.committed_offset(group, queue).await {
        Ok(offset) => {
            session.ok(act(offset.and_then(|offset| u64::try_from(offset).ok())));
            Ok(())
        }
        Err(error) => {
            session.fail(act(None), &error);
            Err(error)
        }
    }
}
