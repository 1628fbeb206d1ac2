//! Topics and their queues.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Serialize;

use super::Source;
use super::extract::Name;
use super::page::{Listed, Page, PageQuery};
use super::problem::Problem;
use super::source::{Queue, Topic};

#[derive(Serialize)]
pub(super) struct TopicView {
    name: String,
    read_queues: u32,
    write_queues: u32,
    readable: bool,
    writable: bool,
    ordered: bool,
    system: bool,
}

impl From<Topic> for TopicView {
    fn from(topic: Topic) -> Self {
        Self {
            name: topic.name,
            read_queues: topic.read_queues,
            write_queues: topic.write_queues,
            readable: topic.permission & 4 != 0,
            writable: topic.permission & 2 != 0,
            ordered: topic.ordered,
            system: topic.system,
        }
    }
}

#[derive(Serialize)]
pub(super) struct QueuesView {
    topic: String,
    queues: Vec<QueueView>,
}

#[derive(Serialize)]
struct QueueView {
    queue: u32,
    min_offset: u64,
    max_offset: u64,
    messages: u64,
    last_time_ms: Option<u64>,
}

impl From<Queue> for QueueView {
    fn from(queue: Queue) -> Self {
        Self {
            queue: queue.queue,
            min_offset: queue.min_offset,
            max_offset: queue.max_offset,
            messages: queue.max_offset.saturating_sub(queue.min_offset),
            last_time_ms: queue.last_time_ms,
        }
    }
}

pub(super) async fn list(
    State(source): State<Source>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Listed<TopicView>>, Problem> {
    let page = Page::of(query)?;
    let topics = source.topics(&page.after, page.limit + 1).await?;
    Ok(Json(page.list(topics, |topic| &topic.name, TopicView::from)))
}

pub(super) async fn one(State(source): State<Source>, Name(topic): Name) -> Result<Json<TopicView>, Problem> {
    let found = source.topic(&topic).await?;
    found.map(|topic| Json(topic.into())).ok_or_else(|| missing(&topic))
}

pub(super) async fn queues(
    State(source): State<Source>,
    Name(topic): Name,
) -> Result<Json<QueuesView>, Problem> {
    let queues = source.queues(&topic).await?.ok_or_else(|| missing(&topic))?;
    Ok(Json(QueuesView { topic, queues: queues.into_iter().map(QueueView::from).collect() }))
}

fn missing(topic: &str) -> Problem {
    Problem::not_found(format!("there is no topic {topic}"))
}
