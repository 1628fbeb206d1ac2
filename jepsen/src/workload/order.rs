//! Messages of a key stay in order from the producer to an orderly consumer. Each key belongs to one sender, which awaits
//! each send before the next one of the key.

use std::sync::Arc;
use std::time::Duration;

use flotilla_client::{Client, OrderlyOutcome, PushConsumer};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::Env;
use super::common::{Listeners, Place, body, consume, pace, send};
use super::party::{Party, Seat, Sender};

const PARTY: Party = Party {
    topic: "jepsen-order",
    group: "jepsen-order-group",
    queues: 6,
    clients: 3,
    senders: 4,
    consumers: 3,
};
/// Keys of each sender.
const KEYS: u32 = 3;
/// Chance that a listener wants a message once more.
const SUSPEND: f64 = 0.01;
/// Chance that a listener takes its time, so that who gets the next message too early is caught at it; and how long.
const SLOW: f64 = 0.05;
const SLOW_MS: std::ops::Range<u64> = 1..10;

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let listening = env.clone();
    let listen = |client, number| listen(listening.clone(), client, number);
    let mut working = PARTY.work(env, listen, send_until_end).await?;
    working.consumed().await?;
    working.finish().await.shutdown().await;
    Ok(())
}

async fn send_until_end(sender: Sender) {
    let Sender { seat, producer } = sender;
    let mut random = seat.random();
    let Seat { env, ids, party, number } = seat;
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate, party.sender_count(), &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let id = ids.next();
        let key = format!("k{number}-{}", random.random_range(0..KEYS));
        let body = body(id, &mut random);
        send(&producer, &mut session, party.topic, id, Some(&key), Place::OfKey, body).await;
    }
}

async fn listen(env: Env, client: Client, number: u64) -> anyhow::Result<PushConsumer> {
    let Party { topic, group, .. } = PARTY;
    let listeners = Listeners::new(&env);
    let random =
        Arc::new(parking_lot::Mutex::new(SmallRng::seed_from_u64(env.seed ^ (0x6F72_6400 + number))));
    let consumer =
        PARTY.consumer(&client).suspend(Duration::from_millis(50)).start_orderly(move |messages| {
            let (listeners, random) = (listeners.clone(), random.clone());
            async move {
                for message in &messages {
                    let session = listeners.begin();
                    session.invoke(consume(group, topic, message));
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
                        session.fail(consume(group, topic, message), "wanted again");
                    } else {
                        session.ok(consume(group, topic, message));
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
