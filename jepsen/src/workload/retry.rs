//! Messages that fail: some once, some always. The group gets what failed again, and in the end as a dead letter; nothing is
//! lost on the way.

use std::time::Duration;

use flotilla_client::{AdminClient, Client, MessageQueue, Outcome, PushConsumer};
use tokio::time::{Instant, sleep};

use super::Env;
use super::common::{Listeners, consume, id_of, queue, read_everything};
use super::party::{Party, send_anywhere};

const PARTY: Party = Party {
    topic: "jepsen-retry",
    group: "jepsen-retry-group",
    queues: 4,
    clients: 2,
    senders: 3,
    consumers: 2,
};
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
    let rate = env.rate.min(RATE_MAX);
    let listen = |client, _| listen(env.clone(), client);
    let mut working = PARTY.work(env.clone(), listen, |sender| send_anywhere(sender, rate)).await?;
    working.consumed().await?;
    let (admin, dead) = (working.admin(), queue(&format!("%DLQ%{}", PARTY.group), 0));
    calm(&admin, &dead).await;
    let reader = working.finish().await;
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
    let retry = format!("%RETRY%{}", PARTY.group);
    let deadline = Instant::now() + DEAD_LETTERS;
    let (mut count, mut since) = (-1, Instant::now());
    while Instant::now() < deadline && since.elapsed() < Duration::from_secs(8) {
        let lag = admin.progress(PARTY.group, Some(&retry)).await.map(|progress| progress.lag_of(&retry));
        // Without dead letters there is no such topic.
        let now = admin.max_offset(dead).await.unwrap_or(0);
        if now != count || lag.is_ok_and(|lag| lag > 0) {
            (count, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn listen(env: Env, client: Client) -> anyhow::Result<PushConsumer> {
    let Party { topic, group, .. } = PARTY;
    let listeners = Listeners::new(&env);
    let consumer = PARTY.consumer(&client).concurrency(4).max_reconsume_times(TIMES).start(move |messages| {
        let listeners = listeners.clone();
        async move {
            let mut outcome = Outcome::Success;
            for message in &messages {
                let session = listeners.begin();
                session.invoke(consume(group, topic, message));
                if fails(id_of(message.body()), message.reconsume_times()) {
                    session.fail(consume(group, topic, message), "wanted again");
                    outcome = Outcome::RetryAtLevel(1);
                } else {
                    session.ok(consume(group, topic, message));
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
