//! What there is in a queue: GET_MAX_OFFSET (30), GET_MIN_OFFSET (31), SEARCH_OFFSET_BY_TIMESTAMP (29),
//! GET_EARLIEST_MSG_STORETIME (32) on the leader, VIEW_MESSAGE_BY_ID (33) on any replica.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flotilla_core::QueueRange;
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{
    BoundaryType, OffsetResponse, QueueRequest, SearchOffsetRequest, TimestampResponse, ViewMessageRequest,
};
use flotilla_remoting::message::MessageView;
use tokio::runtime::Handle;

use super::respond::{bad_header, success, success_body};
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::views::{ConsumeQueues, QueueView, Unit};

/// Pause before another look at a view that is being rebuilt.
const REBUILD_PAUSE: Duration = Duration::from_millis(20);

/// Serves 29 to 33.
pub struct QueueHandler {
    pub group: Group,
    pub views: Arc<ConsumeQueues>,
    pub log: LogReader,
    pub dispatcher: Arc<Dispatcher>,
    pub runtime: Handle,
}

impl Handler for QueueHandler {
    fn handle(&self, call: Call) {
        match call.code() {
            RequestCode::GetMaxOffset => self.bound(call, |range| range.max),
            RequestCode::GetMinOffset => self.bound(call, |range| range.min),
            RequestCode::SearchOffsetByTimestamp => self.search(call),
            RequestCode::GetEarliestMessageStoreTime => self.earliest(call),
            _ => self.view(call),
        }
    }
}

impl QueueHandler {
    /// Unknown queues answer 0. Source: AdminBrokerProcessor.getMaxOffset 5.3.3. The end of a queue is where a new consumer
    /// begins, so it must not lie before what another replica has shown: the leader confirms itself first.
    fn bound(&self, call: Call, side: fn(QueueRange) -> i64) {
        let (group, dispatcher) = (self.group.clone(), self.dispatcher.clone());
        self.runtime.spawn(async move {
            if group.replica().read_index(call.deadline).await.is_err() {
                return dispatcher.try_again(call).await;
            }
            let offset = match QueueRequest::decode(&call.request.header.ext) {
                Ok(request) => u32::try_from(request.queue_id)
                    .ok()
                    .and_then(|queue_id| group.tables().queue(request.topic, queue_id))
                    .map_or(0, side),
                Err(error) => return bad_header(call, &error),
            };
            success(call, OffsetResponse { offset }.encode());
        });
    }

    fn search(&self, call: Call) {
        let request = match SearchOffsetRequest::decode(&call.request.header.ext) {
            Ok(request) => request,
            Err(error) => return bad_header(call, &error),
        };
        let Some(view) = self.queue(request.topic, request.queue_id) else {
            return success(call, OffsetResponse { offset: 0 }.encode());
        };
        let (time, upper) = (request.timestamp, request.boundary_type == BoundaryType::Upper);
        let log = self.log.clone();
        let found = move || search(&view, &log, time, upper);
        self.runtime.spawn_blocking(move || match patiently(call.deadline, found) {
            Ok(offset) => success(call, OffsetResponse { offset }.encode()),
            Err(error) => unreadable(call, &error),
        });
    }

    fn earliest(&self, call: Call) {
        let view = match QueueRequest::decode(&call.request.header.ext) {
            Ok(request) => self.queue(request.topic, request.queue_id),
            Err(error) => return bad_header(call, &error),
        };
        let Some(view) = view.filter(|view| view.range().min < view.range().max) else {
            return success(call, TimestampResponse { timestamp: -1 }.encode());
        };
        let log = self.log.clone();
        let found = move || store_time(&view, &log, view.range().min);
        self.runtime.spawn_blocking(move || match patiently(call.deadline, found) {
            Ok(timestamp) => success(call, TimestampResponse { timestamp }.encode()),
            Err(error) => unreadable(call, &error),
        });
    }

    /// The offset comes out of a client's message id, so anything may be asked for: the bytes there must be a message that
    /// says of itself that it lies there.
    fn view(&self, call: Call) {
        let offset = match ViewMessageRequest::decode(&call.request.header.ext) {
            Ok(request) => request.offset,
            Err(error) => return bad_header(call, &error),
        };
        let (log, dispatcher, group) = (self.log.clone(), self.dispatcher.clone(), self.group.clone());
        self.runtime.spawn_blocking(move || match message_at(&log, offset, &readable(&group)) {
            Some(bytes) => success_body(call, bytes),
            None if !group.leads() => dispatcher.to_leader(call),
            None => {
                let remark = format!("can not find message by the offset, {offset}");
                call.refuse(ResponseCode::SystemError, remark);
            }
        });
    }

    fn queue(&self, topic: &str, queue_id: i32) -> Option<Arc<QueueView>> {
        self.views.queue(topic, u32::try_from(queue_id).ok()?)
    }
}

/// Reads again while a view is being rebuilt from the log, which takes moments. Blocks.
pub fn patiently<T>(deadline: Instant, read: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match read() {
            // Gone: retention has passed it between two looks.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound)
                    && Instant::now() + REBUILD_PAUSE < deadline =>
            {
                std::thread::sleep(REBUILD_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn unreadable(call: Call, error: &io::Error) {
    call.refuse(ResponseCode::SystemError, format!("stored message can't be read: {error}"));
}

/// Positions between which messages can be read: what is applied is committed for certain, and what retention has given up
/// is gone on all replicas at once, whatever their files still hold.
pub fn readable(group: &Group) -> Range<u64> {
    let tables = group.tables();
    tables.minimum_position()..tables.applied().end_position
}

/// A stored message by its commit-log offset, when there is one in the range. May read the disk.
pub fn message_at(log: &LogReader, offset: i64, range: &Range<u64>) -> Option<Bytes> {
    const SIZE_FIELD: u32 = 4;
    let position = u64::try_from(offset).ok().filter(|position| *position >= range.start)?;
    let head = log.read(position, SIZE_FIELD).ok()?;
    let size = u32::from_be_bytes(head[..].try_into().ok()?);
    if position.checked_add(u64::from(size))? > range.end {
        return None;
    }
    let bytes = log.read(position, size).ok()?;
    let (view, rest) = MessageView::parse(&bytes).ok()?;
    let itself = rest.is_empty() && view.physical_offset() == offset;
    itself.then(|| bytes.clone())
}

/// `lower`: first offset whose store time is not before the time, the queue's end when all are. `upper`: last offset whose
/// store time is not after it. Store times never fall along the log, so a binary search finds both.
pub fn search(view: &QueueView, log: &LogReader, time: i64, upper: bool) -> io::Result<i64> {
    let QueueRange { min, max } = view.range();
    let (mut low, mut high) = (min, max);
    while low < high {
        let middle = low + (high - low) / 2;
        let stored = store_time(view, log, middle)?;
        let goes_right = if upper { stored <= time } else { stored < time };
        if goes_right {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(if upper && low > min { low - 1 } else { low })
}

/// Store time of the message with this number, ms since 1970. May read the disk.
pub fn store_time(view: &QueueView, log: &LogReader, offset: i64) -> io::Result<i64> {
    let mut units: Vec<Unit> = Vec::with_capacity(1);
    view.units(offset, 1, &mut units)?;
    let unit = units.first().ok_or(io::ErrorKind::NotFound)?;
    let position = u64::try_from(unit.physical_offset).map_err(|_| io::ErrorKind::InvalidData)?;
    let bytes = log.read(position, unit.size)?;
    let (message, _) = MessageView::parse(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(message.store_timestamp())
}
