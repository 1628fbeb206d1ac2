//! LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): which member of a group consumes a queue alone.
//!
//! A client stops consuming a queue that a successful answer lacks, so there is an answer only from a leader that still leads
//! and after the log holds what it says; otherwise code 14 without a body, on which a client keeps what it has and asks again
//! (FAILOVER.md 8 and 12). Locks are the whole group's: `onlyThisBroker`, by which RocketMQ's brokers keep from asking each
//! other, changes nothing, and neither does the broker name of a queue.
// Source: AdminBrokerProcessor.lockBatchMQ and unlockBatchMQ 5.3.3.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::rules::Queue;
use flotilla_remoting::bodies::{self, LockBatchRequest, LockBatchResponse};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::names;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::members::check_client_id;
use super::respond::{done, success_body};
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::leader::locks::{Locks, Outcome, Request};
use crate::limits::{LATE_UNLOCKS_MAX, LOCK_QUEUES_MAX, STALE_COMMIT_AGE};

/// How long a lock or unlock is held at most: clients wait 1 s. Source: RebalanceImpl.lock 5.3.3.
pub const HOLD: Duration = Duration::from_millis(700);

/// The same of an unlock that nobody waits for: long enough for an election, and no longer than any late one-way request.
const ONEWAY_HOLD: Duration = STALE_COMMIT_AGE;

/// Answers 41 and 42 on the leader.
#[derive(Clone)]
pub struct LockHandler {
    pub locks: Arc<Locks>,
    pub dispatcher: Arc<Dispatcher>,
    pub runtime: Handle,
}

impl Handler for LockHandler {
    fn handle(&self, call: Call) {
        let asked = match read(&call) {
            Ok(asked) => asked,
            Err((code, remark)) => return call.refuse(code, remark),
        };
        match call.code() {
            RequestCode::LockBatchMq => self.lock(call, asked),
            _ => self.unlock(call, asked),
        }
    }
}

impl LockHandler {
    fn lock(&self, call: Call, asked: LockBatchRequest) {
        let this = self.clone();
        self.runtime.spawn(async move {
            let request = request(&call, &asked);
            match this.locks.lock(&request, call.deadline).await {
                Outcome::Held(held) => {
                    let held: HashSet<Queue> = held.into_iter().collect();
                    let queues = asked.mq_set.into_iter().filter(|queue| {
                        u32::try_from(queue.queue_id)
                            .is_ok_and(|id| held.contains(&(Arc::from(queue.topic.as_str()), id)))
                    });
                    let answer = LockBatchResponse { lock_ok_mq_set: queues.collect() };
                    success_body(call, bodies::encode(&answer));
                }
                Outcome::NotHere => this.dispatcher.try_again(call).await,
            }
        });
    }

    fn unlock(&self, call: Call, asked: LockBatchRequest) {
        let freeing = self.locks.unlock(request(&call, &asked), call.deadline);
        let dispatcher = self.dispatcher.clone();
        self.runtime.spawn(async move {
            match freeing.await {
                Outcome::Held(_) => done(call),
                Outcome::NotHere => dispatcher.try_again(call).await,
            }
        });
    }
}

fn read(call: &Call) -> Result<LockBatchRequest, (ResponseCode, String)> {
    let asked = bodies::decode::<LockBatchRequest>(&call.request.body)
        .map_err(|error| (ResponseCode::SystemError, format!("lock request can't be read: {error}")))?;
    let illegal = |remark: String| (ResponseCode::InvalidParameter, remark);
    names::check_group(&asked.consumer_group).map_err(|error| illegal(error.to_string()))?;
    check_client_id(&asked.client_id).map_err(illegal)?;
    if asked.mq_set.len() > LOCK_QUEUES_MAX {
        return Err(illegal(format!("more than {LOCK_QUEUES_MAX} queues in one request")));
    }
    Ok(asked)
}

/// Queues with a number below zero don't exist and are left out.
fn request(call: &Call, asked: &LockBatchRequest) -> Request {
    let mut queues: Vec<Queue> = asked
        .mq_set
        .iter()
        .filter_map(|queue| Some((Arc::from(queue.topic.as_str()), u32::try_from(queue.queue_id).ok()?)))
        .collect();
    queues.sort();
    queues.dedup();
    Request {
        group: Arc::from(asked.consumer_group.as_str()),
        client_id: Arc::from(asked.client_id.as_str()),
        queues,
        // The deadline travels with a forwarded call, the time of its arrival does not.
        arrived: call.deadline.checked_sub(hold(call)).unwrap_or_else(Instant::now),
    }
}

fn hold(call: &Call) -> Duration {
    if call.request.is_oneway() { ONEWAY_HOLD } else { HOLD }
}

/// Takes 41 and 42 where the client is connected. An unlock that does not reach a leader at once is tried again, but not when
/// its client locks anew meanwhile: it would take away what the client has just been given (FAILOVER.md 9).
pub struct LockEntry {
    pub dispatcher: Arc<Dispatcher>,
    pub leader_side: LockHandler,
    pub late: Arc<LateUnlocks>,
}

impl Handler for LockEntry {
    fn handle(&self, mut call: Call) {
        if call.caller.forwarded_by.is_none()
            && call.superseded.is_none()
            && let Ok(asked) = bodies::decode::<LockBatchRequest>(&call.request.body)
        {
            let key = (asked.consumer_group, asked.client_id);
            if call.request.is_oneway() {
                call.deadline = Instant::now() + ONEWAY_HOLD;
            }
            match call.code() {
                RequestCode::LockBatchMq => self.late.supersede(&key),
                _ => call.superseded = Some(self.late.begin(key, call.deadline)),
            }
        }
        if self.dispatcher.leads() {
            self.leader_side.handle(call);
        } else {
            self.dispatcher.to_leader(call);
        }
    }
}

type Client = (String, String);

/// Unlocks that this replica has taken and that may still be under way, by group and client.
#[derive(Default)]
pub struct LateUnlocks {
    under_way: Mutex<HashMap<Client, Late>>,
}

struct Late {
    until: Instant,
    superseded: CancellationToken,
}

impl LateUnlocks {
    /// Notes an unlock until its deadline and gives what tells that it is not wanted any more. With too many under way the
    /// unlock counts as superseded from the start: it is tried once.
    fn begin(&self, client: Client, until: Instant) -> CancellationToken {
        let mut under_way = self.under_way.lock();
        if under_way.len() >= LATE_UNLOCKS_MAX {
            let now = Instant::now();
            under_way.retain(|_, late| late.until > now);
        }
        let superseded = CancellationToken::new();
        if under_way.len() >= LATE_UNLOCKS_MAX {
            superseded.cancel();
            return superseded;
        }
        let late = under_way.entry(client).or_insert(Late { until, superseded });
        late.until = late.until.max(until);
        late.superseded.clone()
    }

    fn supersede(&self, client: &Client) {
        if let Some(late) = self.under_way.lock().remove(client) {
            late.superseded.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Client {
        ("g".to_owned(), name.to_owned())
    }

    #[test]
    fn a_lock_ends_the_late_unlocks_of_its_client_only() {
        let late = LateUnlocks::default();
        let until = Instant::now() + HOLD;
        let (first, second, other) =
            (late.begin(client("a"), until), late.begin(client("a"), until), late.begin(client("b"), until));
        late.supersede(&client("a"));
        assert!(first.is_cancelled() && second.is_cancelled() && !other.is_cancelled());
        assert!(!late.begin(client("a"), until).is_cancelled(), "a later unlock counts again");
    }

    #[test]
    fn with_too_many_late_unlocks_each_is_tried_once() {
        let late = LateUnlocks::default();
        let until = Instant::now() + HOLD;
        for number in 0..LATE_UNLOCKS_MAX {
            late.begin(client(&number.to_string()), until);
        }
        assert!(late.begin(client("one more"), until).is_cancelled());
        // Those whose time is over make room.
        late.under_way.lock().values_mut().for_each(|late| late.until = Instant::now());
        assert!(!late.begin(client("one more"), until).is_cancelled());
        assert_eq!(late.under_way.lock().len(), 1);
    }
}
