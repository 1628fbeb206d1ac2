//! Many producers, many queues, consumers of one group: nothing acknowledged is lost, nothing is stored twice, and the group
//! is given everything.

use std::sync::Arc;

use anyhow::Context;
use flotilla_client::{AdminClient, Client, ConsumeFrom, Outcome, Producer, PushConsumer};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use super::Env;
use super::common::{
    Ids, Listeners, Place, body, client, consume, consumed, create_topic, pace, read_everything, send,
    stop_consumers,
};

const TOPIC: &str = "jepsen-queue";
const GROUP: &str = "jepsen-queue-group";
const QUEUES: u32 = 8;
/// Clients that send, each with its own connections.
const CLIENTS: u32 = 4;
/// Senders of each.
const SENDERS: u32 = 3;
const CONSUMERS: usize = 2;

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let reader = client(&env, "reader")?;
    create_topic(&reader, TOPIC, QUEUES).await?;
    let mut consumers = Vec::new();
    for number in 0..CONSUMERS {
        let client = client(&env, &format!("consumer-{number}"))?;
        consumers.push(listen(&env, &client, GROUP, TOPIC).await?);
    }
    let ids = Arc::new(Ids::default());
    let mut senders = JoinSet::new();
    for number in 0..CLIENTS {
        let client = client(&env, &format!("producer-{number}"))?;
        let producer = Producer::builder(&client).group("jepsen-producers").start().await?;
        for sender in 0..SENDERS {
            let seed = env.seed.wrapping_add(u64::from(number * SENDERS + sender));
            senders.spawn(send_until_end(env.clone(), producer.clone(), ids.clone(), seed));
        }
    }
    env.phases.prepared.cancel();
    while let Some(ended) = senders.join_next().await {
        ended.context("a sender")?;
    }
    let admin = AdminClient::new(&reader);
    consumed(&admin, GROUP, TOPIC).await;
    stop_consumers(consumers).await;
    env.recorder.drained(TOPIC);
    read_everything(&env, &reader, TOPIC, QUEUES).await;
    reader.shutdown().await;
    Ok(())
}

async fn send_until_end(env: Env, producer: Producer, ids: Arc<Ids>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate, CLIENTS * SENDERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let id = ids.next();
        send(&producer, &mut session, TOPIC, id, None, Place::Any, body(id, &mut random)).await;
    }
}

/// A consumer that is content with everything.
async fn listen(
    env: &Env,
    client: &Client,
    group: &'static str,
    topic: &'static str,
) -> anyhow::Result<PushConsumer> {
    let listeners = Listeners::new(env);
    let consumer = PushConsumer::builder(client)
        .group(group)
        .subscribe(topic, "*")
        .consume_from(ConsumeFrom::First)
        .concurrency(4)
        .start(move |messages| {
            let listeners = listeners.clone();
            async move {
                for message in &messages {
                    let session = listeners.begin();
                    session.invoke(consume(group, topic, message));
                    session.ok(consume(group, topic, message));
                    listeners.done(session);
                }
                Outcome::Success
            }
        });
    Ok(consumer.await?)
}
