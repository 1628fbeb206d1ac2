//! Consumer groups: members, offsets, lag.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Serialize;

use super::Source;
use super::extract::Name;
use super::page::{Listed, Page, PageQuery};
use super::problem::Problem;
use super::source::{ConsumerGroup, ConsumerGroupDetail, GroupMember, QueueOffset, Subscription};

#[derive(Serialize)]
pub(super) struct GroupSummary {
    name: String,
    members: usize,
    topics: Vec<String>,
}

impl From<ConsumerGroup> for GroupSummary {
    fn from(group: ConsumerGroup) -> Self {
        Self { name: group.name, members: group.member_count, topics: group.topics }
    }
}

#[derive(Serialize)]
pub(super) struct GroupView {
    name: String,
    message_model: Option<&'static str>,
    consume_type: Option<&'static str>,
    /// Sum over the queues that the group has offsets in.
    lag: u64,
    members: Vec<MemberView>,
    queues: Vec<OffsetView>,
}

#[derive(Serialize)]
struct MemberView {
    client_id: String,
    language: String,
    version: i32,
    subscriptions: Vec<SubscriptionView>,
}

#[derive(Serialize)]
struct SubscriptionView {
    topic: String,
    expression: String,
    expression_type: String,
}

#[derive(Serialize)]
struct OffsetView {
    topic: String,
    queue: u32,
    min_offset: u64,
    max_offset: u64,
    committed: Option<u64>,
    lag: Option<u64>,
}

impl From<ConsumerGroupDetail> for GroupView {
    fn from(group: ConsumerGroupDetail) -> Self {
        Self {
            lag: group.offsets.iter().filter_map(QueueOffset::lag).sum(),
            name: group.name,
            message_model: group.message_model,
            consume_type: group.consume_type,
            members: group.members.into_iter().map(MemberView::from).collect(),
            queues: group.offsets.into_iter().map(OffsetView::from).collect(),
        }
    }
}

impl From<GroupMember> for MemberView {
    fn from(member: GroupMember) -> Self {
        Self {
            client_id: member.client_id,
            language: member.language,
            version: member.version,
            subscriptions: member.subscriptions.into_iter().map(SubscriptionView::from).collect(),
        }
    }
}

impl From<Subscription> for SubscriptionView {
    fn from(subscription: Subscription) -> Self {
        Self {
            topic: subscription.topic,
            expression: subscription.expression,
            expression_type: subscription.expression_type,
        }
    }
}

impl From<QueueOffset> for OffsetView {
    fn from(offset: QueueOffset) -> Self {
        Self {
            lag: offset.lag(),
            topic: offset.topic,
            queue: offset.queue,
            min_offset: offset.min_offset,
            max_offset: offset.max_offset,
            committed: offset.committed,
        }
    }
}

pub(super) async fn list(
    State(source): State<Source>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Listed<GroupSummary>>, Problem> {
    let page = Page::of(query)?;
    let groups = source.consumer_groups(&page.after, page.limit + 1).await?;
    Ok(Json(page.list(groups, |group| &group.name, GroupSummary::from)))
}

pub(super) async fn one(State(source): State<Source>, Name(group): Name) -> Result<Json<GroupView>, Problem> {
    let found = source.consumer_group(&group).await?;
    let missing = || Problem::not_found(format!("there is no consumer group {group}"));
    found.map(|group| Json(group.into())).ok_or_else(missing)
}
