//! A group that consumes what several clients send: the frame of the workloads `queue`, `order` and `retry`.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use anyhow::Context;
use flotilla_client::{AdminClient, Client, ConsumeFrom, Producer, PushConsumer, PushConsumerBuilder};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use super::Env;
use super::common::{
    Ids, Place, body, client, consumed, create_topic, pace, read_everything, send, stop_consumers,
};
use super::java;
use crate::java::Java;

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

/// What a sender has, whatever it sends by.
pub(super) struct Seat {
    pub(super) env: Env,
    pub(super) ids: Arc<Ids>,
    pub(super) party: Party,
    /// Among all senders of the party.
    pub(super) number: u32,
}

/// One that sends by our client, until the writes end.
pub(super) struct Sender {
    pub(super) seat: Seat,
    pub(super) producer: Producer,
}

/// A party at work.
pub(super) struct Working {
    env: Env,
    party: Party,
    reader: Client,
    consumers: Vec<PushConsumer>,
    ids: Arc<Ids>,
    senders: JoinSet<anyhow::Result<()>>,
}

impl Party {
    /// A consumer of the group that reads all of the topic.
    pub(super) fn consumer(&self, client: &Client) -> PushConsumerBuilder {
        PushConsumer::builder(client)
            .group(self.group)
            .subscribe(self.topic, "*")
            .consume_from(ConsumeFrom::First)
    }

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
        let mut working = self.begin(env, listen).await?;
        for number in 0..self.clients {
            let client = client(&working.env, &format!("producer-{number}"))?;
            let producer = Producer::builder(&client).group("jepsen-producers").start().await?;
            for sender in 0..self.senders {
                let seat = working.seat(number * self.senders + sender);
                let sending = send(Sender { seat, producer: producer.clone() });
                working.senders.spawn(async {
                    sending.await;
                    Ok(())
                });
            }
        }
        working.env.phases.prepared.cancel();
        Ok(working)
    }

    /// The same with one producer of the official Java client, whose threads are the senders; all is prepared when each of them was
    /// acknowledged once.
    ///
    /// # Errors
    /// As [`Party::work`]; or the program does not start.
    pub(super) async fn work_by_java<L>(
        self,
        env: Env,
        listen: impl Fn(Client, u64) -> L,
        java: &Java,
    ) -> anyhow::Result<Working>
    where
        L: Future<Output = anyhow::Result<PushConsumer>>,
    {
        let rate = env.rate;
        let mut working = self.begin(env, listen).await?;
        let program = java::start(&working.env, java, self.topic, self.sender_count()).await?;
        let cold = Arc::new(AtomicU32::new(self.sender_count()));
        for number in 0..self.sender_count() {
            let seat = working.seat(number);
            working.senders.spawn(java::send_anywhere(seat, program.clone(), rate, cold.clone()));
        }
        Ok(working)
    }

    /// Topic and consumers, and nobody who sends.
    async fn begin<L>(self, env: Env, listen: impl Fn(Client, u64) -> L) -> anyhow::Result<Working>
    where
        L: Future<Output = anyhow::Result<PushConsumer>>,
    {
        let reader = client(&env, "reader")?;
        create_topic(&reader, self.topic, self.queues).await?;
        let mut consumers = Vec::new();
        for number in 0..self.consumers {
            consumers.push(listen(client(&env, &format!("consumer-{number}"))?, number).await?);
        }
        let (ids, senders) = (Arc::default(), JoinSet::new());
        Ok(Working { env, party: self, reader, consumers, ids, senders })
    }

    /// How many send.
    pub(super) fn sender_count(self) -> u32 {
        self.clients * self.senders
    }
}

impl Seat {
    /// What decides about contents and choices of this one.
    pub(super) fn random(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.env.seed.wrapping_add(u64::from(self.number)))
    }
}

impl Working {
    fn seat(&self, number: u32) -> Seat {
        Seat { env: self.env.clone(), ids: self.ids.clone(), party: self.party, number }
    }

    /// Somebody to ask when faults are over.
    pub(super) fn admin(&self) -> AdminClient {
        AdminClient::new(&self.reader)
    }

    /// Waits until the writes have ended and the group has consumed all, or too much time has passed.
    ///
    /// # Errors
    /// A sender panicked, or can't go on.
    pub(super) async fn consumed(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.senders.join_next().await {
            ended.context("a sender")?.context("a sender")?;
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
    let Sender { seat, producer } = sender;
    let mut random = seat.random();
    let Seat { env, ids, party, .. } = seat;
    let mut session = env.recorder.session();
    let mut ticks = pace(rate, party.sender_count(), &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let id = ids.next();
        let body = body(id, &mut random);
        send(&producer, &mut session, party.topic, id, None, Place::Any, body).await;
    }
}
