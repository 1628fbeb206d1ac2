//! The one task that turns waiting work into log entries.
//!
//! It runs on the Raft thread. Each time it wakes it takes all that waits, packs it into entries of at most
//! [`ENTRY_BYTES_MAX`] and submits them at once. With [`ENTRIES_IN_FLIGHT_MAX`] entries under way it waits, and what comes
//! in meanwhile shares the next entry: one flush and one round serve many clients under load, and a lone client does not
//! wait for company. Messages are encoded here, straight into the record: the only copy between frame and disk.
//!
//! Refusals that leave no trace in any log go back to the dispatcher, which finds the leader; unknown outcomes are answered
//! as such and never proposed again (LOG-RULES.md 20). An entry that stays without an outcome while this replica has no lease is
//! given up: its sends are told that the outcome is not known, and it no longer counts as in flight, so that what waits behind it
//! finds out that this replica does not lead. Its commands wait on: those who made them have times of their own, and some reason
//! about the term.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use flotilla_core::{Answer, PayloadBuilder};
use flotilla_mutants::{self as mutants, Mutant};
use flotilla_raft_store::RECORD_HEADER_SIZE;
use flotilla_raft_store::raft::{Committed, Proposal, ProposeError, Replica};
use flotilla_remoting::code::ResponseCode;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::awaited::Awaited;
use super::encoder::Encoder;
use super::machine::EntryAnswer;
#[cfg(feature = "faults")]
use super::mutated;
use super::work::{CommandWork, EntryWork, SendWork, Work};
use crate::call::Call;
use crate::handlers::send_answer::SendAnswers;
use crate::limits::{ENTRIES_IN_FLIGHT_MAX, ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX};

/// What the proposer needs of the node.
pub struct Proposer {
    pub replica: Replica<EntryAnswer>,
    pub receiver: mpsc::Receiver<Work>,
    pub encoder: Encoder,
    /// Writes the answers to sends.
    pub answers: Arc<SendAnswers>,
    /// Takes calls that were not proposed, to try them at the leader.
    pub reroute: Arc<dyn Fn(Call) + Send + Sync>,
    /// While set, work waits: leadership is being handed over.
    pub holding: Arc<AtomicBool>,
    pub in_flight: Arc<InFlight>,
    pub awaited: Arc<Awaited<Waits>>,
}

/// What an entry without an outcome keeps.
pub struct Waits {
    sends: Vec<SendWork>,
    _counted: Turn,
}

/// Entries that were submitted and are waited for.
#[derive(Default)]
pub struct InFlight {
    count: AtomicUsize,
    settled: Notify,
    waiting: Mutex<Waiting>,
}

/// What the proposer has taken and not yet proposed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    pub count: usize,
    /// When the first send of it came to this replica.
    pub since: Option<Instant>,
}

impl InFlight {
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// What waits for its turn.
    pub fn waiting(&self) -> Waiting {
        *self.waiting.lock()
    }

    fn set_waiting<'a>(&self, mut work: impl Iterator<Item = &'a Work>) {
        let count = work.size_hint().0;
        let since = work.find_map(Work::since);
        *self.waiting.lock() = Waiting { count, since };
    }

    /// Waits until nothing is under way. Cancel-safe.
    pub async fn empty(&self) {
        self.below(1).await;
    }

    /// Wakes those who wait: after a change of what they wait for beside the count.
    pub fn wake(&self) {
        self.settled.notify_waiters();
    }

    async fn below(&self, limit: usize) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.count() < limit {
                return;
            }
            settled.await;
        }
    }

    async fn settled_or(&self, done: impl Fn() -> bool) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if done() {
                return;
            }
            settled.await;
        }
    }

    fn started(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.settled.notify_waiters();
    }
}

/// An entry or a turn of the proposer, counted as in flight.
struct Turn {
    in_flight: Arc<InFlight>,
}

impl Turn {
    fn new(in_flight: &Arc<InFlight>) -> Self {
        in_flight.started();
        Self { in_flight: in_flight.clone() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.in_flight.ended();
    }
}

impl Proposer {
    /// Runs until all handles of the queue are gone, in the runtime of the Raft thread.
    pub async fn run(self) {
        let (answers, reroute) = (self.answers.clone(), self.reroute.clone());
        let give_up = move |waits: Waits| {
            for send in waits.sends {
                unknown(send, &answers, &*reroute);
            }
        };
        let watching = tokio::spawn(self.awaited.clone().watch(self.replica.status(), give_up));
        self.propose().await;
        watching.abort();
    }

    async fn propose(mut self) {
        let mut waiting: VecDeque<Work> = VecDeque::new();
        let mut batch: Vec<Work> = Vec::new();
        loop {
            if waiting.is_empty() && self.receiver.recv_many(&mut batch, usize::MAX).await == 0 {
                return;
            }
            self.in_flight.set_waiting(waiting.iter().chain(&batch));
            let _turn = self.turn().await;
            while let Ok(work) = self.receiver.try_recv() {
                batch.push(work);
            }
            waiting.extend(batch.drain(..));
            // The turn itself counts as one.
            let room = (ENTRIES_IN_FLIGHT_MAX + 1).saturating_sub(self.in_flight.count());
            let mut proposals = Vec::with_capacity(room);
            while proposals.len() < room && !waiting.is_empty() {
                proposals.extend(self.next_entry(&mut waiting));
            }
            self.in_flight.set_waiting(waiting.iter());
            if !proposals.is_empty() {
                self.replica.submit(proposals).await;
            }
        }
    }

    /// Waits until there is room and nobody hands leadership over. The turn counts as in flight until it is dropped, and is
    /// taken before the last look at the hold: whoever holds either sees the turn and waits for it, or is seen.
    async fn turn(&self) -> Turn {
        loop {
            self.in_flight.settled_or(|| !self.holding.load(Ordering::SeqCst)).await;
            self.in_flight.below(ENTRIES_IN_FLIGHT_MAX).await;
            let turn = Turn::new(&self.in_flight);
            if !self.holding.load(Ordering::SeqCst) {
                return turn;
            }
        }
    }

    /// Packs the front of the queue into one entry; `None` when all that was taken had expired.
    fn next_entry(&self, waiting: &mut VecDeque<Work>) -> Option<Proposal<EntryAnswer>> {
        let now = Instant::now();
        let mut sends: Vec<SendWork> = Vec::new();
        let mut commands: Vec<CommandWork> = Vec::new();
        let mut bytes = 0;
        while let Some(work) = waiting.front() {
            let size = match work {
                Work::Send(send) => send.messages.as_slice().iter().map(|message| message.size).sum(),
                Work::Command(_) => 0,
                Work::Entry(_) if sends.is_empty() && commands.is_empty() => 0,
                // It has an entry of its own, behind this one.
                Work::Entry(_) => break,
            };
            let full = bytes + size > ENTRY_BYTES_MAX || commands.len() >= ENTRY_COMMANDS_MAX;
            if full && !(sends.is_empty() && commands.is_empty()) {
                break;
            }
            match waiting.pop_front() {
                Some(Work::Send(send)) if send.call.deadline <= now => {
                    send.call.refuse(
                        ResponseCode::SystemBusy,
                        "[TIMEOUT_CLEAN_QUEUE]broker busy, the request waited too long",
                    );
                }
                Some(Work::Send(send)) => {
                    bytes += size;
                    sends.push(*send);
                }
                Some(Work::Command(command)) if command.deadline <= now => {
                    (command.answer)(Err(ProposeError::NotLeader { leader: None }));
                }
                Some(Work::Command(command)) => commands.push(command),
                Some(Work::Entry(entry)) => return Some(self.duty_proposal(entry)),
                None => break,
            }
        }
        if sends.is_empty() && commands.is_empty() {
            return None;
        }
        Some(self.proposal(sends, commands, bytes))
    }

    /// An entry of a duty, as it was made. Nothing of it is ever tried again here: the duty alone knows what its entry rested on.
    fn duty_proposal(&self, entry: EntryWork) -> Proposal<EntryAnswer> {
        let EntryWork { payload, term, answer } = entry;
        let (awaited, key) = self.await_outcome(Vec::new());
        Proposal {
            payload,
            expected_term: Some(term),
            done: Box::new(move |outcome| {
                drop(awaited.take(key));
                answer(outcome.map(|committed| committed.answer));
            }),
        }
    }

    /// Counts an entry as in flight until it is taken or given up.
    fn await_outcome(&self, sends: Vec<SendWork>) -> (Arc<Awaited<Waits>>, u64) {
        let key = self.awaited.add(Waits { sends, _counted: Turn::new(&self.in_flight) });
        (self.awaited.clone(), key)
    }

    fn proposal(
        &self,
        sends: Vec<SendWork>,
        commands: Vec<CommandWork>,
        bytes: usize,
    ) -> Proposal<EntryAnswer> {
        let mut builder = PayloadBuilder::new(RECORD_HEADER_SIZE, bytes + 64);
        for work in &commands {
            builder.push_command(&work.command);
        }
        for send in &sends {
            self.encoder.encode(send, builder.messages());
        }
        let payload = builder.finish().freeze();
        #[cfg(feature = "faults")]
        let sends = mutated::answered_when_stamped(&payload, sends, &self.answers);
        let (awaited, key) = self.await_outcome(sends);
        let (answers, reroute) = (self.answers.clone(), self.reroute.clone());
        Proposal {
            payload,
            expected_term: None,
            done: Box::new(move |outcome| {
                let sends = awaited.take(key).map(|waits| waits.sends);
                Waiters { sends, commands }.settle(outcome, &answers, &*reroute);
            }),
        }
    }
}

/// Those who wait for one entry, in the order in which their parts stand in it.
struct Waiters {
    /// `None`: they have been told that the outcome is not known.
    sends: Option<Vec<SendWork>>,
    commands: Vec<CommandWork>,
}

impl Waiters {
    fn settle(
        self,
        outcome: Result<Committed<EntryAnswer>, ProposeError>,
        answers: &SendAnswers,
        reroute: &(dyn Fn(Call) + Send + Sync),
    ) {
        match outcome {
            Ok(committed) => {
                if let Some(sends) = self.sends
                    && !mutants::on(Mutant::AckBeforeQuorum)
                {
                    answers.stored(sends, &committed.answer.appended);
                }
                answer_commands(self.commands, committed.answer.commands);
            }
            Err(error) => {
                for work in self.commands {
                    (work.answer)(Err(error));
                }
                for send in self.sends.unwrap_or_default() {
                    match error {
                        #[cfg(feature = "faults")]
                        ProposeError::NotLeader { .. } if mutants::on(Mutant::AckThenDrop) => {
                            let places = vec![mutated::NOWHERE; send.messages.count()];
                            answers.stored(vec![send], &places);
                        }
                        ProposeError::NotLeader { .. } => reroute(send.call),
                        ProposeError::Busy => answers.busy(send),
                        ProposeError::TooLarge => answers.too_large(send),
                        ProposeError::Unknown => unknown(send, answers, reroute),
                        ProposeError::Stopped => answers.unknown(send),
                    }
                }
            }
        }
    }
}

fn unknown(send: SendWork, answers: &SendAnswers, reroute: &(dyn Fn(Call) + Send + Sync)) {
    if mutants::on(Mutant::RepeatUnknown) { reroute(send.call) } else { answers.unknown(send) }
}

fn answer_commands(work: Vec<CommandWork>, answers: Vec<Answer>) {
    assert_eq!(work.len(), answers.len(), "apply answers each command of its entry");
    for (work, answer) in work.into_iter().zip(answers) {
        (work.answer)(Ok(answer));
    }
}
