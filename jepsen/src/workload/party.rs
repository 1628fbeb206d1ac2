//! A group that consumes what several clients send: the frame of the workloads `queue`, `order` and `retry`.

use std::sync::Arc;

use anyhow::Context;
use flotilla_client::{AdminClient, Client, Producer, PushConsumer};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use super::Env;
use super::common::{
    Ids, Place, body, client, consumed, create_topic, pace, read_everything, send, stop_consumers,
};

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    pub(super) topic: &'static str,
    pub(super) group: &'static str,
    pub(super) queues: u32,
    /// Clients that send, each with its own connections.
    pub(super) clients: u32,
    /// Senders of each.
    pub(super) senders: u32,
    pub(super) consumers: u64,
}

/// One that sends, until the writes end.
pub(super) struct Sender {
    pub(super) env: Env,
    pub(super) producer: Producer,
    pub(super) ids: Arc<Ids>,
    pub(super) party: Party,
    /// Among all senders of the party.
    pub(super) number: u32,
}

/// A party at work.
pub(super) struct Working {
    env: Env,
    party: Party,
    reader: Client,
    consumers: Vec<PushConsumer>,
    senders: JoinSet<()>,
}

impl Party {
    /// Makes the topic, starts consumers by `listen`, which is given a client and the consumer's number, and then senders by
    /// `send`; says that all is prepared.
    ///
    /// # Errors
    /// The topic can't be made, a client can't be started.
    pub(super) async fn work<L, S>(
        self,
        env: Env,
        listen: impl Fn(Client, u64) -> L,
        send: impl Fn(Sender) -> S,
    ) -> anyhow::Result<Working>
    where
        L: Future<Output = anyhow::Result<PushConsumer>>,
        S: Future<Output = ()> + Send + 'static,
    {
        let reader = client(&env, "reader")?;
        create_topic(&reader, self.topic, self.queues).await?;
        let mut consumers = Vec::new();
        for number in 0..self.consumers {
            consumers.push(listen(client(&env, &format!("consumer-{number}"))?, number).await?);
        }
        let ids = Arc::new(Ids::default());
        let mut senders = JoinSet::new();
        for number in 0..self.clients {
            let client = client(&env, &format!("producer-{number}"))?;
            let producer = Producer::builder(&client).group("jepsen-producers").start().await?;
            for sender in 0..self.senders {
                senders.spawn(send(Sender {
                    env: env.clone(),
                    producer: producer.clone(),
                    ids: ids.clone(),
                    party: self,
                    number: number * self.senders + sender,
                }));
            }
        }
        env.phases.prepared.cancel();
        Ok(Working { env, party: self, reader, consumers, senders })
    }
}

impl Sender {
    /// What decides about contents and choices of this one.
    pub(super) fn random(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.env.seed.wrapping_add(u64::from(self.number)))
    }

    /// How many send.
    pub(super) fn count(&self) -> u32 {
        self.party.clients * self.party.senders
    }
}

impl Working {
    /// Somebody to ask when faults are over.
    pub(super) fn admin(&self) -> AdminClient {
        AdminClient::new(&self.reader)
    }

    /// Waits until the writes have ended and the group has consumed all, or too much time has passed.
    ///
    /// # Errors
    /// A sender panicked.
    pub(super) async fn consumed(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.senders.join_next().await {
            ended.context("a sender")?;
        }
        consumed(&self.admin(), self.party.group, self.party.topic).await;
        Ok(())
    }

    /// Stops the consumers and reads all that was stored; gives the client that did.
    pub(super) async fn finish(self) -> Client {
        let Working { env, party, reader, consumers, .. } = self;
        stop_consumers(consumers).await;
        env.recorder.drained(party.topic);
        read_everything(&env, &reader, party.topic, party.queues).await;
        reader
    }
}

/// Sends messages without a key to any queue, at most `rate` a second of all senders together.
pub(super) async fn send_anywhere(sender: Sender, rate: u32) {
    let mut random = sender.random();
    let count = sender.count();
    let Sender { env, producer, ids, party, .. } = sender;
    let mut session = env.recorder.session();
    let mut ticks = pace(rate, count, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let id = ids.next();
        let body = body(id, &mut random);
        send(&producer, &mut session, party.topic, id, None, Place::Any, body).await;
    }
}
