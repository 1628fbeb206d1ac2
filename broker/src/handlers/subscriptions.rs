//! Who consumes what: QUERY_TOPIC_CONSUME_BY_WHO (300), QUERY_TOPICS_BY_CONSUMER (343), QUERY_SUBSCRIPTION_BY_CONSUMER (345).

use flotilla_core::Tables;
use flotilla_remoting::bodies::{GroupList, QuerySubscriptionResponse, TopicList};
use flotilla_remoting::code::RequestCode;
use flotilla_remoting::headers::{GetSubscriptionGroupConfigRequest, GroupTopicRequest, TopicRequest};

use super::reads::Reads;
use super::respond::{Outcome, Success, unreadable};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::wire_group::wire_subscription;

/// Serves 300, 343 and 345. Runs on the leader.
pub struct SubscriptionHandler {
    pub reads: Reads,
    /// The address that clients use.
    pub address: String,
}

impl Handler for SubscriptionHandler {
    fn handle(&self, call: Call) {
        let (group, address) = (self.reads.group.clone(), self.address.clone());
        self.reads.confirmed(call, move |call| {
            let tables = group.tables().clone();
            match call.code() {
                RequestCode::QueryTopicConsumeByWho => groups_of_topic(&tables, call),
                RequestCode::QueryTopicsByConsumer => topics_of_group(&tables, call, address),
                _ => subscription(&tables, call),
            }
        });
    }
}

fn groups_of_topic(tables: &Tables, call: &Call) -> Outcome {
    let request = TopicRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let groups = tables.groups_of_topic(request.topic);
    Ok(Success::body(&GroupList { group_list: groups.iter().map(ToString::to_string).collect() }))
}

fn topics_of_group(tables: &Tables, call: &Call, address: String) -> Outcome {
    let request = GetSubscriptionGroupConfigRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let topics = tables.topics_of_group(request.group);
    Ok(Success::body(&TopicList {
        broker_addr: Some(address),
        topic_list: topics.map(ToString::to_string).collect(),
    }))
}

fn subscription(tables: &Tables, call: &Call) -> Outcome {
    let request = GroupTopicRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let found = tables.members(request.group).and_then(|members| members.subscription(request.topic));
    Ok(Success::body(&QuerySubscriptionResponse {
        group: request.group.to_owned(),
        subscription_data: found.map(wire_subscription),
        topic: request.topic.to_owned(),
    }))
}
