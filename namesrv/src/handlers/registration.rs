//! Brokers register and leave.

use flotilla_remoting::bodies::{KvTable, RegisterBrokerBody, encode};
use flotilla_remoting::headers::{BrokerRequest, RegisterBrokerRequest, RegisterBrokerResponse, key};
use flotilla_remoting::message::body_crc;
use flotilla_remoting::{Frame, ResponseCode};
use tracing::{debug, info, warn};

use super::{Call, Refusal, Reply, nothing, system_error};
use crate::kv::ORDER_NAMESPACE;
use crate::ours;
use crate::registry::{Registration, TopicQueues};
use crate::state::State;

/// REGISTER_BROKER.
pub(super) fn register(call: &Call, request: &Frame) -> Reply {
    let header = RegisterBrokerRequest::decode(&request.header.ext)?;
    if header.body_crc32 != 0 && body_crc(&request.body) != header.body_crc32 {
        return system_error("crc32 not match");
    }
    let registration = registration(call, request, &header)?;
    let version = registration.version;
    let now_ms = call.state.now_ms();
    // Before the registration: the connection may end at any time, and then the entry must be found.
    call.state.note_connection(&call.connection);
    let registered = match call.state.change(|registry| registry.register(now_ms, registration)) {
        Ok(registered) => registered,
        Err(error) => {
            warn!(broker_name = header.broker_name, address = header.broker_addr, %error, "registration refused");
            return system_error("register broker failed");
        }
    };
    let (broker_name, address, id) = (header.broker_name, header.broker_addr, header.broker_id);
    if !registered.accepted {
        let state_version = version.state_version;
        info!(broker_name, address, id, state_version, "registration ignored: a higher term holds the id");
        return nothing();
    }
    debug!(broker_name, address, id, state_version = version.state_version, "broker registered");
    let response = RegisterBrokerResponse {
        ha_server_addr: registered.master.as_ref().map(|master| master.ha_address.as_str()),
        master_addr: registered.master.as_ref().map(|master| master.address.as_str()),
    };
    Ok((response.encode(), order_configuration(&call.state)))
}

fn registration(
    call: &Call,
    request: &Frame,
    header: &RegisterBrokerRequest<'_>,
) -> Result<Registration, Refusal> {
    let fields = &request.header.ext;
    let body = match request.body.is_empty() {
        true => RegisterBrokerBody::default(),
        false => RegisterBrokerBody::decode(&request.body, header.compressed, request.header.version)
            .map_err(|error| Refusal(ResponseCode::SystemError, error.to_string()))?,
    };
    let wrapper = body.topic_config_serialize_wrapper;
    let topics = wrapper.topic_config_table.into_iter().map(|(topic, config)| {
        let queues = TopicQueues {
            read_count: config.read_queue_nums,
            write_count: config.write_queue_nums,
            perm: config.perm,
            sys_flag: config.topic_sys_flag,
        };
        (topic, queues)
    });
    Ok(Registration {
        cluster: header.cluster_name.to_owned(),
        broker_name: header.broker_name.to_owned(),
        address: header.broker_addr.to_owned(),
        id: header.broker_id,
        ha_address: header.ha_server_addr.to_owned(),
        zone: fields.get(key::ZONE_NAME).map(str::to_owned),
        silence_ms: header.heartbeat_timeout_ms.and_then(|silence| u64::try_from(silence).ok()),
        acting_master: header.enable_acting_master.unwrap_or(false),
        version: wrapper.data_version,
        topics: topics.collect(),
        ours: ours::is_ours(fields),
        applied: ours::applied(fields).unwrap_or(0),
        connection: call.connection.id(),
    })
}

/// The order configuration of all topics; nothing when there is none.
fn order_configuration(state: &State) -> bytes::Bytes {
    if !state.with_config(|config| config.order_to_brokers()) {
        return bytes::Bytes::new();
    }
    let table = state.kv(|table| table.namespace(ORDER_NAMESPACE).cloned()).unwrap_or_default();
    if table.is_empty() { bytes::Bytes::new() } else { encode(&KvTable { table }) }
}

/// UNREGISTER_BROKER.
pub(super) fn unregister(call: &Call, request: &Frame) -> Reply {
    let header = BrokerRequest::decode(&request.header.ext)?;
    let from = call.connection.id();
    let (name, address) = (header.broker_name, header.broker_addr);
    call.state.change(|registry| registry.unregister(header.cluster_name, name, address, from));
    info!(broker_name = name, address, id = header.broker_id, "broker left");
    nothing()
}
