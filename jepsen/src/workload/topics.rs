//! Topics are set, deleted and read while things break. A change is several calls of the client library (the list of brokers,
//! the leader, the name servers): once the leader may have been asked, a failure is unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use flotilla_client::admin::{Scope, TopicSettings};
use flotilla_client::{AdminClient, ClientError};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Env;
use super::common::{PATIENCE, client, create_topic, pace};
use crate::history::Act;
use crate::recorder::Session;

/// As the cluster under test calls all its brokers.
const BROKER: &str = "broker-a";
const TOPICS: u32 = 6;
const CLIENTS: u32 = 3;
const WORKERS: u32 = 2;
/// Operations a second, at most: each is several calls, and a change of a topic is told to every name server.
const RATE_MAX: u32 = 60;
/// Queue counts that are set, in turns, so that neighbours differ.
const QUEUES_MAX: u32 = 64;

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let first = client(&env, "reader")?;
    // Known before the first fault, so that the cluster answers for topics.
    create_topic(&first, "jepsen-topics-ready", 1).await?;
    let counts = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    for number in 0..CLIENTS {
        let client = client(&env, &format!("client-{number}"))?;
        let admin = AdminClient::new(&client).patience(Duration::ZERO);
        for worker in 0..WORKERS {
            let seed = env.seed.wrapping_add(u64::from(number * WORKERS + worker));
            workers.spawn(work(env.clone(), admin.clone(), counts.clone(), seed));
        }
    }
    env.phases.prepared.cancel();
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker")?;
    }
    let admin = AdminClient::new(&first).patience(Duration::ZERO);
    let session = env.recorder.session();
    for topic in (0..TOPICS).map(name) {
        env.recorder.drained(&topic);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = read(&admin, &session, &topic).await {
            if Instant::now() > deadline {
                return Err(error).context("the last read");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
    first.shutdown().await;
    Ok(())
}

fn name(number: u32) -> String {
    format!("jepsen-topic-{number}")
}

async fn work(env: Env, admin: AdminClient, counts: Arc<AtomicU32>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate.min(RATE_MAX), CLIENTS * WORKERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let topic = name(random.random_range(0..TOPICS));
        match random.random_range(0..10) {
            0..=3 => {
                set(&admin, &mut session, &topic, 1 + counts.fetch_add(1, Ordering::Relaxed) % QUEUES_MAX)
                    .await
            }
            4 => delete(&admin, &mut session, &topic).await,
            _ => {
                // A read that failed is in the history.
                let _ = read(&admin, &session, &topic).await;
            }
        }
    }
}

async fn set(admin: &AdminClient, session: &mut Session, topic: &str, queues: u32) {
    let act = || Act::SetTopic { topic: topic.to_owned(), queues };
    session.invoke(act());
    match admin.create_topic(topic, &TopicSettings::queues(queues), &Scope::All).await {
        Ok(()) => session.ok(act()),
        Err(error) => unsettled(session, act(), &error),
    }
}

async fn delete(admin: &AdminClient, session: &mut Session, topic: &str) {
    let act = || Act::DeleteTopic { topic: topic.to_owned() };
    session.invoke(act());
    match admin.delete_topic(topic, &Scope::All).await {
        Ok(()) => session.ok(act()),
        Err(error) => session.info(act(), &error),
    }
}

/// Only what kept the request from being sent is a failure.
fn unsettled(session: &mut Session, act: Act, error: &ClientError) {
    match error {
        ClientError::NotSent { .. } | ClientError::NoRoute { .. } | ClientError::Deadline(_) => {
            session.fail(act, error);
        }
        _ => session.info(act, error),
    }
}

/// Asks the leader for all its topics: a name server's route would tell what was.
async fn read(admin: &AdminClient, session: &Session, topic: &str) -> Result<(), ClientError> {
    let act = |queues| Act::ReadTopic { topic: topic.to_owned(), queues };
    session.invoke(act(None));
    match admin.topic_configs(BROKER).await {
        Ok(topics) => {
            session.ok(act(topics.get(topic).and_then(|config| u32::try_from(config.write_queue_nums).ok())));
            Ok(())
        }
        Err(error) => {
            session.fail(act(None), &error);
            Err(error)
        }
    }
}
