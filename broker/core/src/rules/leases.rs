//! How long locks of ordered consumption last: the leader's soft half of [`crate::QueueLock`].
//!
//! Time is the leader's monotonic clock in milliseconds, handed in. A lock lasts one lifetime beyond its last renewal. Renewals
//! by the owner stay here and out of the log, and a term that begins counts every lock as just renewed, because renewals that
//! an earlier leader answered are unknown (FAILOVER.md 12). A lock that is about to change by a command under way is no longer
//! renewed here: then the log decides what comes first.
//!
//! ```text
//! free --claim--> held --lifetime over--> ended --claim of anybody--> held by the claimer
//!                 |  ^                      |
//!          unlock v  | renewal              +--swept--> free
//!               free
//! ```
//!
//! What is left to the caller: a plan without claims says something only if this replica still leads after it was made.
// Source: RocketMQ 5.3 RebalanceLockManager: lifetime of 60 s, a lock outlives its owner's membership.

use std::collections::HashMap;
use std::sync::Arc;

use crate::tables::{FixedHasher, Grant, LockClaim, QueueLock, Tables, UnlockClaim, UnlockQueues};

/// A queue that a client names.
pub type Queue = (Arc<str>, u32);

/// An unlock that was sent so much before the owner's last renewal is a late one. Forwarding costs precision of this size.
const LATE_MS: u64 = 2;

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct LockAsk<'a> {
    pub group: &'a Arc<str>,
    pub client_id: &'a Arc<str>,
    pub now_ms: u64,
    /// When the request reached the first replica of the group.
    pub arrived_ms: u64,
}

/// What becomes of the queues that a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockPlan {
    /// The client holds them, and they are renewed.
    pub held: Vec<Queue>,
    /// To be put into the log. Each has to be given back by [`Leases::settled`] when its outcome is known.
    pub claims: Vec<LockClaim>,
    /// What the claims give; absent without claims.
    pub grant: Option<Grant>,
    /// Another client holds them, or there is no such queue.
    pub denied: Vec<Queue>,
}

/// The leases of one leader's term.
#[derive(Debug)]
pub struct Leases {
    lifetime_ms: u64,
    term: u64,
    since_ms: u64,
    /// Number of the last grant of the term.
    last_grant: u64,
    groups: HashMap<Arc<str>, HashMap<Queue, Seen, FixedHasher>, FixedHasher>,
}

/// What is known of one lock beyond the tables.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The grant that the times are about.
    grant: Option<Grant>,
    renewed_ms: u64,
    /// Arrival of the owner's last request that was granted.
    asked_ms: u64,
    /// Claims and unlocks under way.
    claiming: u32,
    unlocking: u32,
}

impl Leases {
    pub fn new(lifetime_ms: u64) -> Self {
        Self { lifetime_ms, term: 0, since_ms: 0, last_grant: 0, groups: HashMap::default() }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    /// The replica leads in this term: at the first call of a term every lock counts as just renewed.
    pub fn lead(&mut self, term: u64, now_ms: u64) {
        if self.term != term {
            *self = Self { term, since_ms: now_ms, ..Self::new(self.lifetime_ms) };
        }
    }

    /// Decides what each queue that a client wants needs, and renews what it holds.
    pub fn plan(&mut self, tables: &Tables, ask: &LockAsk<'_>, queues: &[Queue]) -> LockPlan {
        let mut plan = LockPlan::default();
        for queue in queues {
            let Some(lock) = tables.lock(ask.group, &queue.0, queue.1) else {
                if tables.queue_head(&queue.0, queue.1).is_some() {
                    self.claim(&mut plan, ask, queue, None);
                } else {
                    plan.denied.push(queue.clone());
                }
                continue;
            };
            let own = lock.client_id == *ask.client_id;
            let (seen, ended) = self.look(ask.group, queue, lock, ask.now_ms);
            if own && !ended && seen.claiming + seen.unlocking == 0 {
                (seen.renewed_ms, seen.asked_ms) = (ask.now_ms, seen.asked_ms.max(ask.arrived_ms));
                plan.held.push(queue.clone());
            } else if own || ended {
                self.claim(&mut plan, ask, queue, Some(lock.grant));
            } else if seen.unlocking > 0 {
                // Its owner gives it up: the claim comes after that in the log.
                self.claim(&mut plan, ask, queue, None);
            } else {
                plan.denied.push(queue.clone());
            }
        }
        if !plan.claims.is_empty() {
            self.last_grant += 1;
            plan.grant = Some(Grant { term: self.term, number: self.last_grant });
        }
        plan
    }

    /// Takes note of what came of claims that are applied: gives those that the client holds now, and the queues to plan again.
    pub fn applied(
        &mut self,
        tables: &Tables,
        ask: &LockAsk<'_>,
        grant: Grant,
        claims: &[LockClaim],
    ) -> (Vec<Queue>, Vec<Queue>) {
        let (mut held, mut again) = (Vec::new(), Vec::new());
        for claim in claims {
            let queue = (claim.topic.clone(), claim.queue_id);
            match tables.lock(ask.group, &claim.topic, claim.queue_id) {
                Some(lock) if lock.grant == grant && lock.client_id == *ask.client_id => {
                    let seen = self.entry(ask.group, &queue);
                    seen.grant = Some(grant);
                    (seen.renewed_ms, seen.asked_ms) = (ask.now_ms, seen.asked_ms.max(ask.arrived_ms));
                    held.push(queue);
                }
                Some(_) | None => again.push(queue),
            }
        }
        (held, again)
    }

    /// Decides which of the queues a client gives up; a late request frees nothing that the client has renewed since. Each
    /// claim has to be given back by [`Self::unlocked`].
    pub fn plan_unlock(&mut self, tables: &Tables, ask: &LockAsk<'_>, queues: &[Queue]) -> Vec<UnlockClaim> {
        let mut claims = Vec::new();
        for queue in queues {
            let Some(lock) = tables.lock(ask.group, &queue.0, queue.1) else { continue };
            if lock.client_id != *ask.client_id {
                continue;
            }
            let (seen, _) = self.look(ask.group, queue, lock, ask.now_ms);
            if seen.asked_ms > ask.arrived_ms + LATE_MS {
                continue;
            }
            seen.unlocking += 1;
            let (topic, queue_id) = queue.clone();
            claims.push(UnlockClaim { topic, queue_id, grant: lock.grant });
        }
        claims
    }

    /// The outcome of claims made in `term` is known.
    pub fn settled(&mut self, term: u64, group: &Arc<str>, claims: &[LockClaim]) {
        if self.term == term {
            for claim in claims {
                let seen = self.entry(group, &(claim.topic.clone(), claim.queue_id));
                seen.claiming = seen.claiming.saturating_sub(1);
            }
        }
    }

    /// The outcome of unlocks made in `term` is known.
    pub fn unlocked(&mut self, term: u64, group: &Arc<str>, claims: &[UnlockClaim]) {
        if self.term == term {
            for claim in claims {
                let seen = self.entry(group, &(claim.topic.clone(), claim.queue_id));
                seen.unlocking = seen.unlocking.saturating_sub(1);
            }
        }
    }

    /// True when a client of the group holds a queue by a lock that has not ended.
    pub fn any_held(&self, tables: &Tables, group: &str, now_ms: u64) -> bool {
        tables.locks(group).any(|(topic, queue_id, lock)| {
            let seen = self.groups.get(group).and_then(|group| group.get(&(topic.clone(), queue_id)));
            !self.is_over(self.renewed(seen, lock, now_ms), now_ms)
        })
    }

    /// Locks that ended a whole lifetime ago, at most `limit`, to be taken out of the tables; and forgets what is known of
    /// queues that are free. Each claim has to be given back by [`Self::unlocked`].
    pub fn sweep(&mut self, tables: &Tables, now_ms: u64, limit: usize) -> Vec<UnlockQueues> {
        self.groups.retain(|group, queues| {
            queues.retain(|(topic, queue_id), seen| {
                seen.claiming + seen.unlocking > 0 || tables.lock(group, topic, *queue_id).is_some()
            });
            !queues.is_empty()
        });
        let mut swept: Vec<UnlockQueues> = Vec::new();
        for (group, topic, queue_id, lock) in tables.all_locks() {
            let queue = (topic.clone(), queue_id);
            let (seen, _) = self.look(group, &queue, lock, now_ms);
            let forgotten = now_ms.saturating_sub(seen.renewed_ms) > self.lifetime_ms.saturating_mul(2);
            let seen = self.entry(group, &queue);
            if !forgotten || seen.claiming + seen.unlocking > 0 {
                continue;
            }
            seen.unlocking += 1;
            let claim = UnlockClaim { topic: topic.clone(), queue_id, grant: lock.grant };
            match swept.last_mut() {
                Some(last) if last.group == *group && last.client_id == lock.client_id => {
                    last.queues.push(claim)
                }
                _ => swept.push(UnlockQueues {
                    group: group.clone(),
                    client_id: lock.client_id.clone(),
                    term: self.term,
                    queues: vec![claim],
                }),
            }
            if swept.iter().map(|unlock| unlock.queues.len()).sum::<usize>() >= limit {
                break;
            }
        }
        swept
    }

    fn claim(&mut self, plan: &mut LockPlan, ask: &LockAsk<'_>, queue: &Queue, previous: Option<Grant>) {
        self.entry(ask.group, queue).claiming += 1;
        plan.claims.push(LockClaim { topic: queue.0.clone(), queue_id: queue.1, previous });
    }

    /// What is known of a lock, and whether its time is over.
    fn look(&mut self, group: &Arc<str>, queue: &Queue, lock: &QueueLock, now_ms: u64) -> (&mut Seen, bool) {
        let known = self.groups.get(group).and_then(|group| group.get(queue));
        let renewed = self.renewed(known, lock, now_ms);
        let over = self.is_over(renewed, now_ms);
        let seen = self.entry(group, queue);
        if seen.grant != Some(lock.grant) {
            (seen.grant, seen.asked_ms) = (Some(lock.grant), 0);
        }
        seen.renewed_ms = renewed;
        (seen, over)
    }

    /// When a lock was renewed last. A grant of this term that was never looked at counts as new.
    fn renewed(&self, seen: Option<&Seen>, lock: &QueueLock, now_ms: u64) -> u64 {
        match seen {
            Some(seen) if seen.grant == Some(lock.grant) => seen.renewed_ms,
            _ if lock.grant.term == self.term => now_ms,
            _ => self.since_ms,
        }
    }

    fn is_over(&self, renewed_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(renewed_ms) > self.lifetime_ms
    }

    fn entry(&mut self, group: &Arc<str>, queue: &Queue) -> &mut Seen {
        self.groups.entry(group.clone()).or_default().entry(queue.clone()).or_default()
    }
}
