//! QUERY_CONSUME_QUEUE (321): the units of a queue, for people who look for a message.

use std::sync::Arc;

use flotilla_core::Tables;
use flotilla_core::rules::TagFilter;
use flotilla_remoting::bodies::{ConsumeQueueData, QueryConsumeQueueResponse};
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::QueryConsumeQueueRequest;

use super::queues::patiently;
use super::reads::Reads;
use super::respond::{Outcome, Success, unreadable};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::limits::QUEUE_UNITS_SHOWN_MAX;
use crate::views::ConsumeQueues;
use crate::wire_group::wire_subscription;

/// Serves 321. Runs on the leader.
pub struct ConsumeQueueHandler {
    pub reads: Reads,
    pub views: Arc<ConsumeQueues>,
}

impl Handler for ConsumeQueueHandler {
    fn handle(&self, call: Call) {
        let (group, views) = (self.reads.group.clone(), self.views.clone());
        self.reads.confirmed(call, move |call| {
            let tables = group.tables().clone();
            units(&tables, &views, call)
        });
    }
}

/// Source: AdminBrokerProcessor.queryConsumeQueue 5.3.3, its remarks too.
fn units(tables: &Tables, views: &ConsumeQueues, call: &Call) -> Outcome {
    let request = QueryConsumeQueueRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let (topic, queue_id) = (request.topic, request.queue_id);
    let queue = u32::try_from(queue_id).ok();
    let Some((queue, range)) = queue.and_then(|queue| Some((queue, tables.queue(topic, queue)?))) else {
        return Err((ResponseCode::SystemError, format!("{queue_id}@{topic} is not exist!")));
    };
    let mut body = QueryConsumeQueueResponse {
        max_queue_index: range.max,
        min_queue_index: range.min,
        ..QueryConsumeQueueResponse::default()
    };
    let mut filter = None;
    if let Some(group) = request.consumer_group {
        let subscription = tables.members(group).and_then(|members| members.subscription(topic));
        // Filter data belong to SQL expressions.
        body.filter_data = Some(match subscription {
            Some(_) => "null".to_owned(),
            None => format!("{group}@{topic} is not online!"),
        });
        filter = subscription.and_then(|subscription| TagFilter::parse(&subscription.expression).ok());
        body.subscription_data = subscription.map(wire_subscription);
    }
    if !(range.min..range.max).contains(&request.index) {
        let remark = format!("Index {} of {queue_id}@{topic} is not exist!", request.index);
        return Ok(Success { remark: Some(remark), ..Success::default() });
    }
    let count = usize::try_from(request.count).unwrap_or(0).min(QUEUE_UNITS_SHOWN_MAX);
    let mut units = Vec::new();
    if let Some(view) = views.queue(topic, queue) {
        patiently(call.deadline, || {
            let mut found = Vec::new();
            view.units(request.index, count, &mut found).map(|()| found)
        })
        .map(|found| units = found)
        .map_err(|error| (ResponseCode::SystemError, format!("consume queue can't be read: {error}")))?;
    }
    body.queue_data = units
        .into_iter()
        .map(|unit| ConsumeQueueData {
            eval: filter.as_ref().is_some_and(|filter| filter.matches(unit.tags_code)),
            physic_offset: unit.physical_offset,
            physic_size: i32::try_from(unit.size).unwrap_or(i32::MAX),
            tags_code: unit.tags_code,
            ..ConsumeQueueData::default()
        })
        .collect();
    Ok(Success::body(&body))
}
