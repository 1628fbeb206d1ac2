//! Locks of ordered consumption: what the commands do, how long a lock lasts, and that no history of renewals, claims,
//! unlocks, leaders and lost commands gives one queue to two clients.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use flotilla_core::rules::{Leases, LockAsk, LockPlan, Queue};
use flotilla_core::{
    Answer, Command, Grant, LockClaim, LockQueues, Refusal, Tables, UnlockClaim, UnlockQueues,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{World, topic};

const LIFETIME: u64 = 1000;

fn group() -> Arc<str> {
    Arc::from("g")
}

fn queue(id: u32) -> Queue {
    (Arc::from("T"), id)
}

fn world() -> World {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 4))], &[]);
    world
}

fn grant(number: u64) -> Grant {
    Grant { term: 1, number }
}

fn lock(client: &str, grant: Grant, claims: &[LockClaim]) -> Command {
    let (group, client_id) = (group(), Arc::from(client));
    Command::Lock(Box::new(LockQueues { group, client_id, grant, queues: claims.to_vec() }))
}

fn unlock(client: &str, term: u64, claims: &[UnlockClaim]) -> Command {
    let (group, client_id) = (group(), Arc::from(client));
    Command::Unlock(Box::new(UnlockQueues { group, client_id, term, queues: claims.to_vec() }))
}

fn claim(id: u32, previous: Option<Grant>) -> LockClaim {
    LockClaim { topic: "T".into(), queue_id: id, previous }
}

fn owner(tables: &Tables, id: u32) -> Option<(&str, Grant)> {
    tables.lock("g", "T", id).map(|lock| (&*lock.client_id, lock.grant))
}

fn answer(world: &mut World, command: Command) -> Answer {
    world.commit(&[command], &[]).answers.remove(0)
}

#[test]
fn a_claim_takes_only_from_the_grant_that_it_names() {
    let mut world = world();
    let (first, second) = (Some(grant(1)), Some(grant(3)));
    assert_eq!(answer(&mut world, lock("a", grant(1), &[claim(0, None)])), Answer::Done);
    assert_eq!(owner(&world.tables, 0), Some(("a", grant(1))));
    // Seen as free by another one, seen with an older grant, then with the right one.
    assert_eq!(answer(&mut world, lock("b", grant(2), &[claim(0, None)])), Answer::Unchanged);
    assert_eq!(answer(&mut world, lock("a", grant(3), &[claim(0, first)])), Answer::Done);
    assert_eq!(answer(&mut world, lock("b", grant(4), &[claim(0, first)])), Answer::Unchanged);
    assert_eq!(owner(&world.tables, 0), Some(("a", grant(3))));
    assert_eq!(answer(&mut world, lock("b", grant(5), &[claim(0, second), claim(1, None)])), Answer::Done);
    assert_eq!(owner(&world.tables, 0), Some(("b", grant(5))));
    assert_eq!(world.tables.lock_count(), 2);
}

#[test]
fn what_another_term_decided_has_no_effect() {
    let mut world = world();
    let refused = |decided| Answer::Refused(Refusal::OtherTerm { decided, applied: 1 });
    let other = Grant { term: 2, number: 1 };
    assert_eq!(answer(&mut world, lock("a", other, &[claim(0, None)])), refused(2));
    assert_eq!(answer(&mut world, lock("a", grant(1), &[claim(0, None)])), Answer::Done);
    let claims = [UnlockClaim { topic: "T".into(), queue_id: 0, grant: grant(1) }];
    assert_eq!(answer(&mut world, unlock("a", 3, &claims)), refused(3));
    assert_eq!(answer(&mut world, unlock("a", 1, &claims)), Answer::Done);
    assert_eq!(owner(&world.tables, 0), None);
}

#[test]
fn an_unlock_frees_the_own_grant_that_it_names_and_leaves_nothing_behind() {
    let mut world = world();
    let empty = world.tables.encode();
    answer(&mut world, lock("a", grant(1), &[claim(0, None), claim(3, None)]));
    let claims =
        |number| [0, 3].map(|id| UnlockClaim { topic: "T".into(), queue_id: id, grant: grant(number) });
    assert_eq!(answer(&mut world, unlock("b", 1, &claims(1))), Answer::Unchanged);
    assert_eq!(answer(&mut world, unlock("a", 1, &claims(9))), Answer::Unchanged);
    assert_eq!(world.tables.lock_count(), 2);
    assert_eq!(answer(&mut world, unlock("a", 1, &claims(1))), Answer::Done);
    assert_eq!((world.tables.lock_count(), world.tables.all_locks().count()), (0, 0));
    // Only the applied entry differs.
    assert_eq!(world.tables.encode().len(), empty.len());
}

#[test]
fn locks_are_in_the_checkpoint() {
    let mut world = world();
    answer(&mut world, lock("a", grant(1), &[claim(0, None), claim(3, None)]));
    answer(&mut world, lock("b", grant(2), &[claim(1, None)]));
    let read = Tables::decode(&world.tables.encode()).unwrap();
    assert_eq!(read.lock_count(), 3);
    for id in 0..4 {
        assert_eq!(read.lock("g", "T", id), world.tables.lock("g", "T", id));
    }
    assert_eq!(read.encode(), world.tables.encode());
}

/// One leader, its clock, and clients that ask it.
struct Desk {
    world: World,
    leases: Leases,
    now: u64,
}

impl Desk {
    fn new() -> Self {
        let mut leases = Leases::new(LIFETIME);
        leases.lead(1, 0);
        Self { world: world(), leases, now: 0 }
    }

    fn plan(&mut self, client: &str, ids: &[u32]) -> LockPlan {
        let (group, client_id) = (group(), Arc::from(client));
        let ask = LockAsk { group: &group, client_id: &client_id, now_ms: self.now, arrived_ms: self.now };
        let queues: Vec<Queue> = ids.iter().map(|id| queue(*id)).collect();
        self.leases.plan(&self.world.tables, &ask, &queues)
    }

    /// Plans, puts the claims into the log, and gives the queues held.
    fn lock(&mut self, client: &str, ids: &[u32]) -> Vec<u32> {
        let (group, client_id) = (group(), Arc::from(client));
        let plan = self.plan(client, ids);
        let mut held = plan.held;
        if let Some(grant) = plan.grant {
            self.world.term = grant.term;
            answer(&mut self.world, lock(client, grant, &plan.claims));
            let ask =
                LockAsk { group: &group, client_id: &client_id, now_ms: self.now, arrived_ms: self.now };
            held.extend(self.leases.applied(&self.world.tables, &ask, grant, &plan.claims).0);
            self.leases.settled(grant.term, &group, &plan.claims);
        }
        held.into_iter().map(|(_, id)| id).collect()
    }

    fn plan_unlock(&mut self, client: &str, id: u32, arrived_ms: u64) -> Vec<UnlockClaim> {
        let (group, client_id) = (group(), Arc::from(client));
        let ask = LockAsk { group: &group, client_id: &client_id, now_ms: self.now, arrived_ms };
        self.leases.plan_unlock(&self.world.tables, &ask, &[queue(id)])
    }
}

#[test]
fn a_renewal_stays_out_of_the_log_and_prolongs_the_lock() {
    let mut desk = Desk::new();
    assert_eq!(desk.lock("a", &[0, 1]), [0, 1]);
    assert_eq!(desk.plan("b", &[0]).denied, [queue(0)]);
    desk.now = LIFETIME;
    let renewal = desk.plan("a", &[0]);
    assert_eq!((renewal.held, renewal.claims), (vec![queue(0)], vec![]));
    desk.now = LIFETIME + 1;
    // Queue 1 was not renewed.
    let other = desk.plan("b", &[0, 1]);
    assert_eq!(other.denied, [queue(0)]);
    assert_eq!(other.claims.len(), 1);
}

#[test]
fn a_lock_that_somebody_is_taking_over_is_renewed_by_the_log_only() {
    let mut desk = Desk::new();
    desk.lock("a", &[0]);
    desk.now = LIFETIME + 1;
    let taking = desk.plan("b", &[0]);
    assert_eq!(taking.claims.len(), 1);
    // The owner comes back before the claim is applied: its renewal is a claim too, and the log decides.
    let back = desk.plan("a", &[0]);
    assert_eq!((back.held.len(), back.claims.len()), (0, 1));
    assert_eq!(answer(&mut desk.world, lock("a", back.grant.unwrap(), &back.claims)), Answer::Done);
    assert_eq!(answer(&mut desk.world, lock("b", taking.grant.unwrap(), &taking.claims)), Answer::Unchanged);
    assert_eq!(owner(&desk.world.tables, 0).unwrap().0, "a");
}

#[test]
fn a_term_that_begins_counts_every_lock_as_just_renewed() {
    let mut desk = Desk::new();
    desk.lock("a", &[0]);
    desk.now = LIFETIME;
    desk.leases.lead(2, desk.now);
    desk.now = 2 * LIFETIME;
    assert_eq!(desk.plan("b", &[0]).denied, [queue(0)]);
    assert!(desk.leases.any_held(&desk.world.tables, "g", desk.now));
    desk.now += 1;
    assert!(!desk.leases.any_held(&desk.world.tables, "g", desk.now));
    assert_eq!(desk.lock("b", &[0]), [0]);
}

#[test]
fn a_queue_that_does_not_exist_is_held_by_nobody() {
    let mut desk = Desk::new();
    assert_eq!(desk.plan("a", &[4]).denied, [queue(4)]);
}

#[test]
fn a_late_unlock_frees_nothing_that_was_renewed_after_it_was_sent() {
    let mut desk = Desk::new();
    desk.lock("a", &[0]);
    let sent = 10;
    desk.now = 50;
    desk.lock("a", &[0]);
    desk.now = 60;
    assert_eq!(desk.plan_unlock("a", 0, sent), []);
    assert_eq!(desk.plan_unlock("b", 0, desk.now), []);
    assert_eq!(desk.plan_unlock("a", 0, desk.now).len(), 1);
    // On its way into the log: neither renewed nor denied to others, who come after it.
    assert_eq!(desk.plan("a", &[0]).claims.len(), 1);
    assert_eq!(desk.plan("b", &[0]).claims, [claim(0, None)]);
}

#[test]
fn locks_nobody_came_back_for_are_swept_after_two_lifetimes() {
    let mut desk = Desk::new();
    desk.lock("a", &[0, 1]);
    desk.now = LIFETIME;
    desk.lock("a", &[1]);
    desk.now = 2 * LIFETIME + 1;
    let swept = desk.leases.sweep(&desk.world.tables, desk.now, 10);
    assert_eq!(swept.len(), 1);
    assert_eq!((swept[0].queues.len(), swept[0].queues[0].queue_id), (1, 0));
    // Under way: not swept twice, and the owner's return goes through the log.
    assert_eq!(desk.leases.sweep(&desk.world.tables, desk.now, 10), []);
    assert_eq!(desk.plan("a", &[0]).claims.len(), 1);
}

/// A step of a history.
#[derive(Debug, Clone)]
enum Step {
    Lock {
        client: usize,
        queue: u32,
    },
    SendUnlock {
        client: usize,
        queue: u32,
    },
    /// The oldest unlock under way reaches the leader.
    DeliverUnlock,
    Apply(usize),
    Elapse(u64),
    Sweep,
    /// Another leader: so many commands under way are in its log, the rest comes late into the new term or never.
    NewTerm {
        survive: usize,
        late: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let at = || (0_usize..3, 0_u32..2);
    prop_oneof![
        6 => at().prop_map(|(client, queue)| Step::Lock { client, queue }),
        2 => at().prop_map(|(client, queue)| Step::SendUnlock { client, queue }),
        2 => Just(Step::DeliverUnlock),
        6 => (1_usize..4).prop_map(Step::Apply),
        4 => prop_oneof![1_u64..50, 300_u64..1200].prop_map(Step::Elapse),
        1 => Just(Step::Sweep),
        1 => (0_usize..3, any::<bool>()).prop_map(|(survive, late)| Step::NewTerm { survive, late }),
    ]
}

/// A command on its way into the log.
struct UnderWay {
    command: Command,
    then: Then,
}

enum Then {
    Lock {
        asked: Asked,
        grant: Grant,
        claims: Vec<LockClaim>,
    },
    Unlock {
        term: u64,
        claims: Vec<UnlockClaim>,
    },
    /// Whoever proposed it has given up.
    Nobody,
}

/// One request of a client.
#[derive(Clone, Copy)]
struct Asked {
    client: usize,
    queue: u32,
    arrived: u64,
    /// Its place among all that clients sent.
    number: usize,
}

/// Clients trust a lock for half of its lifetime, as Java does (30 s of 60 s).
const TRUST: u64 = LIFETIME / 2;
const CLIENTS: [&str; 3] = ["a", "b", "c"];

struct Simulation {
    desk: Desk,
    under_way: VecDeque<UnderWay>,
    unlocks: VecDeque<(usize, u32, u64)>,
    /// Until when a client consumes a queue.
    trusted: HashMap<(usize, u32), u64>,
    /// Place of the last unlock of each client and queue: an answer to a lock from before it means nothing to the client.
    given_up: HashMap<(usize, u32), usize>,
    sent: usize,
}

impl Simulation {
    fn step(&mut self, step: Step) {
        match step {
            Step::Lock { client, queue } => {
                // A replica that takes a lock gives up the client's unlocks that it still tries to deliver.
                self.unlocks.retain(|(sender, _, _)| *sender != client);
                self.sent += 1;
                self.ask(Asked { client, queue, arrived: self.desk.now, number: self.sent });
            }
            Step::SendUnlock { client, queue } => {
                self.sent += 1;
                self.trusted.remove(&(client, queue));
                self.given_up.insert((client, queue), self.sent);
                self.unlocks.push_back((client, queue, self.desk.now));
            }
            Step::DeliverUnlock => {
                if let Some((client, queue, arrived)) = self.unlocks.pop_front() {
                    let claims = self.desk.plan_unlock(CLIENTS[client], queue, arrived);
                    let term = self.desk.leases.term();
                    let command = unlock(CLIENTS[client], term, &claims);
                    self.under_way.push_back(UnderWay { command, then: Then::Unlock { term, claims } });
                }
            }
            Step::Apply(count) => (0..count).for_each(|_| self.apply()),
            Step::Elapse(ms) => self.desk.now += ms,
            Step::Sweep => {
                let term = self.desk.leases.term();
                for swept in self.desk.leases.sweep(&self.desk.world.tables, self.desk.now, 8) {
                    let then = Then::Unlock { term, claims: swept.queues.clone() };
                    self.under_way.push_back(UnderWay { command: Command::Unlock(Box::new(swept)), then });
                }
            }
            Step::NewTerm { survive, late } => {
                for _ in 0..survive.min(self.under_way.len()) {
                    if let Some(known) = self.under_way.pop_front() {
                        answer(&mut self.desk.world, known.command);
                    }
                }
                if late {
                    self.under_way.iter_mut().for_each(|known| known.then = Then::Nobody);
                } else {
                    self.under_way.clear();
                }
                self.desk.world.term += 1;
                self.desk.leases.lead(self.desk.world.term, self.desk.now);
            }
        }
    }

    fn ask(&mut self, asked: Asked) {
        let Asked { client, queue: id, arrived, number: _ } = asked;
        let (group, client_id) = (group(), Arc::from(CLIENTS[client]));
        let ask =
            LockAsk { group: &group, client_id: &client_id, now_ms: self.desk.now, arrived_ms: arrived };
        let plan = self.desk.leases.plan(&self.desk.world.tables, &ask, &[queue(id)]);
        if !plan.held.is_empty() {
            self.answered(asked);
        }
        if let Some(grant) = plan.grant {
            let command = lock(CLIENTS[client], grant, &plan.claims);
            let then = Then::Lock { asked, grant, claims: plan.claims };
            self.under_way.push_back(UnderWay { command, then });
        }
    }

    fn apply(&mut self) {
        let Some(UnderWay { command, then }) = self.under_way.pop_front() else { return };
        let answer = answer(&mut self.desk.world, command);
        match then {
            Then::Nobody => {}
            Then::Unlock { term, claims } => self.desk.leases.unlocked(term, &group(), &claims),
            Then::Lock { asked, grant, claims } => {
                self.desk.leases.settled(grant.term, &group(), &claims);
                if matches!(answer, Answer::Refused(_)) {
                    return;
                }
                let Asked { client, arrived, .. } = asked;
                let (group, client_id) = (group(), Arc::from(CLIENTS[client]));
                let now_ms = self.desk.now;
                let ask = LockAsk { group: &group, client_id: &client_id, now_ms, arrived_ms: arrived };
                let (held, again) = self.desk.leases.applied(&self.desk.world.tables, &ask, grant, &claims);
                if !held.is_empty() {
                    self.answered(asked);
                }
                // A request is tried again within its hold budget only.
                if !again.is_empty() && now_ms < arrived + 100 {
                    self.ask(asked);
                }
            }
        }
    }

    fn answered(&mut self, asked: Asked) {
        let (now, client, id) = (self.desk.now, asked.client, asked.queue);
        if self.given_up.get(&(client, id)).is_some_and(|given_up| *given_up > asked.number) {
            return;
        }
        for other in (0..CLIENTS.len()).filter(|other| *other != client) {
            let Some(until) = self.trusted.get(&(other, id)) else { continue };
            let (first, second) = (CLIENTS[other], CLIENTS[client]);
            assert!(*until < now, "{first} consumes queue {id} until {until}, and so does {second} at {now}");
        }
        self.trusted.insert((client, id), now + TRUST);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn prop_no_queue_is_consumed_by_two(steps in vec(any_step(), 1..80)) {
        let mut desk = Desk::new();
        desk.world.term = 1;
        let mut simulation = Simulation {
            desk,
            under_way: VecDeque::new(),
            unlocks: VecDeque::new(),
            trusted: HashMap::new(),
            given_up: HashMap::new(),
            sent: 0,
        };
        for step in steps {
            simulation.step(step);
            let counted = simulation.desk.world.tables.all_locks().count();
            prop_assert_eq!(simulation.desk.world.tables.lock_count(), counted);
        }
        // Nothing stays locked for ever: two lifetimes later anybody gets any queue.
        while !simulation.under_way.is_empty() {
            simulation.apply();
        }
        simulation.desk.now += 2 * LIFETIME;
        for id in 0..2 {
            prop_assert_eq!(simulation.desk.lock("c", &[id]), [id]);
        }
    }
}
