//! Consumer groups as administrators see and change them: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200) and its list (225),
//! GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201), GET_SUBSCRIPTIONGROUP_CONFIG (352), DELETE_SUBSCRIPTIONGROUP (207),
//! UPDATE_AND_GET_GROUP_FORBIDDEN (353).

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_core::limits::QUEUES_PER_TOPIC_MAX;
use flotilla_core::rules::{GROUP_ATTRIBUTES, change_attributes};
use flotilla_core::{Command, GroupConfig, Tables};
use flotilla_remoting::bodies::{
    self, GroupForbidden, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper,
};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{
    DeleteSubscriptionGroupRequest, GetAllSubscriptionGroupRequest, GetSubscriptionGroupConfigRequest,
    UpdateGroupForbiddenRequest,
};
use flotilla_remoting::names;
use tokio::runtime::Handle;

use super::changes::Changes;
use super::pages::{Page, page};
use super::reads::Reads;
use super::respond::{Outcome, Refusal, Success, answer, unreadable};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::registration::body::wire_version;
use crate::wire_group::{core_group, wire_group};

/// Bit of a group's forbidden topics that means reading. Source: PermName.INDEX_PERM_READ 5.3.3.
const FORBIDDEN_READ: i32 = 1 << 2;

/// Serves 201 and 352. Runs on the leader.
pub struct GroupHandler {
    pub reads: Reads,
}

impl Handler for GroupHandler {
    fn handle(&self, call: Call) {
        let group = self.reads.group.clone();
        self.reads.confirmed(call, move |call| {
            let tables = group.tables().clone();
            match call.code() {
                RequestCode::GetAllSubscriptionGroupConfig => all(&tables, call),
                _ => one(&tables, call),
            }
        });
    }
}

fn all(tables: &Tables, call: &Call) -> Outcome {
    let request = GetAllSubscriptionGroupRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let version = wire_version(tables.group_version(), 0);
    let wish = Page { from: request.group_seq, version: request.data_version, most: request.max_group_num };
    let groups = tables.groups();
    let range = page(&wish, &version, groups.len());
    let everything = range.len() == groups.len();
    let shown: BTreeMap<String, SubscriptionGroupConfig> =
        groups[range].iter().map(|group| (group.name.to_string(), wire_group(group))).collect();
    let forbidden = tables.forbidden_topics().into_iter();
    let forbidden =
        forbidden.filter(|(group, _)| everything || shown.contains_key(&***group)).map(|(group, topics)| {
            let topics = topics.iter().map(|topic| (topic.to_string(), FORBIDDEN_READ));
            (group.to_string(), topics.collect())
        });
    let body = Success::body(&SubscriptionGroupWrapper {
        data_version: version,
        forbidden_table: Some(forbidden.collect()),
        subscription_group_table: shown,
    });
    Ok(if wish.is_asked() { body.with("totalGroupNum", groups.len()) } else { body })
}

/// A group that nobody has made yet is shown as automatic creation would make it, where that is allowed.
/// Source: AdminBrokerProcessor.getSubscriptionGroup 5.3.3, whose look-up creates the group.
fn one(tables: &Tables, call: &Call) -> Outcome {
    let request = GetSubscriptionGroupConfigRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    if let Some(group) = tables.group(request.group) {
        return Ok(Success::body(&wire_group(group)));
    }
    if tables.settings().auto_create_group && names::check_group(request.group).is_ok() {
        return Ok(Success::body(&wire_group(&GroupConfig::new(request.group))));
    }
    Err((ResponseCode::SubscriptionGroupNotExist, "No group in this broker".to_owned()))
}

/// Serves 200, 207, 225 and 353. Runs on the leader.
pub struct GroupChangeHandler {
    pub changes: Arc<Changes>,
    pub runtime: Handle,
}

impl Handler for GroupChangeHandler {
    fn handle(&self, call: Call) {
        let changes = self.changes.clone();
        self.runtime.spawn(async move {
            let made = changes.make(call.deadline, |group| plan(&group.tables(), &call)).await;
            let outcome = match (made, call.code()) {
                (Ok(()), RequestCode::UpdateAndGetGroupForbidden) => {
                    forbidden(&changes.group().tables(), &call)
                }
                (made, _) => made.map(|()| Success::default()),
            };
            answer(call, outcome);
        });
    }
}

fn plan(tables: &Tables, call: &Call) -> Result<Vec<Command>, Refusal> {
    let bad_body = |error| (ResponseCode::SystemError, format!("group can't be read: {error}"));
    let ext = &call.request.header.ext;
    match call.code() {
        RequestCode::UpdateAndCreateSubscriptionGroup => {
            let group: SubscriptionGroupConfig = bodies::decode(&call.request.body).map_err(bad_body)?;
            Ok(vec![put(group, tables)?])
        }
        RequestCode::UpdateAndCreateSubscriptionGroupList => {
            let list: SubscriptionGroupList = bodies::decode(&call.request.body).map_err(bad_body)?;
            list.group_config_list.into_iter().map(|group| put(group, tables)).collect()
        }
        RequestCode::UpdateAndGetGroupForbidden => {
            let request = UpdateGroupForbiddenRequest::decode(ext).map_err(unreadable)?;
            let Some(readable) = request.readable else { return Ok(Vec::new()) };
            let invalid = |error: names::NameError| (ResponseCode::InvalidParameter, error.to_string());
            names::check_group(request.group).map_err(invalid)?;
            names::check_topic(request.topic).map_err(invalid)?;
            Ok(vec![Command::ForbidRead {
                group: Arc::from(request.group),
                topic: Arc::from(request.topic),
                forbidden: !readable,
            }])
        }
        _ => {
            let request = DeleteSubscriptionGroupRequest::decode(ext).map_err(unreadable)?;
            let group = Arc::from(request.group_name);
            Ok(vec![Command::DeleteGroup { group, clean_offsets: request.clean_offset }])
        }
    }
}

/// Source: AdminBrokerProcessor.updateAndCreateSubscriptionGroup 5.3.3, SubscriptionGroupManager.
fn put(group: SubscriptionGroupConfig, tables: &Tables) -> Result<Command, Refusal> {
    let invalid = |remark: String| (ResponseCode::InvalidParameter, remark);
    names::check_group(&group.group_name).map_err(|error| invalid(error.to_string()))?;
    if group.retry_queue_nums.cast_unsigned() > QUEUES_PER_TOPIC_MAX {
        return Err(invalid(format!("retryQueueNums {} is illegal", group.retry_queue_nums)));
    }
    let current = tables.group(&group.group_name).map(|group| &group.attributes);
    let attributes = change_attributes(GROUP_ATTRIBUTES, current, &group.attributes)
        .map_err(|error| (ResponseCode::SystemError, error.to_string()))?;
    Ok(Command::PutGroup(core_group(group, attributes)))
}

fn forbidden(tables: &Tables, call: &Call) -> Outcome {
    let request = UpdateGroupForbiddenRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let body = GroupForbidden {
        group: request.group.to_owned(),
        readable: !tables.is_read_forbidden(request.group, request.topic),
        topic: request.topic.to_owned(),
        writeable: true,
    };
    // Source: AdminBrokerProcessor.updateAndGetGroupForbidden 5.3.3, which sets an empty remark.
    Ok(Success { remark: Some(String::new()), ..Success::body(&body) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn groups_with_bad_names_or_counts_are_refused() {
        let tables = Tables::blank();
        let group = |name: &str, retry_queue_nums| SubscriptionGroupConfig {
            group_name: name.to_owned(),
            retry_queue_nums,
            ..SubscriptionGroupConfig::default()
        };
        assert!(put(group("g", 0), &tables).is_ok());
        for (name, queues) in [("", 1), ("a b", 1), ("g", -1), ("g", 70_000)] {
            let (code, _) = put(group(name, queues), &tables).unwrap_err();
            assert_eq!(code, ResponseCode::InvalidParameter, "{name} {queues}");
        }
    }

    #[test]
    fn attributes_of_groups_are_not_known() {
        let mut group =
            SubscriptionGroupConfig { group_name: "g".into(), ..SubscriptionGroupConfig::default() };
        group.attributes.insert("+any".into(), "1".into());
        let (code, remark) = put(group, &Tables::blank()).unwrap_err();
        assert_eq!((code, &*remark), (ResponseCode::SystemError, "unsupported key: any"));
    }
}
