//! Consumers: each a process at a place of its own, which introduces itself to the replicas again and again, dies, comes back, and
//! now and then goes elsewhere.
//!
//! One runtime moves all of them; it is moved on when something has arrived, and every few milliseconds for its timers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_broker::registration::NoRequests;
use flotilla_net::{ClientPool, PoolOptions};
use flotilla_remoting::{ExtFields, Frame, RequestCode};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::membership::clients_door;
use crate::net::{Caller, Wires};
use crate::random::Random;
use crate::{say, surface};

/// Longest time between two moves of the runtime.
const MOVE_EVERY_MS: u64 = 25;
/// How long a consumer waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// A consumer.
pub struct Consumer {
    /// Its place in the network.
    pub place: usize,
    /// Connected to one replica at a time, as some clients are; the others to all.
    keeps_to_one: bool,
    process: Option<Process>,
    /// No process until then.
    down_until_ms: u64,
    /// What it does next besides introducing itself, and when.
    next_ms: u64,
}

/// A consumer's process.
struct Process {
    pool: ClientPool,
    /// One for each replica that it introduces itself to.
    tasks: JoinSet<()>,
}

/// All of a run.
pub struct Consumers {
    /// Each with a process or without.
    pub all: Vec<Consumer>,
    runtime: Runtime,
    epoch: (Instant, u64),
    moved_ms: u64,
    hosts: usize,
    random: Random,
    /// They come and go.
    restless: bool,
}

/// The id of the consumer at this place.
pub fn id_of(place: usize) -> Arc<str> {
    Arc::from(format!("c{place}"))
}

impl Consumers {
    /// Consumers at these places, none of which has a process yet.
    pub fn new(places: impl Iterator<Item = usize>, hosts: usize, mut random: Random) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without drivers of the system's");
        let epoch = (runtime.block_on(async { Instant::now() }), surface::now_ms());
        let all = places.map(|place| Consumer {
            place,
            keeps_to_one: random.percent(50),
            process: None,
            down_until_ms: random.between(500, 3000),
            next_ms: 0,
        });
        let all = all.collect();
        Self { all, runtime, epoch, moved_ms: epoch.1, hosts, random, restless: true }
    }

    /// Moves them on.
    pub fn step(&mut self, wires: &Wires, now_ms: u64, stirred: &BTreeSet<usize>) {
        for index in 0..self.all.len() {
            self.live(wires, index, now_ms);
        }
        let stirred = self.all.iter().any(|consumer| stirred.contains(&consumer.place));
        let behind_ms = now_ms - self.moved_ms;
        if !stirred && behind_ms < MOVE_EVERY_MS {
            return;
        }
        surface::set_wall_shift_ms(0);
        let deadline = self.epoch.0 + Duration::from_millis(now_ms - self.epoch.1);
        self.runtime.block_on(async {
            if stirred && behind_ms > 1 {
                tokio::time::advance(Duration::from_millis(behind_ms - 1)).await;
            }
            tokio::time::sleep_until(deadline).await;
        });
        self.moved_ms = now_ms;
    }

    /// Begins, dies or goes elsewhere, when it is time.
    fn live(&mut self, wires: &Wires, index: usize, now_ms: u64) {
        let consumer = &mut self.all[index];
        let place = consumer.place;
        match &consumer.process {
            None if now_ms >= consumer.down_until_ms => {
                consumer.next_ms = now_ms + self.random.between(1_000, 15_000);
                let hosts: Vec<usize> = match consumer.keeps_to_one {
                    true => vec![self.random.below(self.hosts as u64) as usize],
                    false => (0..self.hosts).collect(),
                };
                say!("consumer n{place} at {hosts:?}");
                let pool = ClientPool::dialling(
                    PoolOptions::default(),
                    Caller::new(wires.plug_in(place)),
                    Arc::new(NoRequests),
                );
                let beat = Duration::from_millis(self.random.between(500, 3000));
                let _guard = self.runtime.enter();
                let mut tasks = JoinSet::new();
                for host in hosts {
                    tasks.spawn(introduce(pool.clone(), host, place, beat));
                }
                consumer.process = Some(Process { pool, tasks });
            }
            Some(_) if self.restless && now_ms >= consumer.next_ms => {
                // A short pause is one that goes elsewhere.
                let short = self.random.percent(50);
                let pause_ms =
                    if short { self.random.between(1, 300) } else { self.random.between(1_000, 6_000) };
                self.end(wires, index, now_ms + pause_ms);
            }
            _ => {}
        }
    }

    fn end(&mut self, wires: &Wires, index: usize, until_ms: u64) {
        let consumer = &mut self.all[index];
        say!("end consumer n{} until {until_ms}", consumer.place);
        consumer.down_until_ms = until_ms;
        let Some(Process { pool, tasks }) = consumer.process.take() else { return };
        wires.process_ended(consumer.place, false);
        let _guard = self.runtime.enter();
        drop(tasks);
        // Nothing of it is heard any more; this ends what would wait for ever.
        self.runtime.spawn(async move { pool.stop().await });
    }

    /// Nobody comes or goes any more, but for the last one: it goes for good.
    pub fn settle(&mut self, wires: &Wires, now_ms: u64) {
        self.restless = false;
        for consumer in &mut self.all {
            consumer.down_until_ms = consumer.down_until_ms.min(now_ms);
        }
        let last = self.all.len() - 1;
        self.end(wires, last, u64::MAX);
    }

    /// Ids of those that have a process.
    pub fn present(&self) -> Vec<Arc<str>> {
        self.all
            .iter()
            .filter(|consumer| consumer.process.is_some())
            .map(|consumer| id_of(consumer.place))
            .collect()
    }
}

async fn introduce(pool: ClientPool, host: usize, place: usize, beat: Duration) {
    let address = clients_door(host);
    loop {
        let frame = Frame::request(
            RequestCode::Heartbeat,
            ExtFields::new(),
            Bytes::from(id_of(place).as_bytes().to_vec()),
        );
        let answered = pool.request(&address, frame, ANSWER_MAX).await.is_ok();
        // Who was not heard tries again soon.
        tokio::time::sleep(if answered { beat } else { Duration::from_millis(300) }).await;
    }
}
