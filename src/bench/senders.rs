//! Producers of a run. A sender is one place in the window of one client: it has one request in flight at a time, and its
//! own numbers, so that what it sends has an order. All senders of a thread share figures without locks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_client::{Client, ClientError, Message, Producer, SendResult, SendStatus};
use futures::future::join_all;

use super::args::LoadArgs;
use super::body::{self, Bodies, Header};
use super::latency::Latencies;
use super::ledger::Acked;
use super::pace::{Pace, Schedule};
use super::room::Room;
use super::size::Sizes;
use super::stage::{Counts, Stage};

/// Senders of a run: bounds memory and what the check keeps apart.
const SENDERS_MAX: u32 = 65_536;
/// Pause after a failure without a rate, so that a server that is gone is not asked without end.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What is sent, and by how many.
#[derive(Clone, Debug)]
pub struct Load {
    /// Random number of the run.
    pub run: u64,
    pub name_servers: String,
    pub topic: String,
    pub sizes: Sizes,
    pub keys: u32,
    pub clients: u32,
    pub window: u32,
    /// 0: no batches.
    pub batch: u32,
    /// Requests a second; 0: as many as the answers allow.
    pub rate: f64,
    pub connections: u32,
    pub threads: u32,
    /// Keep the acked numbers, to look for losses.
    pub keeps_acked: bool,
    /// Without a rate, and where what was sent is also received: what may be between the two.
    pub room: Option<Arc<Room>>,
}

impl Load {
    /// One message a request, as arguments say.
    ///
    /// # Errors
    /// More senders than can be kept apart.
    pub fn new(
        (name_servers, topic): (&str, &str),
        load: &LoadArgs,
        (clients, window): (u32, u32),
        rate: f64,
    ) -> anyhow::Result<Load> {
        ensure!(
            clients.checked_mul(window).is_some_and(|senders| senders <= SENDERS_MAX),
            "{clients} clients with {window} requests in flight: at most {SENDERS_MAX} are sent at once"
        );
        Ok(Load {
            run: random_run(),
            name_servers: name_servers.to_owned(),
            topic: topic.to_owned(),
            sizes: load.size.clone(),
            keys: load.keys,
            clients,
            window,
            batch: 0,
            rate,
            connections: load.connections,
            threads: load.threads.min(clients),
            keeps_acked: false,
            room: None,
        })
    }

    fn senders(&self) -> u32 {
        self.clients * self.window
    }
}

/// A number that no other run has.
fn random_run() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Seeded by the system anew in each process.
    RandomState::new().hash_one(std::process::id())
}

/// Figures of the senders of one thread, and in the end of all.
#[derive(Debug)]
pub struct Sending {
    /// From the (intended) send to the ack, and what is in `unsent`.
    pub latencies: Latencies,
    pub sent: u64,
    pub acked: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Bytes of acked bodies.
    pub bytes: u64,
    /// The numbers of acked messages of the whole run, if they are kept.
    pub numbers: Acked,
    /// All that may have been stored without an ack, of the whole run.
    pub unknown_ever: u64,
    /// How late those requests of the measured part were at its end that should have been sent and were not: so much at
    /// least they would have taken, and so much they count in `latencies`.
    pub unsent: Latencies,
    /// One reason of each kind, for people.
    pub first_failure: Option<String>,
    pub first_unknown: Option<String>,
}

impl Sending {
    fn new() -> Sending {
        Sending {
            latencies: Latencies::new(),
            sent: 0,
            acked: 0,
            failed: 0,
            unknown: 0,
            bytes: 0,
            numbers: Acked::default(),
            unknown_ever: 0,
            unsent: Latencies::new(),
            first_failure: None,
            first_unknown: None,
        }
    }

    /// Adds the figures of another thread.
    pub fn merge(&mut self, other: Sending) {
        self.latencies.merge(&other.latencies);
        self.sent += other.sent;
        self.acked += other.acked;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.bytes += other.bytes;
        self.numbers.merge(other.numbers);
        self.unknown_ever += other.unknown_ever;
        self.unsent.merge(&other.unsent);
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.first_unknown = self.first_unknown.take().or(other.first_unknown);
    }

    /// The figures of all threads.
    pub fn all(threads: Vec<Sending>) -> Sending {
        let mut all = Sending::new();
        threads.into_iter().for_each(|thread| all.merge(thread));
        all
    }

    /// Tells people what can't be seen in the counts.
    pub fn explain(&self) {
        let behind = self.unsent.count();
        if behind > 0 {
            eprintln!("the rate was not reached: {behind} requests were due and not sent; latency shows it");
        }
        for (name, reason) in [("failed", &self.first_failure), ("unknown", &self.first_unknown)] {
            if let Some(reason) = reason {
                eprintln!("{name}, for example: {reason}");
            }
        }
    }
}

/// What all senders of a thread use.
struct Thread {
    load: Load,
    stage: Arc<Stage>,
    pace: Option<Rc<Pace>>,
    sending: RefCell<Sending>,
    filler: Bytes,
}

/// Runs the senders of thread `number` from the preparation to the last answer.
///
/// # Errors
/// A client can't be started, or the system has no timer.
pub async fn run(load: Load, stage: Arc<Stage>, number: u32) -> anyhow::Result<Sending> {
    let mut producers = Vec::new();
    for _ in 0..load.connections.div_ceil(load.threads) {
        producers.push(start_producer(&load).await?);
    }
    stage.prepared().await;

    let pace = (load.rate > 0.0).then(|| {
        let share = load.rate / f64::from(load.threads);
        // Threads take turns.
        let offset_us = f64::from(number) * 1e6 / load.rate;
        Pace::new(Schedule::new(stage.start_us() + offset_us as u64, share))
    });
    let filler = body::filler(&load.sizes);
    let thread = Rc::new(Thread { load, stage, pace, sending: RefCell::new(Sending::new()), filler });
    let load = &thread.load;
    let mine = (0..load.clients).filter(|client| client % load.threads == number);
    let mut senders = Vec::new();
    for (at, client) in mine.enumerate() {
        let (_, producer) = &producers[at % producers.len()];
        for place in 0..load.window {
            let sender = send(thread.clone(), producer.clone(), client * load.window + place);
            senders.push(tokio::task::spawn_local(sender));
        }
    }
    if let Some(pace) = &thread.pace {
        pace.run(thread.stage.clock, || thread.stage.end_us()).await.context("the timer failed")?;
        thread.late(pace.unsent());
    }
    for sender in join_all(senders).await {
        sender.context("a sender failed")?;
    }
    for (client, producer) in producers {
        drop(producer);
        client.shutdown().await;
    }
    Ok(thread.sending.replace(Sending::new()))
}

async fn start_producer(load: &Load) -> anyhow::Result<(Client, Producer)> {
    let client = Client::connect(&load.name_servers)?;
    let producer = Producer::builder(&client)
        .group("flotilla_bench")
        // The window is the senders' matter, and bodies are made so that they don't compress.
        .in_flight_max((load.senders() * load.batch.max(1)).max(10_000))
        .in_flight_bytes_max(1 << 30)
        .compression(None)
        .body_size_max(super::size::SIZE_MAX)
        .batch_size_max(super::size::SIZE_MAX)
        .batch_count_max(load.batch.max(1) as usize)
        .start()
        .await
        .context("the producer did not start")?;
    Ok((client, producer))
}

/// One sender: a request, its answer, the next request.
async fn send(thread: Rc<Thread>, producer: Producer, number: u32) {
    let (load, stage) = (&thread.load, &thread.stage);
    let mut bodies = Bodies::new(load.sizes.clone(), thread.filler.clone(), load.run ^ u64::from(number));
    let mut keys = Keys::new(load, number);
    let mut sequence = 0;
    loop {
        let intended_us = match &thread.pace {
            Some(pace) => match pace.next().await {
                Some(intended_us) => intended_us,
                None => return,
            },
            None => {
                let over = || stage.clock.now_us() >= stage.end_us();
                match &load.room {
                    Some(room) if !room.take(over).await => return,
                    None if over() => return,
                    _ => stage.clock.now_us(),
                }
            }
        };
        let mut bytes = 0;
        let first = sequence;
        let mut next = |key: Option<u32>| {
            let header = Header { run: load.run, producer: number, sequence, intended_us, key };
            let body = bodies.make(&header);
            sequence += 1;
            bytes += body.len() as u64;
            Message::new(&*load.topic, body)
        };
        let result = match (load.batch, keys.next()) {
            (0, None) => producer.send(next(None)).await.map(|result| is_safe(&result)),
            (0, Some((key, name))) => {
                producer.send_by_key(next(Some(key)), name).await.map(|result| is_safe(&result))
            }
            (count, _) => {
                let batch = (0..count).map(|_| next(None)).collect();
                match producer.send_batch(batch).await {
                    Ok(results) => Ok(results.iter().all(is_safe)),
                    // Parts of a batch that is too large for one request may have been stored; none is looked for, then.
                    Err(failed) if failed.stored.is_empty() => Err(failed.error),
                    Err(_) => Ok(false),
                }
            }
        };
        let failed = result.is_err();
        if let (true, Some(room)) = (failed, &load.room) {
            // It won't arrive. One whose outcome is unknown may: then there is room for one more from now on.
            room.make(1);
        }
        thread.ended(number, first..sequence, intended_us, bytes, result);
        if failed && thread.pace.is_none() {
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

/// Claims that it is stored as the broker promises.
fn is_safe(result: &SendResult) -> bool {
    result.status() == SendStatus::Ok
}

impl Thread {
    /// Notes requests that were due at these times and were never sent. Their latency is at least what had passed at the end;
    /// left out, a server that stands still would look quicker than one that is slow.
    fn late(&self, intended: impl Iterator<Item = u64>) {
        let mut sending = self.sending.borrow_mut();
        // Read once: another thread may bring the end forward meanwhile.
        let measured = self.stage.begin_us()..self.stage.end_us();
        for intended_us in intended.filter(|intended_us| measured.contains(intended_us)) {
            let late_us = measured.end - intended_us;
            sending.unsent.record(late_us);
            sending.latencies.record(late_us);
        }
    }

    /// Notes how a request ended: `Ok(false)` for one that was stored, but not as safely as promised.
    fn ended(
        &self,
        producer: u32,
        sequences: std::ops::Range<u64>,
        intended_us: u64,
        bytes: u64,
        result: Result<bool, ClientError>,
    ) {
        let now_us = self.stage.clock.now_us();
        let counts = &self.stage.counts;
        let messages = sequences.end - sequences.start;
        // Of the measured part is what was to be sent in it, whenever the answer came.
        let measured = u64::from(self.stage.measures(intended_us));
        let mut sending = self.sending.borrow_mut();
        sending.sent += messages * measured;
        match result {
            Ok(true) => {
                Counts::add(&counts.acked, messages);
                if self.load.keeps_acked {
                    sequences.for_each(|sequence| sending.numbers.insert(producer, sequence));
                }
                if self.stage.measures(now_us) {
                    self.stage.gap.ack(now_us);
                }
                sending.acked += messages * measured;
                sending.bytes += bytes * measured;
                if measured == 1 {
                    sending.latencies.record(now_us.saturating_sub(intended_us));
                }
            }
            Err(error) if !error.outcome_is_unknown() => {
                Counts::add(&counts.failed, messages);
                sending.failed += messages * measured;
                sending.first_failure.get_or_insert_with(|| error.to_string());
            }
            other => {
                Counts::add(&counts.unknown, messages);
                sending.unknown += messages * measured;
                sending.unknown_ever += messages;
                sending.first_unknown.get_or_insert_with(|| match other {
                    Err(error) => error.to_string(),
                    Ok(_) => "stored, but not flushed or copied in time".to_owned(),
                });
            }
        }
    }
}

/// The keys of one sender, by turns. Where there are more keys than senders no key has two of them.
struct Keys {
    names: Vec<(u32, String)>,
    at: usize,
}

impl Keys {
    fn new(load: &Load, sender: u32) -> Keys {
        let mine: Vec<u32> = match load.keys {
            0 => Vec::new(),
            keys if sender < keys => (sender..keys).step_by(load.senders() as usize).collect(),
            keys => vec![sender % keys],
        };
        Keys { names: mine.into_iter().map(|key| (key, format!("key-{key}"))).collect(), at: 0 }
    }

    fn next(&mut self) -> Option<(u32, &str)> {
        let at = self.at;
        self.at = (at + 1) % self.names.len().max(1);
        self.names.get(at).map(|(key, name)| (*key, name.as_str()))
    }
}
