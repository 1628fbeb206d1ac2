//! Consumer groups and subscriptions between the tables and the bodies that tools read and write.

use std::sync::Arc;

use flotilla_core::{
    ConsumeFrom, ConsumeType as CoreConsumeType, GroupConfig, MessageModel as CoreMessageModel, RetryPolicy,
    SimpleSubscription, Subscription,
};
use flotilla_remoting::bodies::{
    ConsumeFromWhere, ConsumeType, CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy,
    GroupRetryPolicyType, MessageModel, SimpleSubscriptionData, SubscriptionData, SubscriptionGroupConfig,
};
use flotilla_remoting::message::tags::TagExpression;

/// A group as tools read it.
pub fn wire_group(group: &GroupConfig) -> SubscriptionGroupConfig {
    let subscriptions = group.subscriptions.iter().map(|subscription| SimpleSubscriptionData {
        expression: subscription.expression.clone(),
        expression_type: subscription.expression_type.clone(),
        topic: subscription.topic.clone(),
        version: subscription.version,
    });
    SubscriptionGroupConfig {
        attributes: group.attributes.clone(),
        broker_id: group.broker_id,
        consume_broadcast_enable: group.consume_broadcast_enable,
        consume_enable: group.consume_enable,
        consume_from_min_enable: group.consume_from_min_enable,
        consume_message_orderly: group.consume_message_orderly,
        consume_timeout_minute: group.consume_timeout_minutes,
        group_name: group.name.to_string(),
        group_retry_policy: wire_policy(&group.retry_policy),
        group_sys_flag: group.sys_flag,
        notify_consumer_ids_changed_enable: group.notify_consumer_ids_changed_enable,
        retry_max_times: group.retry_times_max,
        retry_queue_nums: i32::try_from(group.retry_queue_count).unwrap_or(i32::MAX),
        subscription_data_set: Some(subscriptions.collect()).filter(|set: &Vec<_>| !set.is_empty()),
        which_broker_when_consume_slowly: group.which_broker_when_consume_slowly,
    }
}

/// A group as a tool describes it, with the attributes that it has after the change. Negative counts are none.
pub fn core_group(
    group: SubscriptionGroupConfig,
    attributes: std::collections::BTreeMap<String, String>,
) -> GroupConfig {
    let subscriptions = group.subscription_data_set.into_iter().flatten().map(|data| SimpleSubscription {
        topic: data.topic,
        expression_type: data.expression_type,
        expression: data.expression,
        version: data.version,
    });
    GroupConfig {
        name: Arc::from(group.group_name),
        consume_enable: group.consume_enable,
        consume_from_min_enable: group.consume_from_min_enable,
        consume_broadcast_enable: group.consume_broadcast_enable,
        consume_message_orderly: group.consume_message_orderly,
        retry_queue_count: u32::try_from(group.retry_queue_nums).unwrap_or(0),
        retry_times_max: group.retry_max_times,
        retry_policy: core_policy(group.group_retry_policy),
        broker_id: group.broker_id,
        which_broker_when_consume_slowly: group.which_broker_when_consume_slowly,
        notify_consumer_ids_changed_enable: group.notify_consumer_ids_changed_enable,
        sys_flag: group.group_sys_flag,
        consume_timeout_minutes: group.consume_timeout_minute,
        subscriptions: subscriptions.collect(),
        attributes,
    }
}

fn wire_policy(policy: &RetryPolicy) -> GroupRetryPolicy {
    match policy {
        RetryPolicy::Customized { next_ms } => GroupRetryPolicy {
            customized_retry_policy: next_ms.clone().map(|next| CustomizedRetryPolicy { next }),
            ..GroupRetryPolicy::default()
        },
        RetryPolicy::Exponential { initial_ms, max_ms, multiplier } => GroupRetryPolicy {
            exponential_retry_policy: Some(ExponentialRetryPolicy {
                initial: *initial_ms,
                max: *max_ms,
                multiplier: *multiplier,
            }),
            policy_type: GroupRetryPolicyType::Exponential,
            ..GroupRetryPolicy::default()
        },
    }
}

/// An exponential policy without numbers takes those of RocketMQ. Source: ExponentialRetryPolicy 5.3.3.
fn core_policy(policy: GroupRetryPolicy) -> RetryPolicy {
    match policy.policy_type {
        GroupRetryPolicyType::Customized => {
            RetryPolicy::Customized { next_ms: policy.customized_retry_policy.map(|policy| policy.next) }
        }
        GroupRetryPolicyType::Exponential => {
            let numbers = policy.exponential_retry_policy;
            let numbers =
                numbers.unwrap_or(ExponentialRetryPolicy { initial: 5_000, max: 7_200_000, multiplier: 2 });
            RetryPolicy::Exponential {
                initial_ms: numbers.initial,
                max_ms: numbers.max,
                multiplier: numbers.multiplier,
            }
        }
    }
}

/// A subscription as clients write it, with tags and codes derived from the expression.
pub fn wire_subscription(subscription: &Subscription) -> SubscriptionData {
    let tags = match TagExpression::parse(Some(&subscription.expression)) {
        Ok(TagExpression::Tags(tags)) if subscription.is_tag() => tags,
        Ok(TagExpression::Tags(_) | TagExpression::All) | Err(_) => Vec::new(),
    };
    SubscriptionData {
        class_filter_mode: subscription.class_filter_mode,
        code_set: tags.iter().map(|tag| flotilla_remoting::message::tags::java_hash(tag)).collect(),
        expression_type: Some(subscription.expression_type.to_string()),
        sub_string: subscription.expression.to_string(),
        sub_version: subscription.version,
        tags_set: tags,
        topic: subscription.topic.to_string(),
    }
}

/// How a group gets messages, in the words of the bodies.
pub fn wire_consume_type(value: CoreConsumeType) -> ConsumeType {
    ConsumeType::from_name(value.as_str()).unwrap_or_default()
}

/// Who gets a message, in the words of the bodies.
pub fn wire_message_model(value: CoreMessageModel) -> MessageModel {
    MessageModel::from_name(value.as_str()).unwrap_or_default()
}

/// Where a group starts, in the words of the bodies.
pub fn wire_consume_from(value: ConsumeFrom) -> ConsumeFromWhere {
    ConsumeFromWhere::from_name(value.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_reads_back_as_it_was_written() {
        let policies = [
            RetryPolicy::Customized { next_ms: None },
            RetryPolicy::Customized { next_ms: Some(vec![1000, 5000]) },
            RetryPolicy::Exponential { initial_ms: 1, max_ms: 2, multiplier: 3 },
        ];
        for retry_policy in policies {
            let group = GroupConfig {
                consume_enable: false,
                consume_message_orderly: true,
                retry_queue_count: 3,
                retry_times_max: -1,
                retry_policy,
                sys_flag: 2,
                subscriptions: vec![SimpleSubscription {
                    topic: "t".into(),
                    expression_type: "TAG".into(),
                    expression: "*".into(),
                    version: 4,
                }],
                ..GroupConfig::new("g")
            };
            assert_eq!(core_group(wire_group(&group), group.attributes.clone()), group);
        }
    }

    #[test]
    fn an_exponential_policy_without_numbers_has_the_usual_ones() {
        let wire = SubscriptionGroupConfig {
            group_name: "g".into(),
            group_retry_policy: GroupRetryPolicy {
                policy_type: GroupRetryPolicyType::Exponential,
                ..GroupRetryPolicy::default()
            },
            ..SubscriptionGroupConfig::default()
        };
        assert_eq!(
            core_group(wire, std::collections::BTreeMap::new()).retry_policy,
            RetryPolicy::Exponential { initial_ms: 5_000, max_ms: 7_200_000, multiplier: 2 }
        );
    }

    #[test]
    fn tags_of_a_subscription_are_derived_from_its_expression() {
        let subscription = |expression: &str, kind: &str| Subscription {
            topic: "t".into(),
            expression: expression.into(),
            expression_type: kind.into(),
            version: 1,
            class_filter_mode: false,
        };
        let tagged = wire_subscription(&subscription("TagA || TagB", "TAG"));
        assert_eq!(tagged.tags_set, ["TagA", "TagB"]);
        assert_eq!(tagged.code_set, [2_598_919, 2_598_920]);
        assert!(wire_subscription(&subscription("*", "TAG")).tags_set.is_empty());
        assert!(wire_subscription(&subscription("a > 1 || b", "SQL92")).tags_set.is_empty());
    }
}
