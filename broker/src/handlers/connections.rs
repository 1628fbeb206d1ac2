//! Who is connected: GET_CONSUMER_CONNECTION_LIST (203), GET_PRODUCER_CONNECTION_LIST (204), GET_ALL_PRODUCER_INFO (328).
//!
//! Consumers come from the replicated membership. Producers are soft state of the replica that holds their connection; the
//! leader answers from what all replicas have reported to it (FAILOVER.md 13).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{GroupMembers, Tables};
use flotilla_remoting::bodies::{
    Connection, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTable,
};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{GetConsumerConnectionListRequest, GetProducerConnectionListRequest};
use flotilla_remoting::language::Language;

use super::reads::Reads;
use super::respond::{Outcome, Success, answer, unreadable};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::leader::Reports;
use crate::sessions::Sessions;
use crate::sessions::producers::Producer;
use crate::wire_group::{wire_consume_from, wire_consume_type, wire_message_model, wire_subscription};

/// Pause before another look at reports that are not complete yet.
const REPORT_PAUSE: Duration = Duration::from_millis(20);

/// Serves 203. Runs on the leader.
pub struct ConsumerConnections {
    pub reads: Reads,
}

impl Handler for ConsumerConnections {
    fn handle(&self, call: Call) {
        let group = self.reads.group.clone();
        self.reads.confirmed(call, move |call| consumers(&group.tables(), call));
    }
}

fn consumers(tables: &Tables, call: &Call) -> Outcome {
    let request = GetConsumerConnectionListRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let name = request.consumer_group;
    let members = tables.members(name).and_then(|members| Some((members, members.members.values().next()?)));
    let Some((GroupMembers { members }, first)) = members else {
        return Err((ResponseCode::ConsumerNotOnline, format!("the consumer group[{name}] not online")));
    };
    let connections = members.values().map(|member| Connection {
        client_addr: member.address.to_string(),
        client_id: member.client_id.to_string(),
        language: Language::from_code(member.language),
        version: member.version,
    });
    let subscriptions = tables.members(name).map(GroupMembers::subscriptions).unwrap_or_default();
    Ok(Success::body(&ConsumerConnection {
        connection_set: connections.collect(),
        consume_from_where: wire_consume_from(first.consume_from),
        consume_type: wire_consume_type(first.consume_type),
        message_model: wire_message_model(first.message_model),
        subscription_table: subscriptions
            .into_iter()
            .map(|subscription| (subscription.topic.to_string(), wire_subscription(subscription)))
            .collect(),
    }))
}

/// Serves 204 and 328. Runs on the leader.
pub struct ProducerConnections {
    pub reads: Reads,
    pub sessions: Arc<Sessions>,
    pub reports: Arc<Reports>,
    pub self_index: u64,
    pub peers: Vec<u64>,
}

impl Handler for ProducerConnections {
    fn handle(&self, call: Call) {
        let (sessions, reports) = (self.sessions.clone(), self.reports.clone());
        let (self_index, peers) = (self.self_index, self.peers.clone());
        self.reads.runtime.spawn(async move {
            // Just after a change of the leader the others' reports are still on their way.
            while !reports.are_complete(self_index, &peers, Instant::now())
                && Instant::now() + REPORT_PAUSE < call.deadline
            {
                tokio::time::sleep(REPORT_PAUSE).await;
            }
            let mut producers = reports.producers();
            producers.extend(sessions.producers());
            let outcome = match call.code() {
                RequestCode::GetProducerConnectionList => of_group(producers, &call),
                _ => Ok(all(producers)),
            };
            answer(call, outcome);
        });
    }
}

fn of_group(producers: Vec<Producer>, call: &Call) -> Outcome {
    let request = GetProducerConnectionListRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let name = request.producer_group;
    let connections: Vec<Connection> = producers
        .into_iter()
        .filter(|producer| &*producer.group == name)
        .map(|producer| Connection {
            client_addr: producer.address.to_string(),
            client_id: producer.client_id.to_string(),
            language: Language::from_code(producer.language),
            version: producer.version,
        })
        .collect();
    if connections.is_empty() {
        return Err((ResponseCode::SystemError, format!("the producer group[{name}] not exist")));
    }
    Ok(Success::body(&ProducerConnection { connection_set: connections }))
}

fn all(producers: Vec<Producer>) -> Success {
    let mut table: BTreeMap<String, Vec<ProducerInfo>> = BTreeMap::new();
    for producer in producers {
        table.entry(producer.group.to_string()).or_default().push(ProducerInfo {
            client_id: producer.client_id.to_string(),
            language: Language::from_code(producer.language),
            last_update_timestamp: producer.heard_ms,
            // With the slash that Java puts before an address. Source: ProducerManager.getProducerTable 5.3.3.
            remote_ip: format!("/{}", producer.address),
            version: producer.version,
        });
    }
    Success::body(&ProducerTable { data: table })
}
