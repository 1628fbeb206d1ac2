//! What clients do on each host: they send, commit consumer offsets, read, hand leadership over, and let old entries go.
//!
//! A client lives in the process that it speaks to, so a process that is killed takes its questions with it; their outcome
//! stays unknown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_core::{Command, OffsetCommit, PayloadBuilder, Perm, Settings, TopicConfig, system};
use flotilla_raft_store::RECORD_HEADER_SIZE;
use flotilla_raft_store::raft::{Proposal, ProposeError, Replica, Role};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::history::BODY_PREFIX;
use crate::judge::SharedJudge;
use crate::machine::SharedTables;
use crate::mutants::Mutant;
use crate::random::Random;
use crate::registering::{BROKER_NAME, CLUSTER};
use crate::{message, say};

mod commands;

use commands::Present;

const TOPICS: [&str; 3] = ["orders", "payments", "%RETRY%readers"];
const QUEUES: u64 = 4;
/// Pause after an attempt to bring the group's names and topics into the tables.
const BOOTSTRAP_AGAIN: Duration = Duration::from_millis(500);

/// How clients behave in a run.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Longest pause between two things that a client does.
    pub pause_ms_max: u64,
    /// Longest body.
    pub body_size_max: u64,
    /// Longest time that a disk takes for a group of writes.
    pub write_ms_max: u64,
    /// Bytes of log that are kept when old entries are let go; `None`: they stay.
    pub keep_bytes: Option<u64>,
    /// Clients ask.
    pub asking: Arc<Mutex<bool>>,
    /// Next offset of the consumer of each queue; one commit at a time is under way.
    pub consumers: Arc<Mutex<Vec<Consumer>>>,
}

/// The consumer of one queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consumer {
    next: i64,
    under_way: bool,
}

impl Habits {
    /// Lets the clients ask, or not.
    pub fn set_asking(&self, asking: bool) {
        *self.asking.lock() = asking;
    }
}

/// Consumers that have committed nothing yet.
pub fn consumers() -> Arc<Mutex<Vec<Consumer>>> {
    Arc::new(Mutex::new(vec![Consumer::default(); QUEUES as usize]))
}

/// A client of one host.
pub struct Client {
    /// The host.
    pub host: usize,
    /// Who is told.
    pub judge: SharedJudge,
    /// How it behaves.
    pub habits: Habits,
    /// The tables of the replica that it speaks to.
    pub tables: SharedTables,
    /// What it draws from.
    pub random: Random,
    /// A fault of the product.
    pub mutant: Option<Mutant>,
}

impl Client {
    /// Asks until the process ends.
    pub async fn run(mut self, replica: Replica<()>) {
        let mut bootstrapped: Option<Instant> = None;
        loop {
            let pause_ms = self.random.between(0, self.habits.pause_ms_max);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let status = replica.status().borrow().clone();
            let leads = status.role == Role::Leader;
            // Whoever asks or not: without names and topics the group is nobody's.
            let asks = *self.habits.asking.lock();
            let late = bootstrapped.map_or(!asks, |at| at.elapsed() >= BOOTSTRAP_AGAIN);
            if leads && status.own_term_applied && late && self.is_blank() {
                bootstrapped = Some(Instant::now());
                self.bootstrap(&replica, status.term).await;
                continue;
            }
            if !asks {
                continue;
            }
            // Others refuse; now and then that is looked at, too.
            if !leads && !self.random.percent(5) {
                continue;
            }
            let term = self.random.percent(20).then_some(status.term);
            if leads && status.own_term_applied && bootstrapped.is_none() {
                bootstrapped = Some(Instant::now());
                self.bootstrap(&replica, status.term).await;
                continue;
            }
            match self.random.weighted(&[70, 12, 8, 4, 1, 12]) {
                0 => self.send(&replica, term).await,
                1 => self.commit_offset(&replica, term).await,
                2 => self.read(&replica),
                3 => self.purge(&replica, status.applied).await,
                4 => self.hand_over(&replica),
                _ => {
                    let position = replica.log().bounds().1;
                    self.change(&replica, term, Present { term: status.term, position }).await;
                }
            }
        }
    }

    fn is_blank(&self) -> bool {
        self.tables.lock().identity().is_none()
    }

    async fn propose(
        &mut self,
        replica: &Replica<()>,
        visible: bool,
        term: Option<u64>,
        build: impl FnOnce(u64) -> Bytes,
    ) {
        self.propose_holding((), replica, visible, term, build).await;
    }

    /// `held` is let go with the call-back, also when the process dies with it.
    async fn propose_holding(
        &mut self,
        held: impl Send + 'static,
        replica: &Replica<()>,
        visible: bool,
        term: Option<u64>,
        build: impl FnOnce(u64) -> Bytes,
    ) {
        let number = self.judge.lock().history.begin(visible);
        let judge = Arc::clone(&self.judge);
        let swapped = self.mutant == Some(Mutant::SwappedAnswers) && self.host == 1;
        let done = move |outcome: Result<flotilla_raft_store::raft::Committed<()>, ProposeError>| {
            let _held = held;
            let mut judge = judge.lock();
            let outcome = match outcome {
                Ok(_) if swapped => Err(ProposeError::Busy),
                Err(_) if swapped => Err(ProposeError::Unknown),
                outcome => outcome,
            };
            let verdict = judge.history.told(number, outcome.map(|committed| committed.index));
            judge.check(verdict);
        };
        let proposal = Proposal { payload: build(number), expected_term: term, done: Box::new(done) };
        replica.submit(vec![proposal]).await;
    }

    /// Several payloads in one call, each with a few messages.
    async fn send(&mut self, replica: &Replica<()>, term: Option<u64>) {
        for _ in 0..self.random.between(1, 3) {
            let mut random = self.random.fork();
            let size_max = self.habits.body_size_max;
            self.propose(replica, true, term, move |number| {
                let mut builder = PayloadBuilder::new(RECORD_HEADER_SIZE, 4096);
                for _ in 0..random.between(1, 4) {
                    let topic = random.one_of(&TOPICS);
                    let body = body(number, random.below(size_max));
                    let queue = random.below(QUEUES) as u32;
                    builder.push_message(&message::stored(topic, queue, &body)).expect("a whole message");
                }
                builder.finish().freeze()
            })
            .await;
        }
    }

    async fn bootstrap(&mut self, replica: &Replica<()>, term: u64) {
        let mut commands =
            vec![Command::Bootstrap(Box::new(system::bootstrap(CLUSTER, BROKER_NAME, Settings::default())))];
        commands.extend(
            TOPICS
                .map(|topic| Command::CreateTopic(TopicConfig::new(topic, QUEUES as u32, Perm::READ_WRITE))),
        );
        self.propose(replica, false, Some(term), move |_| of_commands(&commands)).await;
    }

    async fn change(&mut self, replica: &Replica<()>, term: Option<u64>, present: Present) {
        let changes: Vec<Command> =
            (0..self.random.between(1, 3)).map(|_| commands::draw(&mut self.random, present)).collect();
        self.propose(replica, false, term, move |_| of_commands(&changes)).await;
    }

    /// The consumer of a queue commits a higher offset than before, unless its last commit is still under way.
    async fn commit_offset(&mut self, replica: &Replica<()>, term: Option<u64>) {
        let queue = self.random.below(QUEUES) as usize;
        let offset = {
            let mut consumers = self.habits.consumers.lock();
            let consumer = &mut consumers[queue];
            if std::mem::replace(&mut consumer.under_way, true) {
                return;
            }
            consumer.next += self.random.between(1, 9) as i64;
            consumer.next
        };
        let commit = OffsetCommit {
            group: Arc::from("readers"),
            topic: Arc::from(TOPICS[0]),
            queue_id: queue as u32,
            offset,
        };
        let turn = Turn { consumers: Arc::clone(&self.habits.consumers), queue };
        self.propose_holding(turn, replica, false, term, move |_| {
            of_commands(&[Command::CommitOffsets(vec![commit])])
        })
        .await;
    }

    /// A linearizable read, which must not be older than what was acknowledged before it.
    fn read(&mut self, replica: &Replica<()>) {
        let (judge, replica, host) = (Arc::clone(&self.judge), replica.clone(), self.host);
        let floor = judge.lock().history.acked_max();
        let deadline = std::time::Instant::now() + Duration::from_millis(self.random.between(50, 2000));
        tokio::spawn(async move {
            if let Ok(index) = replica.read_index(deadline).await {
                say!("read n{host} {index}");
                let mut judge = judge.lock();
                let verdict = judge.history.read(floor, index);
                judge.check(verdict);
            }
        });
    }

    async fn purge(&mut self, replica: &Replica<()>, applied: Option<u64>) {
        let Some(keep) = self.habits.keep_bytes else { return };
        let judged =
            applied.and_then(|index| self.judge.lock().committed.get(index).map(|fact| fact.end_position));
        let Some(position) = judged.and_then(|end| end.checked_sub(keep)) else { return };
        match replica.purge_to(position).await {
            Ok(boundary) => say!("purge n{} {boundary:?}", self.host),
            Err(error) => say!("purge n{} failed: {error}", self.host),
        }
    }

    fn hand_over(&mut self, replica: &Replica<()>) {
        let (replica, host) = (replica.clone(), self.host);
        let within = Duration::from_millis(self.random.between(100, 2000));
        tokio::spawn(async move {
            let outcome = replica.transfer_leadership(None, within).await;
            say!("transfer from n{host}: {outcome:?}");
        });
    }
}

/// The right to commit for a queue.
struct Turn {
    consumers: Arc<Mutex<Vec<Consumer>>>,
    queue: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.consumers.lock()[self.queue].under_way = false;
    }
}

fn body(number: u64, size: u64) -> Vec<u8> {
    let mut body = format!("{BODY_PREFIX}{number} ").into_bytes();
    body.resize(body.len() + size as usize, b'.');
    body
}

/// A payload of these commands and no message.
pub fn of_commands(commands: &[Command]) -> Bytes {
    let mut builder = PayloadBuilder::new(RECORD_HEADER_SIZE, 0);
    commands.iter().for_each(|command| builder.push_command(command));
    builder.finish().freeze()
}
