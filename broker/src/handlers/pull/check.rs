//! What must hold before a pull is served, in the order of RocketMQ, and how a pull is refused.

use std::sync::Arc;

use flotilla_core::MessageModel;
use flotilla_core::rules::TagFilter;
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::PullMessageRequest;
use flotilla_remoting::names;

use super::Pulls;
use crate::call::Call;
use crate::long_poll::SysFlags;
use crate::metrics::GroupMetrics;

/// What the checks found out.
pub(super) struct Checked {
    pub(super) topic: Arc<str>,
    pub(super) queue_id: u32,
    pub(super) flags: SysFlags,
    pub(super) filter: TagFilter,
    pub(super) series: Arc<GroupMetrics>,
}

/// A refused pull: the code, what is wrong, and for NO_PERMISSION (16) what forbids it.
pub(super) type Refusal = (ResponseCode, String, Option<Forbids>);

/// What forbids a pull, by the number in the header field `forbiddenType`. Source: ForbiddenType 5.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forbids {
    Broker = 1,
    Group = 2,
    Topic = 3,
    Broadcasting = 4,
    Subscription = 5,
}

fn refusal(code: ResponseCode, remark: impl Into<String>) -> Refusal {
    (code, remark.into(), None)
}

fn forbidden(what: Forbids, remark: impl Into<String>) -> Refusal {
    (ResponseCode::NoPermission, remark.into(), Some(what))
}

pub(super) fn refuse(call: Call, (code, remark, forbids): Refusal) {
    let mut response = call.request.reply(code, Some(remark));
    if let Some(what) = forbids {
        response.header.ext.insert_display("forbiddenType", what as i32);
    }
    call.reply.send(response);
}

impl Pulls {
    /// The checks of a pull, in the order of RocketMQ. Source: PullMessageProcessor 5.3.3.
    pub(super) fn check(&self, call: &Call, request: &PullMessageRequest<'_>) -> Result<Checked, Refusal> {
        let (group_name, topic_name) = (request.consumer_group, request.topic);
        names::check_group(group_name)
            .map_err(|error| refusal(ResponseCode::InvalidParameter, error.to_string()))?;
        let tables = self.group.tables();
        if !tables.settings().broker_permission.is_readable() {
            return Err(forbidden(Forbids::Broker, "the broker pulling message is forbidden"));
        }
        if call.code() == RequestCode::LitePullMessage && !self.lite_pull {
            let remark = format!("the broker[{}] for lite pull consumer is forbidden", self.host);
            return Err(refusal(ResponseCode::NoPermission, remark));
        }
        let group_config = tables.group(group_name);
        let broadcasts = match group_config {
            Some(group) if !group.consume_enable => {
                let remark = format!("subscription group no permission, {group_name}");
                return Err(forbidden(Forbids::Group, remark));
            }
            None if !tables.settings().auto_create_group => {
                let remark = format!("subscription group [{group_name}] does not exist");
                return Err(refusal(ResponseCode::SubscriptionGroupNotExist, remark));
            }
            group => group.is_none_or(|group| group.consume_broadcast_enable),
        };
        let Some(topic) = tables.topic(topic_name) else { return Err(unknown_topic(topic_name)) };
        if !topic.perm.is_readable() {
            let remark = format!("the topic[{topic_name}] pulling message is forbidden");
            return Err(forbidden(Forbids::Topic, remark));
        }
        let queue_id = match u32::try_from(request.queue_id) {
            Ok(queue_id) if queue_id < topic.read_queue_count => queue_id,
            _ => {
                let remark = format!(
                    "queueId[{}] is illegal, topic:[{topic_name}] topicConfig.readQueueNums:[{}] consumer:[{}]",
                    request.queue_id, topic.read_queue_count, group_name
                );
                return Err(refusal(ResponseCode::InvalidParameter, remark));
            }
        };
        // RocketMQ asks this only for pulls without a subscription of their own, so that it binds Java's push consumers and
        // not Go's. What an administrator forbids is forbidden.
        if tables.is_read_forbidden(group_name, topic_name) {
            let remark = format!("the consumer group[{group_name}] is forbidden for topic[{topic_name}]");
            return Err(forbidden(Forbids::Subscription, remark));
        }
        let filter = if request.flags().has_subscription() {
            filter(request.expression_type.unwrap_or("TAG"), request.subscription.unwrap_or("*"))?
        } else {
            let members = tables.members(group_name);
            let model = members.and_then(|members| members.message_model());
            if !broadcasts && model == Some(MessageModel::Broadcasting) {
                let remark = format!("the consumer group[{group_name}] can not consume by broadcast way");
                return Err(forbidden(Forbids::Broadcasting, remark));
            }
            let Some(subscription) = members.and_then(|members| members.subscription(topic_name)) else {
                let remark = format!(
                    "the consumer's subscription not exist, group: {group_name}, topic: {topic_name}"
                );
                return Err(refusal(ResponseCode::SubscriptionNotExist, remark));
            };
            filter(&subscription.expression_type, &subscription.expression)?
        };
        let series = self.series.group(topic_name, group_name);
        let flags = SysFlags { topic: topic.sys_flag, group: group_config.map_or(0, |group| group.sys_flag) };
        Ok(Checked { topic: topic.name.clone(), queue_id, flags, filter, series })
    }
}

fn filter(expression_type: &str, expression: &str) -> Result<TagFilter, Refusal> {
    if !expression_type.is_empty() && expression_type != "TAG" {
        let remark = "the broker does not support consumer to filter message by SQL92".to_owned();
        return Err(refusal(ResponseCode::SystemError, remark));
    }
    TagFilter::parse(expression).map_err(|error| {
        let remark = format!("parse the consumer's subscription failed: {error}");
        refusal(ResponseCode::SubscriptionParseFailed, remark)
    })
}

pub(super) fn unknown_topic(topic: &str) -> Refusal {
    refusal(ResponseCode::TopicNotExist, format!("topic[{topic}] not exist, apply first please!"))
}
