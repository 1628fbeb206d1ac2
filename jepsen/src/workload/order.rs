//! Messages of a key stay in order from the producer to an orderly consumer. Each key belongs to one sender, which awaits
//! each send before the next one of the key.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use flotilla_client::{AdminClient, Client, ConsumeFrom, OrderlyOutcome, Producer, PushConsumer};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Env;
use super::common::{
    Ids, Listeners, Place, body, client, consume, consumed, create_topic, pace, read_everything, send,
    stop_consumers,
};

const TOPIC: &str = "jepsen-order";
const GROUP: &str = "jepsen-order-group";
const QUEUES: u32 = 6;
const CLIENTS: u32 = 3;
const SENDERS: u32 = 4;
/// Keys of each sender.
const KEYS: u32 = 3;
const CONSUMERS: usize = 3;
/// Chance that a listener wants a message once more.
const SUSPEND: f64 = 0.01;
/// Chance that a listener takes its time, so that who gets the next message too early is caught at it; and how long.
const SLOW: f64 = 0.05;
const SLOW_MS: std::ops::Range<u64> = 1..10;

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let reader = client(&env, "reader")?;
    create_topic(&reader, TOPIC, QUEUES).await?;
    let mut consumers = Vec::new();
    for number in 0..CONSUMERS {
        let client = client(&env, &format!("consumer-{number}"))?;
        consumers.push(listen(&env, &client, number as u64).await?);
    }
    let ids = Arc::new(Ids::default());
    let mut senders = JoinSet::new();
    for number in 0..CLIENTS {
        let client = client(&env, &format!("producer-{number}"))?;
        let producer = Producer::builder(&client).group("jepsen-producers").start().await?;
        for sender in 0..SENDERS {
            senders.spawn(send_until_end(
                env.clone(),
                producer.clone(),
                ids.clone(),
                number * SENDERS + sender,
            ));
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

async fn send_until_end(env: Env, producer: Producer, ids: Arc<Ids>, sender: u32) {
    let mut random = SmallRng::seed_from_u64(env.seed.wrapping_add(u64::from(sender)));
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate, CLIENTS * SENDERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let id = ids.next();
        let key = format!("k{sender}-{}", random.random_range(0..KEYS));
        let body = body(id, &mut random);
        send(&producer, &mut session, TOPIC, id, Some(&key), Place::OfKey, body).await;
    }
}

async fn listen(env: &Env, client: &Client, number: u64) -> anyhow::Result<PushConsumer> {
    let listeners = Listeners::new(env);
    let random =
        Arc::new(parking_lot::Mutex::new(SmallRng::seed_from_u64(env.seed ^ (0x6F72_6400 + number))));
    let consumer = PushConsumer::builder(client)
        .group(GROUP)
        .subscribe(TOPIC, "*")
        .consume_from(ConsumeFrom::First)
        .suspend(Duration::from_millis(50))
        .start_orderly(move |messages| {
            let (listeners, random) = (listeners.clone(), random.clone());
            async move {
                for message in &messages {
                    let session = listeners.begin();
                    session.invoke(consume(GROUP, TOPIC, message));
                    let (again, held) = {
                        let mut random = random.lock();
                        (
                            random.random_bool(SUSPEND),
                            random.random_bool(SLOW).then(|| random.random_range(SLOW_MS)),
                        )
                    };
                    if let Some(ms) = held {
                        sleep(Duration::from_millis(ms)).await;
                    }
                    if again {
                        session.fail(consume(GROUP, TOPIC, message), "wanted again");
                    } else {
                        session.ok(consume(GROUP, TOPIC, message));
                    }
                    listeners.done(session);
                    if again {
                        return OrderlyOutcome::Suspend;
                    }
                }
                OrderlyOutcome::Success
            }
        });
    Ok(consumer.await?)
}
