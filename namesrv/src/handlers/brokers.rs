//! What brokers ask and tell beside registering, and what tools ask about brokers.

use flotilla_remoting::bodies::{BrokerMemberGroup, BrokerMemberGroupBody, DataVersion};
use flotilla_remoting::headers::{
    AddWritePermResponse, BrokerHeartbeatRequest, BrokerRequest, GetBrokerMemberGroupRequest,
    QueryDataVersionResponse, WipeWritePermResponse, WritePermRequest,
};
use flotilla_remoting::{Frame, bodies};

use super::{Call, Reply, body, nothing, system_error};
use crate::ours;
use crate::state::State;

/// QUERY_DATA_VERSION: whether the broker need send its topics again.
pub(super) fn query_data_version(call: &Call, request: &Frame) -> Reply {
    let header = BrokerRequest::decode(&request.header.ext)?;
    let sent: DataVersion = match bodies::decode(&request.body) {
        Ok(sent) => sent,
        Err(error) => return system_error(format!("data version: {error}")),
    };
    let (cluster, address) = (header.cluster_name, header.broker_addr);
    let now_ms = call.state.now_ms();
    let known = call.state.change(|registry| {
        registry.heartbeat(now_ms, cluster, address, ours::applied(&request.header.ext));
        registry.data_version(cluster, address).cloned()
    });
    let changed = known.as_ref() != Some(&sent);
    let fields = QueryDataVersionResponse { changed }.encode();
    Ok((fields, known.map(|known| bodies::encode(&known)).unwrap_or_default()))
}

/// BROKER_HEARTBEAT.
pub(super) fn heartbeat(state: &State, request: &Frame) -> Reply {
    let header = BrokerHeartbeatRequest::decode(&request.header.ext)?;
    let applied = ours::applied(&request.header.ext);
    let now_ms = state.now_ms();
    state.change(|registry| registry.heartbeat(now_ms, header.cluster_name, header.broker_addr, applied));
    nothing()
}

/// GET_BROKER_MEMBER_GROUP.
pub(super) fn member_group(state: &State, request: &Frame) -> Reply {
    let header = GetBrokerMemberGroupRequest::decode(&request.header.ext)?;
    let members = state.read(|registry| registry.members(header.cluster_name, header.broker_name));
    let group = BrokerMemberGroup {
        broker_addrs: members,
        broker_name: header.broker_name.to_owned(),
        cluster: header.cluster_name.to_owned(),
    };
    body(bodies::encode(&BrokerMemberGroupBody { broker_member_group: group }))
}

/// GET_BROKER_CLUSTER_INFO.
pub(super) fn cluster_info(state: &State) -> Reply {
    body(bodies::encode(&state.read(|registry| registry.cluster_info())))
}

/// WIPE_WRITE_PERM_OF_BROKER.
pub(super) fn wipe_write_permission(state: &State, request: &Frame) -> Reply {
    let broker_name = WritePermRequest::decode(&request.header.ext)?.broker_name;
    let count = state.change(|registry| registry.wipe_write_permission(broker_name));
    tracing::info!(broker_name, topics = count, "write permission taken");
    Ok((WipeWritePermResponse { wipe_topic_count: count }.encode(), Default::default()))
}

/// ADD_WRITE_PERM_OF_BROKER.
pub(super) fn add_write_permission(state: &State, request: &Frame) -> Reply {
    let broker_name = WritePermRequest::decode(&request.header.ext)?.broker_name;
    let count = state.change(|registry| registry.add_write_permission(broker_name));
    tracing::info!(broker_name, topics = count, "write permission given back");
    Ok((AddWritePermResponse { add_topic_count: count }.encode(), Default::default()))
}
