//! A scripted node: real tables and a real log of stamped entries in memory, time that moves only when the duty sleeps, and
//! proposals that come to what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use flotilla_core::rules::delayed_properties;
use flotilla_core::{
    Command, DelayLevels, EntryContext, PayloadBuilder, Perm, Settings, Tables, TailTable, TopicConfig,
    system,
};
use flotilla_raft_store::RECORD_HEADER_SIZE;
use flotilla_remoting::message::{LayoutVersion, StoredMessage, SysFlag, encode_stored, messages};
use flotilla_remoting::names::SCHEDULE_TOPIC;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::ground::Visit;
use super::super::*;
use crate::group::encoder::Encoder;
use crate::group::machine::EntryAnswer;

const HOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)), 10911);
pub(super) const START_MS: u64 = 1_700_000_000_000;

/// What a proposal comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// Applied, and the duty hears of it.
    Applied,
    Refused(ProposeError),
    /// The duty hears that nobody knows, and it is not applied.
    Unknown,
    /// The duty hears nothing.
    Silent,
    /// Applied, although the tables have moved meanwhile: what must never happen.
    Overtaken,
}

/// A message as a consumer would get it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Delivered {
    pub(super) topic: String,
    pub(super) queue_id: i32,
    pub(super) body: String,
    /// Milliseconds since the start.
    pub(super) at: u64,
}

pub(super) struct Log {
    pub(super) tail: TailTable,
    pub(super) index: u64,
    pub(super) end: u64,
    /// Of the schedule topic, by queue and number.
    pub(super) waiting: BTreeMap<(u32, i64), Bytes>,
    pub(super) delivered: Vec<Delivered>,
    pub(super) fates: VecDeque<Fate>,
    /// Terms of the proposals so far.
    pub(super) proposed: Vec<u64>,
    /// Reads of messages so far.
    pub(super) reads: usize,
    /// Queues whose view is being rebuilt.
    pub(super) rebuilding: Vec<u32>,
    /// Messages that can't be read.
    pub(super) damaged: Vec<(u32, i64)>,
}

pub(super) struct World {
    pub(super) tables: RwLock<Tables>,
    pub(super) log: Mutex<Log>,
    pub(super) encoder: Encoder,
    pub(super) started: Instant,
    /// Term of the group.
    pub(super) term: Mutex<u64>,
    /// Added to the time that has passed: a jump of the clock.
    pub(super) jump_ms: Mutex<i64>,
    pub(super) begun: Arc<Notify>,
}

pub(super) struct Duty {
    pub(super) world: Arc<World>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) task: JoinHandle<()>,
    pub(super) stop: CancellationToken,
}

impl World {
    pub(super) fn now(&self) -> u64 {
        let passed = START_MS + self.started.elapsed().as_millis() as u64;
        passed.saturating_add_signed(*self.jump_ms.lock())
    }

    /// Stamps and applies an entry; `payload` has no head room.
    pub(super) fn apply(&self, mut payload: Vec<u8>) -> EntryAnswer {
        let (mut log, mut tables) = (self.log.lock(), self.tables.write());
        // A stamp never goes back.
        let time_ms = self.now().max(tables.applied().time_ms);
        let payload_position = log.end + RECORD_HEADER_SIZE as u64;
        log.tail.stamp(&mut payload, payload_position, time_ms).unwrap();
        let context =
            EntryContext { index: log.index, term: 1, position: log.end, payload_position, time_ms };
        let effects = tables.apply(&context, &payload).unwrap();
        log.index += 1;
        log.end = payload_position + payload.len() as u64;
        let stored = Bytes::from(payload);
        for appended in &effects.appended {
            let at = (appended.physical_offset as u64 - payload_position) as usize;
            let bytes = stored.slice(at..at + appended.size as usize);
            if &*appended.topic == SCHEDULE_TOPIC {
                log.waiting.insert((appended.queue_id, appended.queue_offset), bytes);
            } else {
                let view = messages(&bytes).next().unwrap().unwrap();
                log.delivered.push(Delivered {
                    topic: view.topic().to_owned(),
                    queue_id: view.queue_id(),
                    body: String::from_utf8(view.body().to_vec()).unwrap(),
                    at: time_ms - START_MS,
                });
            }
        }
        if effects.delay_begun {
            self.begun.notify_one();
        }
        EntryAnswer { appended: Vec::new(), commands: effects.answers }
    }

    pub(super) fn commands(&self, commands: &[Command]) {
        let mut builder = PayloadBuilder::new(0, 64);
        commands.iter().for_each(|command| builder.push_command(command));
        self.apply(builder.finish().to_vec());
    }

    /// Stores delayed messages, in one entry: level, real queue, body.
    pub(super) fn send(&self, sends: &[(u32, u32, &str)]) {
        let mut builder = PayloadBuilder::new(0, 1024);
        for (level, queue_id, body) in sends {
            let text = delayed_properties("KEYS\u{1}k", *level, "T", *queue_id);
            put(&text, *level, body, builder.messages());
        }
        self.apply(builder.finish().to_vec());
    }

    pub(super) fn delivered(&self) -> Vec<(String, u64)> {
        self.log.lock().delivered.iter().map(|one| (one.body.clone(), one.at)).collect()
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        self.log.lock().delivered.iter().map(|one| one.body.clone()).collect()
    }

    /// Terms of the proposals so far.
    pub(super) fn proposed(&self) -> Vec<u64> {
        self.log.lock().proposed.clone()
    }

    pub(super) fn pending(&self) -> u64 {
        self.tables.read().delay_progress().iter().map(flotilla_core::DelayProgress::pending).sum()
    }
}

pub(super) fn put(properties: &str, level: u32, body: &str, out: &mut BytesMut) {
    let message = StoredMessage {
        topic: SCHEDULE_TOPIC,
        queue_id: level as i32 - 1,
        flag: 7,
        sys_flag: SysFlag(SysFlag::COMPRESSED),
        queue_offset: 0,
        physical_offset: 0,
        born_timestamp: 42,
        born_host: "[2001:db8::1]:4711".parse().unwrap(),
        store_timestamp: 0,
        store_host: HOST,
        reconsume_times: 3,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties,
        added_properties: &[],
        layout: LayoutVersion::Auto,
        with_property_crc: false,
    };
    encode_stored(&message, out).unwrap();
}

impl Ground for World {
    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read()
    }

    fn now_ms(&self) -> Option<u64> {
        Some(self.now())
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn walk(&self, queue_id: u32, from: i64, visit: &mut Visit<'_>) -> std::io::Result<()> {
        let mut next = from;
        loop {
            let message = {
                let mut log = self.log.lock();
                if log.rebuilding.contains(&queue_id) {
                    return Err(std::io::ErrorKind::WouldBlock.into());
                }
                if log.damaged.contains(&(queue_id, next)) {
                    return Err(std::io::ErrorKind::InvalidData.into());
                }
                log.reads += 1;
                log.waiting.get(&(queue_id, next)).cloned()
            };
            let Some(message) = message else { return Ok(()) };
            if visit(next, &message)?.is_break() {
                return Ok(());
            }
            next += 1;
        }
    }

    async fn propose(&self, payload: Bytes, term: u64) -> Result<EntryAnswer, ProposeError> {
        let fate = {
            let mut log = self.log.lock();
            log.proposed.push(term);
            log.fates.pop_front().unwrap_or(Fate::Applied)
        };
        // A round of the group takes its time.
        tokio::time::sleep(Duration::from_millis(2)).await;
        match fate {
            // The group appends in the term that was asked for, or not at all.
            Fate::Applied if *self.term.lock() != term => Err(ProposeError::NotLeader { leader: None }),
            Fate::Applied => Ok(self.apply(payload[RECORD_HEADER_SIZE..].to_vec())),
            Fate::Refused(error) => Err(error),
            Fate::Unknown => Err(ProposeError::Unknown),
            Fate::Silent => std::future::pending().await,
            Fate::Overtaken => {
                let payload = payload[RECORD_HEADER_SIZE..].to_vec();
                self.apply(payload.clone());
                Ok(self.apply(payload))
            }
        }
    }
}

pub(super) fn leads(term: u64) -> Leadership {
    Leadership { role: Role::Leader, term, leader: Some(0), own_term_applied: true }
}

pub(super) fn follows(term: u64) -> Leadership {
    Leadership { role: Role::Follower, term, leader: Some(1), own_term_applied: false }
}

/// A world with the levels `1s 5s 1m`, topic T of four queues, and a duty that leads term 1.
pub(super) fn start() -> Duty {
    let world = World {
        tables: RwLock::new(Tables::blank()),
        log: Mutex::new(Log {
            tail: TailTable::new(),
            index: 0,
            end: 64,
            waiting: BTreeMap::new(),
            delivered: Vec::new(),
            fates: VecDeque::new(),
            proposed: Vec::new(),
            reads: 0,
            rebuilding: Vec::new(),
            damaged: Vec::new(),
        }),
        encoder: Encoder::new(HOST, "R", true, "C"),
        started: Instant::now(),
        term: Mutex::new(1),
        jump_ms: Mutex::new(0),
        begun: Arc::new(Notify::new()),
    };
    let settings = Settings { delay_levels: DelayLevels::parse("1s 5s 1m").unwrap(), ..Settings::default() };
    world.commands(&[
        Command::Bootstrap(Box::new(system::bootstrap("C", "B", settings))),
        Command::PutTopic(TopicConfig::new("T", 4, Perm::READ_WRITE)),
    ]);
    begin(Arc::new(world), leads(1))
}

/// The same, where the first proposal comes to this.
pub(super) fn start_with(fate: Fate) -> Duty {
    let duty = start();
    duty.world.log.lock().fates.push_back(fate);
    duty
}

pub(super) fn begin(world: Arc<World>, leadership: Leadership) -> Duty {
    let (leadership, watched) = watch::channel(leadership);
    let metrics = Metrics::new("C", "B", 0);
    let duty = DelayDuty::new(world.clone(), watched, world.begun.clone(), metrics);
    let stop = CancellationToken::new();
    let task = tokio::spawn(duty.run(stop.clone()));
    Duty { world, leadership, task, stop }
}

impl Duty {
    pub(super) async fn end(self) -> Arc<World> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.world
    }

    /// The replica wins a term and has applied its first entry.
    pub(super) fn lead(&self, term: u64) {
        *self.world.term.lock() = term;
        self.leadership.send_replace(leads(term));
    }
}

pub(super) async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
