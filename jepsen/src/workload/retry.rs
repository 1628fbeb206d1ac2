//! Messages that fail: some once, some always. The group gets what failed again, and in the end as a dead letter; nothing is
//! lost on the way.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use flotilla_client::{AdminClient, Client, ConsumeFrom, MessageQueue, Outcome, Producer, PushConsumer};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Env;
use super::common::{
    Ids, Listeners, Place, body, client, consume, consumed, create_topic, id_of, pace, queue,
    read_everything, send, stop_consumers,
};

const TOPIC: &str = "jepsen-retry";
const GROUP: &str = "jepsen-retry-group";
const QUEUES: u32 = 4;
const CLIENTS: u32 = 2;
const SENDERS: u32 = 3;
const CONSUMERS: usize = 2;
/// Sends a second, at most: each failure comes again through the log.
const RATE_MAX: u32 = 100;
/// A message whose number is a multiple fails always.
const ALWAYS: u64 = 20;
/// One whose number is a multiple fails the first time.
const ONCE: u64 = 5;
/// Deliveries after the first before a message is a dead letter.
const TIMES: u32 = 2;
/// Longest wait until what failed last has become a dead letter: two delays of a second, and sends back under faults.
const DEAD_LETTERS: Duration = Duration::from_secs(60);

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let reader = client(&env, "reader")?;
    create_topic(&reader, TOPIC, QUEUES).await?;
    let mut consumers = Vec::new();
    for number in 0..CONSUMERS {
        let client = client(&env, &format!("consumer-{number}"))?;
        consumers.push(listen(&env, &client).await?);
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
    let dead = queue(&format!("%DLQ%{GROUP}"), 0);
    calm(&admin, &dead).await;
    stop_consumers(consumers).await;
    env.recorder.drained(TOPIC);
    read_everything(&env, &reader, TOPIC, QUEUES).await;
    // Without a message that failed often enough there is no such topic.
    if admin.topic_exists(&dead.topic).await.unwrap_or(false) {
        env.recorder.drained(&dead.topic);
        read_everything(&env, &reader, &dead.topic, 1).await;
    }
    reader.shutdown().await;
    Ok(())
}

/// Waits until nothing waits in the retry topic and no dead letter has come for a while.
async fn calm(admin: &AdminClient, dead: &MessageQueue) {
    let retry = format!("%RETRY%{GROUP}");
    let deadline = Instant::now() + DEAD_LETTERS;
    let (mut count, mut since) = (-1, Instant::now());
    while Instant::now() < deadline && since.elapsed() < Duration::from_secs(8) {
        let lag = admin.progress(GROUP, Some(&retry)).await.map(|progress| progress.lag_of(&retry));
        // Without dead letters there is no such topic.
        let now = admin.max_offset(dead).await.unwrap_or(0);
        if now != count || lag.is_ok_and(|lag| lag > 0) {
            (count, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn send_until_end(env: Env, producer: Producer, ids: Arc<Ids>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = env.recorder.session();
    let mut ticks = pace(env.rate.min(RATE_MAX), CLIENTS * SENDERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let id = ids.next();
        send(&producer, &mut session, TOPIC, id, None, Place::Any, body(id, &mut random)).await;
    }
}

async fn listen(env: &Env, client: &Client) -> anyhow::Result<PushConsumer> {
    let listeners = Listeners::new(env);
    let consumer = PushConsumer::builder(client)
        .group(GROUP)
        .subscribe(TOPIC, "*")
        .consume_from(ConsumeFrom::First)
        .concurrency(4)
        .max_reconsume_times(TIMES)
        .start(move |messages| {
            let listeners = listeners.clone();
            async move {
                let mut outcome = Outcome::Success;
                for message in &messages {
                    let session = listeners.begin();
                    session.invoke(consume(GROUP, TOPIC, message));
                    if fails(id_of(message.body()), message.reconsume_times()) {
                        session.fail(consume(GROUP, TOPIC, message), "wanted again");
                        outcome = Outcome::RetryAtLevel(1);
                    } else {
                        session.ok(consume(GROUP, TOPIC, message));
                    }
                    listeners.done(session);
                }
                // One message a call.
                outcome
            }
        });
    Ok(consumer.await?)
}

fn fails(id: Option<u64>, redelivered: i32) -> bool {
    match id {
        Some(id) if id % ALWAYS == 0 => true,
        Some(id) if id % ONCE == 0 => redelivered == 0,
        _ => false,
    }
}
