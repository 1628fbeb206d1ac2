//! Each queue as an ordered log: an offset always holds the same message, whoever is asked and when, with no hole before the
//! end. Read while it grows, mostly near the end and now and then from anywhere, from the leader and, where the product
//! serves them, from each replica by itself; and at the end everything from every replica.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use flotilla_client::{AdminClient, Client, MessageQueue, Producer};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Env;
use super::common::{
    Ids, LAST_READ, PATIENCE, Place, body, client, create_topic, pace, queues_of, read, read_everything, send,
};
use super::replica::Replica;
use crate::cluster::{Ability, eventually};
use crate::history::Act;
use crate::recorder::Session;

const TOPIC: &str = "jepsen-log";
const QUEUES: u32 = 4;
const CLIENTS: u32 = 3;
/// Senders of each client.
const SENDERS: u32 = 4;
/// Part of the rate that goes to reads.
const READS: f64 = 0.25;
/// Chance that a read goes anywhere instead of on.
const ANYWHERE: f64 = 0.15;
const READ_MAX: u32 = 64;

pub(super) async fn run(env: Env) -> anyhow::Result<()> {
    let reading = client(&env, "reader")?;
    create_topic(&reading, TOPIC, QUEUES).await?;
    let ids = Arc::new(Ids::default());
    let mut workers = JoinSet::new();
    let mut queues = Vec::new();
    for number in 0..CLIENTS {
        let client = client(&env, &format!("producer-{number}"))?;
        let producer = Producer::builder(&client).group("jepsen-producers").start().await?;
        queues = queues_of(&producer, TOPIC).await?;
        for sender in 0..SENDERS {
            let seed = env.seed.wrapping_add(u64::from(number * SENDERS + sender));
            workers.spawn(write(env.clone(), producer.clone(), queues.clone(), ids.clone(), seed));
        }
    }
    let nodes = if env.cluster.server().can(Ability::ReplicaReads) { env.cluster.size() } else { 0 };
    let readers = u32::try_from(1 + nodes).unwrap_or(1);
    workers.spawn(read_leader(env.clone(), reading.clone(), queues.clone(), readers));
    for node in 0..nodes {
        workers.spawn(read_replica(env.clone(), node, readers));
    }
    env.phases.prepared.cancel();
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker")?;
    }
    if nodes > 0 {
        settle(&env).await;
    }
    env.recorder.drained(TOPIC);
    read_everything(&env, &reading, TOPIC, QUEUES).await;
    let session = env.recorder.session();
    for node in 0..nodes {
        for queue in 0..QUEUES {
            if let Err(error) = read_all_of_replica(&env, &session, node, queue).await {
                let what = format!("queue {queue} of {TOPIC} can be read at n{node}");
                env.recorder.inspected(&what, Err(format!("{error:#}")));
            }
        }
    }
    reading.shutdown().await;
    Ok(())
}

/// Waits until all replicas hold the same: a follower that is behind for some milliseconds has lost nothing.
async fn settle(env: &Env) {
    let (server, layout) = (env.cluster.server(), env.cluster.layout());
    let settled = eventually(PATIENCE, "all replicas hold the same", || server.settled(layout)).await;
    if let Err(error) = settled {
        let what = "all replicas hold the same when writes have ended";
        env.recorder.inspected(what, Err(format!("{error:#}")));
    }
}

async fn write(env: Env, producer: Producer, queues: Vec<MessageQueue>, ids: Arc<Ids>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = env.recorder.session();
    let mut ticks = pace(share(env.rate, 1.0 - READS), CLIENTS * SENDERS, &mut random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let id = ids.next();
        let queue = &queues[random.random_range(0..queues.len())];
        let body = body(id, &mut random);
        send(&producer, &mut session, TOPIC, id, None, Place::Queue(queue), body).await;
    }
}

fn share(rate: u32, part: f64) -> u32 {
    (f64::from(rate) * part) as u32
}

/// Where a reader goes on, by queue.
struct Cursor {
    next: Vec<u64>,
    random: SmallRng,
}

impl Cursor {
    fn new(seed: u64) -> Cursor {
        Cursor { next: vec![0; QUEUES as usize], random: SmallRng::seed_from_u64(seed) }
    }

    /// Queue and offset of the next read.
    fn choose(&mut self) -> (usize, u64) {
        let queue = self.random.random_range(0..self.next.len());
        let next = self.next[queue];
        let anywhere = next > 0 && self.random.random_bool(ANYWHERE);
        (queue, if anywhere { self.random.random_range(0..next) } else { next })
    }

    fn read_to(&mut self, queue: usize, next: u64) {
        self.next[queue] = self.next[queue].max(next);
    }
}

async fn read_leader(env: Env, client: Client, queues: Vec<MessageQueue>, readers: u32) {
    // A read that fails says so at once; the next one is due soon.
    let admin = AdminClient::new(&client).patience(Duration::ZERO);
    let session = env.recorder.session();
    let mut cursor = Cursor::new(env.seed ^ 0x6C65_6164);
    let mut ticks = pace(share(env.rate, READS), readers, &mut cursor.random);
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let (queue, from) = cursor.choose();
        if let Ok((next, max)) = read(&admin, &session, &queues[queue], from).await {
            // An answer that leads beyond the end is a matter for the checkers; it is not followed.
            cursor.read_to(queue, next.min(max));
        }
    }
}

async fn read_replica(env: Env, node: usize, readers: u32) {
    let session = env.recorder.session();
    let mut cursor = Cursor::new(env.seed ^ (0x7265_7000 + node as u64));
    let mut ticks = pace(share(env.rate, READS), readers, &mut cursor.random);
    let mut replica = None;
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let (queue, from) = cursor.choose();
        match pull(&env, &session, node, &mut replica, u32::try_from(queue).unwrap_or(0), from).await {
            Ok((next, max)) => cursor.read_to(queue, next.min(max)),
            Err(_) => replica = None,
        }
    }
}

/// Reads once from a replica, and records it; connects when there is no connection.
async fn pull(
    env: &Env,
    session: &Session,
    node: usize,
    replica: &mut Option<Replica>,
    queue: u32,
    from: u64,
) -> anyhow::Result<(u64, u64)> {
    let number = u32::try_from(node).ok();
    let act = |max, seen| Act::Pull { topic: TOPIC.to_owned(), queue, from, max, seen, node: number };
    session.invoke(act(None, Vec::new()));
    let pulled = async {
        if replica.is_none() {
            *replica = Some(Replica::connect(env.cluster.layout().nodes[node].advertised).await?);
        }
        let Some(replica) = replica else { bail!("no connection") };
        replica.pull(TOPIC, queue, from, READ_MAX).await
    };
    match pulled.await {
        Ok(pulled) => {
            session.ok(act(Some(pulled.max), pulled.seen));
            Ok((pulled.next, pulled.max))
        }
        Err(error) => {
            // A read does nothing.
            session.fail(act(None, Vec::new()), format!("{error:#}"));
            Err(error)
        }
    }
}

/// Reads all of a queue from one replica of a cluster that is well.
async fn read_all_of_replica(env: &Env, session: &Session, node: usize, queue: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + LAST_READ;
    let (mut from, mut replica) = (0, None);
    loop {
        match pull(env, session, node, &mut replica, queue, from).await {
            Ok((next, max)) if next >= max => return Ok(()),
            Ok((next, _)) if next > from => from = next,
            Ok(told) if Instant::now() > deadline => bail!("n{node} queue {queue} at {from}: {told:?}"),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("n{node} queue {queue}")));
            }
            Ok(_) => sleep(Duration::from_millis(100)).await,
            Err(_) => {
                replica = None;
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}
