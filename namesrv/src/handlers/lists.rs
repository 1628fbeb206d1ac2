//! Topic lists for tools.

use flotilla_remoting::bodies::TopicList;
use flotilla_remoting::headers::GetTopicsByClusterRequest;
use flotilla_remoting::{Frame, bodies};

use super::{Reply, body, system_error};
use crate::registry::TopicFilter;
use crate::state::State;

pub(super) const UNIT: TopicFilter<'static> = TopicFilter::Unit;
pub(super) const UNIT_SUBSCRIPTION: TopicFilter<'static> = TopicFilter::UnitSubscription;
pub(super) const UNIT_SUBSCRIPTION_NOT_UNIT: TopicFilter<'static> = TopicFilter::UnitSubscriptionNotUnit;

/// GET_ALL_TOPIC_LIST_FROM_NAMESERVER.
pub(super) fn all(state: &State) -> Reply {
    if !state.with_config(|config| config.lists_all_topics()) {
        return system_error("disable");
    }
    listed(state, TopicFilter::All)
}

/// GET_TOPICS_BY_CLUSTER.
pub(super) fn by_cluster(state: &State, request: &Frame) -> Reply {
    let cluster = GetTopicsByClusterRequest::decode(&request.header.ext)?.cluster;
    units(state, TopicFilter::Cluster(cluster))
}

/// The three lists of units, and others that the same setting switches.
pub(super) fn units(state: &State, filter: TopicFilter<'_>) -> Reply {
    if !state.with_config(|config| config.lists_topics()) {
        return system_error("disable");
    }
    listed(state, filter)
}

/// GET_SYSTEM_TOPIC_LIST_FROM_NS.
pub(super) fn system(state: &State) -> Reply {
    if !state.with_config(|config| config.lists_topics()) {
        return system_error("disable");
    }
    let (topic_list, broker_addr) = state.read(|registry| registry.system_topics());
    body(bodies::encode(&TopicList { broker_addr, topic_list }))
}

fn listed(state: &State, filter: TopicFilter<'_>) -> Reply {
    let topic_list = state.read(|registry| registry.topics(filter));
    body(bodies::encode(&TopicList { broker_addr: None, topic_list }))
}
