//! Routes for clients, and topics that tools add and delete.

use flotilla_remoting::bodies::TopicRouteData;
use flotilla_remoting::headers::{
    DeleteTopicInNamesrvRequest, GetRouteInfoRequest, RegisterTopicRequest, key,
};
use flotilla_remoting::{Frame, ResponseCode, bodies};

use super::{Refusal, Reply, body, nothing, system_error};
use crate::registry::TopicQueues;
use crate::state::State;

/// GET_ROUTEINFO_BY_TOPIC. Quoted keys are sent whatever version asks: every official decoder takes them.
pub(super) fn route(state: &State, request: &Frame) -> Reply {
    let topic = GetRouteInfoRequest::decode(&request.header.ext)?.topic;
    if !state.is_ready() {
        return system_error("name server not ready");
    }
    let ext = &request.header.ext;
    let zone_mode = ext.get(key::ZONE_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("true"));
    let route = match ext.get(key::ZONE_NAME).filter(|_| zone_mode) {
        Some(zone) => state.route_in_zone(topic, zone),
        None => state.route(topic),
    };
    match route {
        Some(route) => body(route),
        None => {
            let remark = format!("No topic route info in name server for the topic: {topic}");
            Err(Refusal(ResponseCode::TopicNotExist, remark))
        }
    }
}

/// DELETE_TOPIC_IN_NAMESRV.
pub(super) fn delete_topic(state: &State, request: &Frame) -> Reply {
    let header = DeleteTopicInNamesrvRequest::decode(&request.header.ext)?;
    let cluster = header.cluster_name.filter(|cluster| !cluster.is_empty());
    state.change(|registry| registry.delete_topic(header.topic, cluster));
    tracing::info!(topic = header.topic, cluster, "topic deleted");
    nothing()
}

/// REGISTER_TOPIC_IN_NAMESRV.
pub(super) fn register_topic(state: &State, request: &Frame) -> Reply {
    let topic = RegisterTopicRequest::decode(&request.header.ext)?.topic;
    if request.body.is_empty() {
        return nothing();
    }
    let route: TopicRouteData = match bodies::decode(&request.body) {
        Ok(route) => route,
        Err(error) => return system_error(format!("route data: {error}")),
    };
    let brokers = route.queue_datas.into_iter().map(|queue| {
        let queues = TopicQueues {
            read_count: queue.read_queue_nums,
            write_count: queue.write_queue_nums,
            perm: queue.perm,
            sys_flag: queue.topic_sys_flag,
        };
        (queue.broker_name, queues)
    });
    match state.change(|registry| registry.register_topic(topic, &brokers.collect::<Vec<_>>())) {
        true => nothing(),
        false => system_error("too many topics"),
    }
}
