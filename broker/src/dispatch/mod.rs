//! From a frame to the handler that answers it, wherever in the group that is.
//!
//! Each request code is a row of [`table`]: where it has to run, how long it may be held, who handles it. A call that needs
//! the leader waits here while none is known, is handled here when this replica leads, and is forwarded otherwise; its
//! client never sees which replica answered (FAILOVER.md 8 to 10, 19).

#[cfg(test)]
mod compatibility;
pub mod refused;
pub mod service;
pub mod table;
pub mod under_way;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use flotilla_mutants::{self as mutants, Mutant};
use flotilla_remoting::Language;
use flotilla_remoting::code::{OUTCOME_UNKNOWN, RequestCode, ResponseCode};
use flotilla_remoting::frame::Frame;
use tokio::runtime::Handle;
use tracing::debug;

use self::table::{Access, Facts, Placement, Row, Table};
use crate::call::Call;
use crate::group::{Group, Standing};
use crate::handlers::members;
use crate::metrics::{Cause, Metrics};
use crate::peers::links::{ForwardError, Links, Patience};

/// Answers the calls of one or more request codes.
pub trait Handler: Send + Sync + 'static {
    /// Takes the call. Must not block; long work is spawned.
    fn handle(&self, call: Call);
}

/// Routes calls. One per node.
pub struct Dispatcher {
    group: Group,
    links: Arc<Links>,
    runtime: Handle,
    metrics: Metrics,
    table: OnceLock<Table>,
}

impl Dispatcher {
    pub fn new(group: Group, links: Arc<Links>, runtime: Handle, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { group, links, runtime, metrics, table: OnceLock::new() })
    }

    /// Sets the rows, once, while the node is put together: handlers hold the dispatcher and the dispatcher them.
    pub fn set_table(&self, table: Table) {
        assert!(self.table.set(table).is_ok(), "the dispatch table is set once");
    }

    /// All rows, by ascending code.
    pub fn facts(&self) -> Vec<Facts> {
        self.table.get().map(Table::facts).unwrap_or_default()
    }

    /// How long any call that changes the group may be kept before it has an answer.
    pub fn hold_max(&self) -> Duration {
        let changes = self.facts().into_iter().filter(|facts| facts.access == Access::Propose);
        changes.map(|facts| facts.hold).max().unwrap_or_default()
    }

    /// True while this replica may answer what only the leader answers.
    pub fn leads(&self) -> bool {
        self.group.leads()
    }

    /// Finds the place for a call and hands it over.
    pub fn dispatch(self: &Arc<Self>, call: Call) {
        let code = call.code().as_i32();
        let Some(row) = self.row(code) else {
            self.metrics.rejected(Cause::Unsupported);
            let code = RequestCode::from_i32(code);
            call.refuse(refused::answer(code), refused::remark(code));
            return;
        };
        match row.placement {
            Placement::Local | Placement::LocalIfFound => row.handler.handle(call),
            Placement::Leader if self.group.leads() => row.handler.handle(call),
            Placement::Leader => self.to_leader(call),
        }
    }

    /// Handles a call where the group is led, waiting for a leader within the call's deadline.
    ///
    /// A call that was forwarded to this replica is handed back instead: one hop is the limit.
    pub fn to_leader(self: &Arc<Self>, call: Call) {
        if call.caller.forwarded_by.is_some() && !matches!(self.group.standing(), Standing::Leading { .. }) {
            // A leader that is about to be ready is worth a short wait, but the forwarding replica knows the deadline.
            call.not_proposed();
            return;
        }
        let this = self.clone();
        self.runtime.spawn(async move { this.follow_leader(call).await });
    }

    /// Tries a read again that this replica could not confirm: here or at another leader, after a moment.
    pub async fn try_again(self: &Arc<Self>, call: Call) {
        self.group.changed(call.deadline).await;
        self.to_leader(call);
    }

    async fn follow_leader(self: Arc<Self>, call: Call) {
        let mut tried = false;
        loop {
            if tried && call.is_superseded() {
                return no_leader(call);
            }
            tried = true;
            if Instant::now() >= call.deadline || call.reply.is_closed() {
                self.metrics.rejected(Cause::NoLeader);
                no_leader(call);
                return;
            }
            match self.group.standing() {
                Standing::Leading { .. } => {
                    let Some(row) = self.row(call.code().as_i32()) else { return };
                    row.handler.handle(call);
                    return;
                }
                Standing::Following { leader } => {
                    match self.links.forward(leader, &call, self.patience(&call)).await {
                        Ok(response) => {
                            self.metrics.forwarded();
                            relay(call, response);
                            return;
                        }
                        Err(ForwardError::NotProposed) => self.group.changed(call.deadline).await,
                        Err(ForwardError::Unknown(_)) if self.repeatable(&call) => {
                            self.group.changed(call.deadline).await
                        }
                        Err(ForwardError::Unknown(reason)) => {
                            debug!(code = call.request.header.code, leader, %reason, "forwarded call has no known outcome");
                            self.metrics.unknown_outcome();
                            unknown(call);
                            return;
                        }
                    }
                }
                Standing::Unsettled => self.group.changed(call.deadline).await,
            }
        }
    }

    fn patience(&self, call: &Call) -> Patience {
        if self.repeatable(call) { Patience::UntilDeposed } else { Patience::UntilDeadline }
    }

    /// True when doing it twice is no worse than doing it once.
    fn repeatable(&self, call: &Call) -> bool {
        let reads = self.row(call.code().as_i32()).is_some_and(|row| row.access != Access::Propose);
        let harmless = matches!(
            call.code(),
            RequestCode::UpdateConsumerOffset | RequestCode::LockBatchMq | RequestCode::UnlockBatchMq
        );
        reads || harmless || mutants::on(Mutant::RepeatUnknown)
    }

    /// What this node knows of a code; `None` when it does not serve it.
    pub fn row(&self, code: i32) -> Option<&Row> {
        self.table.get()?.row(code)
    }
}

/// Gives the leader's answer to the client. A consumer list that the leader could not complete is not passed to everybody.
fn relay(call: Call, response: Frame) {
    let list = call.code() == RequestCode::GetConsumerListByGroup;
    if list && response.header.response_code() != ResponseCode::Success {
        let remark = response.header.remark.unwrap_or_default();
        return members::incomplete(call, &remark);
    }
    call.reply.send(response);
}

/// Code 14 is the one on which both the Java and the Go client try again. Source: DefaultMQProducerImpl 5.3.3
/// (retryResponseCodes) and rocketmq-client-go v2 producer; traps.md 4.
fn no_leader(call: Call) {
    if call.code() == RequestCode::GetConsumerListByGroup {
        return members::incomplete(call, "no leader in time");
    }
    call.refuse(ResponseCode::ServiceNotAvailable, "no leader within the request's time, nothing was stored");
}

/// Says that this node is going and that nothing was done. Our own clients know GO_AWAY for what it is. Java's would open another
/// connection to this address, and when that is turned away too, close both, with all that waits on them; so they get the code of
/// [`no_leader`], which Java's and Go's producers repeat. Source: RocketMQ 5.5 NettyRemotingClient.invokeImpl, invokeSync.
pub fn leaving(call: Call) {
    let code = match call.request.header.language {
        Language::Rust => ResponseCode::GoAway,
        _ => ResponseCode::ServiceNotAvailable,
    };
    call.refuse(code, "this broker is being stopped, nothing was done: ask another one");
}

fn unknown(call: Call) {
    call.refuse(
        ResponseCode::ServiceNotAvailable,
        format!("the leader changed while it held the request: {OUTCOME_UNKNOWN}"),
    );
}
