//! Many producers, many queues, consumers of one group: nothing acknowledged is lost, nothing is stored twice, and the group
//! is given everything.

use flotilla_client::{Client, Outcome, PushConsumer};

use super::common::{Listeners, consume};
use super::party::{Party, send_anywhere};
use super::{Env, Sends};

const PARTY: Party = Party {
    topic: "jepsen-queue",
    group: "jepsen-queue-group",
    queues: 8,
    clients: 4,
    senders: 3,
    consumers: 2,
};

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let rate = env.rate;
    let listening = env.clone();
    let listen = |client, _| listen(listening.clone(), client);
    let mut working = match env.sends.clone() {
        Sends::Rust => PARTY.work(env, listen, |sender| send_anywhere(sender, rate)).await?,
        Sends::Java(java) => PARTY.work_by_java(env, listen, &java).await?,
    };
    working.consumed().await?;
    working.finish().await.shutdown().await;
    Ok(())
}

/// A consumer that is content with everything.
async fn listen(env: Env, client: Client) -> anyhow::Result<PushConsumer> {
    let Party { topic, group, .. } = PARTY;
    let listeners = Listeners::new(&env);
    let consumer = PARTY.consumer(&client).concurrency(4).start(move |messages| {
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
