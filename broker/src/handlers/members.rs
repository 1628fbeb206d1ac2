//! GET_CONSUMER_LIST_BY_GROUP (38) and UNREGISTER_CLIENT (35).

use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{Command, LeaveReason};
use flotilla_remoting::bodies::{self, ConsumerList};
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::{GetConsumerListRequest, UnregisterClientRequest};
use flotilla_remoting::language::Language;
use flotilla_remoting::names;
use tokio::runtime::Handle;

use super::heartbeat::Joins;
use super::offsets::PendingOffsets;
use super::respond::{bad_header, done, success_body};
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::leader::LeaderCalls;
use crate::sessions::Sessions;

/// Answers 38, on the leader, from the replicated membership. Clients divide the queues by this list and trust any list
/// that they get, so an incomplete one takes queues from those who are missing (FAILOVER.md 1).
pub struct ConsumerListHandler {
    pub group: Group,
    pub dispatcher: Arc<Dispatcher>,
    pub runtime: Handle,
}

impl Handler for ConsumerListHandler {
    fn handle(&self, call: Call) {
        let name: Arc<str> = match GetConsumerListRequest::decode(&call.request.header.ext) {
            Ok(request) => Arc::from(request.consumer_group),
            Err(error) => return bad_header(call, &error),
        };
        let (group, dispatcher) = (self.group.clone(), self.dispatcher.clone());
        self.runtime.spawn(async move { answer_list(group, dispatcher, call, &name).await });
    }
}

async fn answer_list(group: Group, dispatcher: Arc<Dispatcher>, call: Call, name: &str) {
    if group.replica().read_index(call.deadline).await.is_err() {
        return dispatcher.try_again(call).await;
    }
    loop {
        let ids: Vec<Arc<str>> = group
            .tables()
            .members(name)
            .map(|members| members.client_ids().cloned().collect())
            .unwrap_or_default();
        let complete = match &call.caller.client_id {
            // The asker has introduced itself as a member of this group, its join is on its way into the log.
            Some(asker) => ids.contains(asker),
            None => true,
        };
        if complete && !ids.is_empty() {
            let list = ConsumerList { consumer_id_list: ids.iter().map(|id| id.to_string()).collect() };
            return success_body(call, bodies::encode(&list));
        }
        if complete {
            return call.refuse(ResponseCode::SystemError, format!("no consumer for this group, {name}"));
        }
        if Instant::now() >= call.deadline {
            return incomplete(call, "the consumer list is not complete yet");
        }
        let soon = call.deadline.min(Instant::now() + Duration::from_millis(10));
        tokio::time::sleep_until(soon.into()).await;
    }
}

/// Java keeps its queues on code 1; Go drops all of them on any code, so it gets no answer and skips the round. The replica
/// where the client is connected decides that; between replicas the refusal travels as such.
/// Source: RebalanceImpl 5.3.3; rocketmq-client-go v2 consumer.findConsumerList.
pub fn incomplete(call: Call, why: &str) {
    let silent = call.caller.forwarded_by.is_none() && call.request.header.language == Language::Go;
    if !silent {
        call.refuse(ResponseCode::SystemError, why);
    }
}

/// Takes 38 where the client is connected: only there its client id is known, and the leader must include the asker.
pub struct ConsumerListEntry {
    pub dispatcher: Arc<Dispatcher>,
    pub sessions: Arc<Sessions>,
    pub joins: Arc<Joins>,
    pub group: Group,
    pub leader_side: ConsumerListHandler,
}

impl Handler for ConsumerListEntry {
    fn handle(&self, mut call: Call) {
        if let Some(connection) = &call.caller.connection
            && let Some(name) = call.request.header.ext.get("consumerGroup")
        {
            call.caller.client_id = self.sessions.consumer_of(connection.id(), name);
            self.heal(name, call.caller.client_id.as_deref());
        }
        if self.group.leads() { self.leader_side.handle(call) } else { self.dispatcher.to_leader(call) }
    }
}

impl ConsumerListEntry {
    /// A member that was dropped although it is connected joins again when it asks, and not only at its next heartbeat.
    fn heal(&self, group: &str, asker: Option<&str>) {
        let Some(asker) = asker.filter(|asker| self.group.tables().member(group, asker).is_none()) else {
            return;
        };
        if let Some(member) = self.sessions.member(group, asker) {
            self.joins.ensure(Arc::from(group), member);
        }
    }
}

/// Client ids go into the log, so they have a limit; official clients stay far below it.
pub fn check_client_id(client_id: &str) -> Result<(), String> {
    match client_id.len() {
        1..=CLIENT_ID_SIZE_MAX => Ok(()),
        size => Err(format!("client id of {size} bytes, allowed are 1 to {CLIENT_ID_SIZE_MAX}")),
    }
}

/// Bytes of a client id.
const CLIENT_ID_SIZE_MAX: usize = 255;

/// Takes a client out of its groups.
pub struct UnregisterHandler {
    pub sessions: Arc<Sessions>,
    pub offsets: Arc<PendingOffsets>,
    pub joins: Arc<Joins>,
    pub leader: Arc<LeaderCalls>,
    pub runtime: Handle,
}

impl Handler for UnregisterHandler {
    fn handle(&self, call: Call) {
        let request = match UnregisterClientRequest::decode(&call.request.header.ext) {
            Ok(request) => request,
            Err(error) => return bad_header(call, &error),
        };
        let checked = check_client_id(request.client_id).and_then(|()| {
            let consumer = request.consumer_group.filter(|name| !name.is_empty());
            consumer.map_or(Ok(()), |name| names::check_group(name).map_err(|error| error.to_string()))
        });
        if let Err(remark) = checked {
            return call.refuse(ResponseCode::InvalidParameter, remark);
        }
        if let Some(connection) = &call.caller.connection {
            self.sessions.leave(
                connection.id(),
                request.client_id,
                request.producer_group,
                request.consumer_group,
            );
        }
        self.offsets.flush_soon();
        if let Some(consumer) = request.consumer_group {
            self.joins.forget(consumer, request.client_id);
        }
        let Some(consumer) = request.consumer_group.filter(|name| !name.is_empty()) else {
            return done(call);
        };
        let command = Command::Leave {
            group: Arc::from(consumer),
            client_id: Arc::from(request.client_id),
            reason: LeaveReason::Unregistered,
        };
        let (leader, offsets) = (self.leader.clone(), self.offsets.clone());
        self.runtime.spawn(async move {
            // The next owner asks for what this client committed as soon as the client has left (FAILOVER.md 11).
            let ticket = offsets.last_ticket();
            let _ = tokio::time::timeout(Duration::from_secs(1), offsets.settled(ticket)).await;
            // Without an answer from the group the member leaves when its connections are seen to be gone.
            let _ = leader.propose(command, call.deadline).await;
            done(call);
        });
    }
}
