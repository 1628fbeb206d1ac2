//! Topics are set, deleted and read while things break.
//!
//! A change is several calls of the client library: the list of brokers, the leader, then, for a deletion, each other replica
//! (which hands it to the leader, so that one deletion is done several times) and the name servers. So once the leader may have
//! been asked, a failure is unknown; a deletion has its topic for itself; and a topic that was deleted, or whose change is
//! unknown, is only read from then on, and another one takes its place. Then each topic is a register, whatever comes late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use flotilla_client::admin::{Scope, TopicSettings};
use flotilla_client::{AdminClient, ClientError};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Env;
use super::common::{BROKER, PATIENCE, client, create_topic, pace};
use crate::history::Act;
use crate::recorder::Session;

/// Topics that are changed at a time.
const PLACES: usize = 4;
const CLIENTS: u32 = 3;
const WORKERS: u32 = 2;
/// Operations a second, at most: each is several calls, and a change of a topic is told to every name server.
const RATE_MAX: u32 = 60;
/// Queue counts that are set, in turns, so that neighbours differ.
const QUEUES_MAX: u32 = 64;

/// A place for topics, one after the other.
#[derive(Debug, Default)]
struct Place {
    /// Number of the topic that is changed now. Held for reading by who sets it, for writing by who deletes it.
    generation: RwLock<u32>,
    /// The same, for who only reads.
    newest: AtomicU32,
}

/// What all workers share.
#[derive(Debug, Default)]
struct Shared {
    places: [Place; PLACES],
    counts: AtomicU32,
}

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let first = client(&env, "reader")?;
    // Known before the first fault, so that the cluster answers for topics.
    create_topic(&first, "jepsen-topics-ready", 1).await?;
    let shared = Arc::new(Shared::default());
    let mut workers = JoinSet::new();
    for number in 0..CLIENTS {
        let client = client(&env, &format!("client-{number}"))?;
        let admin = AdminClient::new(&client).patience(Duration::ZERO);
        for worker in 0..WORKERS {
            let seed = env.seed.wrapping_add(u64::from(number * WORKERS + worker));
            workers.spawn(work(env.clone(), admin.clone(), shared.clone(), seed));
        }
    }
    env.phases.prepared.cancel();
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker")?;
    }
    let admin = AdminClient::new(&first).patience(Duration::ZERO);
    let session = env.recorder.session();
    for (place, topics) in shared.places.iter().enumerate() {
        for generation in 0..=topics.newest.load(Ordering::Relaxed) {
            let topic = name(place, generation);
            env.recorder.drained(&topic);
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = read(&admin, &session, &topic).await {
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

fn name(place: usize, generation: u32) -> String {
    format!("jepsen-topic-{place}-{generation}")
}

async fn work(env: Env, admin: AdminClient, shared: Arc<Shared>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate.min(RATE_MAX), CLIENTS * WORKERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let number = random.random_range(0..PLACES);
        let place = &shared.places[number];
        match random.random_range(0..20) {
            0..=8 => {
                let generation = place.generation.read().await;
                let (topic, used) = (name(number, *generation), *generation);
                let queues = 1 + shared.counts.fetch_add(1, Ordering::Relaxed) % QUEUES_MAX;
                let known = set(&admin, &mut session, &topic, queues).await;
                drop(generation);
                if !known {
                    place.retire(used).await;
                }
            }
            9 => {
                let mut generation = place.generation.write().await;
                delete(&admin, &mut session, &name(number, *generation)).await;
                place.next(&mut generation);
            }
            choice => {
                let newest = place.newest.load(Ordering::Relaxed);
                let back = if choice < 17 { 0 } else { random.random_range(0..=newest.min(3)) };
                // A read that failed is in the history.
                let _ = read(&admin, &session, &name(number, newest - back)).await;
            }
        }
    }
}

impl Place {
    fn next(&self, generation: &mut u32) {
        *generation += 1;
        self.newest.store(*generation, Ordering::Relaxed);
    }

    /// Leaves a topic to readers, unless that has been done.
    async fn retire(&self, used: u32) {
        let mut generation = self.generation.write().await;
        if *generation == used {
            self.next(&mut generation);
        }
    }
}

/// Claims that the outcome is known.
async fn set(admin: &AdminClient, session: &mut Session, topic: &str, queues: u32) -> bool {
    let act = || Act::SetTopic { topic: topic.to_owned(), queues };
    session.invoke(act());
    match admin.create_topic(topic, &TopicSettings::queues(queues), &Scope::All).await {
        Ok(()) => session.ok(act()),
        // Only what kept the request from being sent is a failure.
        Err(
            error @ (ClientError::NotSent { .. } | ClientError::NoRoute { .. } | ClientError::Deadline(_)),
        ) => session.fail(act(), &error),
        Err(error) => {
            session.info(act(), &error);
            return false;
        }
    }
    true
}

async fn delete(admin: &AdminClient, session: &mut Session, topic: &str) {
    let act = || Act::DeleteTopic { topic: topic.to_owned() };
    session.invoke(act());
    match admin.delete_topic(topic, &Scope::All).await {
        Ok(()) => session.ok(act()),
        Err(error) => session.info(act(), &error),
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
