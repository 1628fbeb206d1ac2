//! Queue locks on the leader: decides with [`Leases`], puts into the log what changes an owner, and keeps to itself what only
//! renews (FAILOVER.md 12).

use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::rules::{Leases, LockAsk, LockPlan, Queue};
use flotilla_core::{Answer, Command, Grant, LockClaim, LockQueues, Tables, UnlockClaim, UnlockQueues};
use flotilla_raft_store::raft::ProposeError;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::group::{Group, Standing};
use crate::limits::LOCKS_SWEPT_MAX;

/// Time between two looks for locks that nobody came back for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Time in which the sweep's command has to enter the log.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);

/// The locks of this node's group, as its leader sees them.
pub struct Locks {
    group: Group,
    runtime: Handle,
    leases: Mutex<Leases>,
    /// Moment zero of the leases' clock.
    epoch: Instant,
}

/// A client's request for some queues of a group, or to give them up.
pub struct Request {
    pub group: Arc<str>,
    pub client_id: Arc<str>,
    pub queues: Vec<Queue>,
    pub arrived: Instant,
}

/// What came of a request.
pub enum Outcome {
    /// Decided by the leader, which it still was afterwards: the queues that the client holds now.
    Held(Vec<Queue>),
    /// Not decided here: this replica does not lead, or the time is over.
    NotHere,
}

impl Locks {
    pub fn new(group: Group, runtime: Handle, lifetime: Duration) -> Arc<Self> {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let leases = Mutex::new(Leases::new(lifetime_ms));
        Arc::new(Self { group, runtime, leases, epoch: Instant::now() })
    }

    /// True when a client of the group holds a queue by a lock that has not ended. For the leader; takes the tables that the
    /// caller reads already.
    pub fn any_held(&self, tables: &Tables, group: &str) -> bool {
        if tables.locks(group).next().is_none() {
            return false;
        }
        let Standing::Leading { term } = self.group.standing() else { return false };
        let mut leases = self.leases.lock();
        leases.lead(term, self.now_ms());
        leases.any_held(tables, group, self.now_ms())
    }

    /// Gives the client the queues that are free, ended, or its own already.
    pub async fn lock(self: &Arc<Self>, request: &Request, deadline: Instant) -> Outcome {
        let mut round = Round { term: 0, open: Vec::new(), held: Vec::new() };
        loop {
            let Standing::Leading { term } = self.group.standing() else { return Outcome::NotHere };
            if Instant::now() >= deadline {
                return Outcome::NotHere;
            }
            if round.term != term {
                round = Round { term, open: request.queues.clone(), held: Vec::new() };
            }
            let LockPlan { held, claims, grant, denied: _ } = self.plan(request, &round);
            round.held.extend(held);
            let Some(grant) = grant else {
                if self.group.replica().read_index(deadline).await.is_err() {
                    return Outcome::NotHere;
                }
                return Outcome::Held(self.still_held(request, round.held));
            };
            match self.claim(request, grant, claims.clone(), deadline).await {
                Ok(Answer::Done | Answer::Unchanged) => {
                    let again = self.take_over(request, &mut round, grant, &claims);
                    if again.is_empty() {
                        return Outcome::Held(self.still_held(request, round.held));
                    }
                    // Somebody else's change came first: what it left is looked at once more.
                    round.open = again;
                }
                // Decided in a term that is over: everything anew.
                Ok(Answer::Refused(_)) => round.term = 0,
                Err(error) => {
                    debug!(group = %request.group, client = %request.client_id, ?error, "lock not in the log");
                    return Outcome::NotHere;
                }
            }
        }
    }

    /// Frees the queues that the client holds. The decision is taken before this returns a future, so that a lock that is
    /// asked for later comes after it.
    pub fn unlock(
        self: &Arc<Self>,
        request: Request,
        deadline: Instant,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let this = self.clone();
        let first = this.plan_unlock(&request);
        async move {
            let mut plan = first;
            loop {
                let Some((term, claims)) = plan else { return Outcome::NotHere };
                if claims.is_empty() {
                    // Nothing to do, unless another replica leads and knows more.
                    if this.group.replica().read_index(deadline).await.is_err() {
                        return Outcome::NotHere;
                    }
                    plan = this.plan_unlock(&request);
                    if plan.as_ref().is_some_and(|(_, claims)| claims.is_empty()) {
                        return Outcome::Held(Vec::new());
                    }
                    continue;
                }
                let command = UnlockQueues {
                    group: request.group.clone(),
                    client_id: request.client_id.clone(),
                    term,
                    queues: claims,
                };
                let answered = this.free(command, deadline);
                match tokio::time::timeout_at(deadline.into(), answered).await {
                    Ok(Ok(Ok(Answer::Done | Answer::Unchanged))) => return Outcome::Held(Vec::new()),
                    Ok(Ok(Ok(Answer::Refused(_)))) => plan = this.plan_unlock(&request),
                    Ok(Ok(Err(_)) | Err(_)) | Err(_) => return Outcome::NotHere,
                }
            }
        }
    }

    /// Notes when a term begins, and frees what nobody came back for. Runs until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut leadership = self.group.leadership();
        let mut sweep_at = Instant::now() + SWEEP_INTERVAL;
        while !stop.is_cancelled() {
            if let Standing::Leading { term } = self.group.standing() {
                self.leases.lock().lead(term, self.now_ms());
                if Instant::now() >= sweep_at {
                    self.sweep();
                    sweep_at = Instant::now() + SWEEP_INTERVAL;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                // A lease comes without a change of leadership, hence the second look.
                _ = leadership.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    fn sweep(self: &Arc<Self>) {
        let swept = {
            let tables = self.group.tables().clone();
            if tables.lock_count() == 0 {
                return;
            }
            self.leases.lock().sweep(&tables, self.now_ms(), LOCKS_SWEPT_MAX)
        };
        for command in swept {
            info!(group = %command.group, client = %command.client_id, queues = command.queues.len(),
                "locks ended long ago are given up");
            // What fails is swept again.
            drop(self.free(command, Instant::now() + SWEEP_PATIENCE));
        }
    }

    fn plan(&self, request: &Request, round: &Round) -> LockPlan {
        let tables = self.group.tables();
        let mut leases = self.leases.lock();
        leases.lead(round.term, self.now_ms());
        leases.plan(&tables, &self.ask(request), &round.open)
    }

    fn plan_unlock(&self, request: &Request) -> Option<(u64, Vec<UnlockClaim>)> {
        let Standing::Leading { term } = self.group.standing() else { return None };
        let tables = self.group.tables();
        let mut leases = self.leases.lock();
        leases.lead(term, self.now_ms());
        Some((term, leases.plan_unlock(&tables, &self.ask(request), &request.queues)))
    }

    /// Takes into the round what its claims have brought and gives the queues that are still open.
    fn take_over(
        &self,
        request: &Request,
        round: &mut Round,
        grant: Grant,
        claims: &[LockClaim],
    ) -> Vec<Queue> {
        let tables = self.group.tables();
        let (held, again) = self.leases.lock().applied(&tables, &self.ask(request), grant, claims);
        round.held.extend(held);
        again
    }

    /// Puts claims into the log. They count as under way until their outcome is known, also when the caller has given up.
    async fn claim(
        self: &Arc<Self>,
        request: &Request,
        grant: Grant,
        claims: Vec<LockClaim>,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let (this, group) = (self.clone(), request.group.clone());
        let command = Command::Lock(Box::new(LockQueues {
            group: group.clone(),
            client_id: request.client_id.clone(),
            grant,
            queues: claims.clone(),
        }));
        let (tell, told) = oneshot::channel();
        self.runtime.spawn(async move {
            let answer = this.group.propose(command, deadline).await;
            this.leases.lock().settled(grant.term, &group, &claims);
            let _ = tell.send(answer);
        });
        let told = tokio::time::timeout_at(deadline.into(), told).await;
        told.map_or(Err(ProposeError::Unknown), |told| told.unwrap_or(Err(ProposeError::Stopped)))
    }

    /// Puts an unlock into the log, in the same way.
    fn free(
        self: &Arc<Self>,
        command: UnlockQueues,
        deadline: Instant,
    ) -> oneshot::Receiver<Result<Answer, ProposeError>> {
        let (this, group) = (self.clone(), command.group.clone());
        let (term, claims) = (command.term, command.queues.clone());
        let (tell, told) = oneshot::channel();
        self.runtime.spawn(async move {
            let answer = this.group.propose(Command::Unlock(Box::new(command)), deadline).await;
            this.leases.lock().unlocked(term, &group, &claims);
            let _ = tell.send(answer);
        });
        told
    }

    /// What the tables say at the end: between the decision and its confirmation another leader may have ruled.
    fn still_held(&self, request: &Request, mut held: Vec<Queue>) -> Vec<Queue> {
        let tables = self.group.tables();
        held.retain(|(topic, queue_id)| {
            tables
                .lock(&request.group, topic, *queue_id)
                .is_some_and(|lock| lock.client_id == request.client_id)
        });
        held
    }

    fn ask<'a>(&self, request: &'a Request) -> LockAsk<'a> {
        LockAsk {
            group: &request.group,
            client_id: &request.client_id,
            now_ms: self.now_ms(),
            arrived_ms: self.ms(request.arrived),
        }
    }

    fn now_ms(&self) -> u64 {
        self.ms(Instant::now())
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

/// How far a request has come in one term.
struct Round {
    term: u64,
    open: Vec<Queue>,
    held: Vec<Queue>,
}
