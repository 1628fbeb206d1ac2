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
use crate::history::Act;
use crate::recorder::Session;

const TOPIC: &str = "jepsen-offsets";
const QUEUES: u32 = 4;
/// Groups: with the queues, this many registers in all times four.
const GROUPS: u64 = 3;
const CLIENTS: u32 = 4;
const WORKERS: u32 = 3;
/// Of the clients, those that never write: a leader that answers their questions gives them no cause to look for another one.
const READERS: u32 = 1;
/// Part of the others' operations that write.
const WRITES: f64 = 0.6;

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
        let writes = if number < READERS { 0.0 } else { WRITES };
        for worker in 0..WORKERS {
            let seed = env.seed.wrapping_add(u64::from(number * WORKERS + worker));
            let own = Own { admin: admin.clone(), queues: queues.clone(), writes, seed };
            workers.spawn(work(env.clone(), own, values.clone()));
        }
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

/// What a worker goes by.
struct Own {
    admin: AdminClient,
    queues: Vec<MessageQueue>,
    /// Part of its operations that write.
    writes: f64,
    seed: u64,
}

async fn work(env: Env, own: Own, values: Arc<AtomicU64>) {
    let Own { admin, queues, writes, seed } = own;
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate, CLIENTS * WORKERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let group = name(random.random_range(0..GROUPS));
        let queue = &queues[random.random_range(0..queues.len())];
        if random.random_bool(writes) {
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
