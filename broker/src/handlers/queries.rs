//! QUERY_MESSAGE (12): messages by key or unique id, on any replica that has them.
//!
//! A replica that does not lead answers when it finds something, and hands the call to the leader otherwise: its own index may
//! still be behind. The leader waits until everything applied is indexed before it says that there is nothing.
// Source: RocketMQ 5.3 QueryMessageProcessor#queryMessage, IndexService#queryOffset.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_raft_store::log::LogReader;
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::{QueryMessageRequest, QueryMessageResponse};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use super::queues::{message_at, readable};
use super::respond::bad_header;
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::limits::{QUERIES_MAX, QUERY_BYTES_MAX};
use crate::metrics::{Cause, Metrics};
use crate::views::keys::{KeyAnswer, KeyIndex, KeyQuery};

/// Ext field that tells a query for a unique id. Source: RocketMQ 5.3 MixAll.UNIQUE_MSG_QUERY_FLAG.
const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";

/// Pause before another look at a file that is being rebuilt.
const REBUILD_PAUSE: Duration = Duration::from_millis(20);

/// A replica that can hand the call on waits no longer than this for its index.
const FOLLOWER_WAIT: Duration = Duration::from_millis(200);

/// The answer has to leave before whoever waits gives up.
const ANSWER_TIME: Duration = Duration::from_millis(200);

/// Serves 12.
#[derive(Clone)]
pub struct QueryHandler {
    pub inner: Arc<Queries>,
}

pub struct Queries {
    pub group: Group,
    /// Absent with `messageIndexEnable=false`: then nothing is ever found.
    pub keys: Option<Arc<KeyIndex>>,
    pub log: LogReader,
    pub dispatcher: Arc<Dispatcher>,
    pub runtime: Handle,
    pub metrics: Metrics,
    /// Messages of an answer to a query for a unique id: `defaultQueryMaxNum`.
    pub unique_max: usize,
    /// Messages of any answer: `maxMsgsNumBatch`.
    pub count_max: usize,
    pub running: Arc<Semaphore>,
}

impl Queries {
    /// Room for the queries that run at once.
    pub fn room() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(QUERIES_MAX))
    }
}

impl Handler for QueryHandler {
    fn handle(&self, call: Call) {
        if let Err(error) = QueryMessageRequest::decode(&call.request.header.ext) {
            return bad_header(call, &error);
        }
        let Ok(permit) = self.inner.running.clone().try_acquire_owned() else {
            self.inner.metrics.rejected(Cause::Busy);
            return call.refuse(ResponseCode::SystemBusy, "[OVERLOAD]system busy, too many queries run");
        };
        let inner = self.inner.clone();
        self.inner.runtime.spawn_blocking(move || inner.query(call, permit));
    }
}

/// How a look ended.
enum Outcome {
    Found(KeyAnswer),
    /// Nothing is there, as far as this replica knows.
    Nothing(KeyAnswer),
    /// The index is being built and there is no time left.
    NotYet,
    Failed(io::Error),
}

impl Queries {
    fn query(&self, call: Call, _permit: OwnedSemaphorePermit) {
        let leads = self.group.leads();
        let patience = call.deadline.checked_sub(ANSWER_TIME).unwrap_or(call.deadline);
        let until = if leads { patience } else { patience.min(Instant::now() + FOLLOWER_WAIT) };
        match self.look(&call, until) {
            Outcome::Found(answer) => found(call, answer),
            _ if !leads => self.dispatcher.to_leader(call),
            Outcome::Nothing(answer) => nothing(call, &answer),
            Outcome::NotYet => {
                call.refuse(ResponseCode::SystemBusy, "the key index is being built, try again later");
            }
            Outcome::Failed(error) => {
                error!(%error, "the key index can't be read");
                call.refuse(ResponseCode::SystemError, format!("the key index can't be read: {error}"));
            }
        }
    }

    fn look(&self, call: &Call, until: Instant) -> Outcome {
        // It has been read once already.
        let Ok(request) = QueryMessageRequest::decode(&call.request.header.ext) else {
            return Outcome::Nothing(KeyAnswer::default());
        };
        let Some(keys) = &self.keys else { return Outcome::Nothing(KeyAnswer::default()) };
        let unique = call.request.header.ext.get(UNIQUE_KEY_QUERY) == Some("true");
        let asked = if unique { self.unique_max } else { usize::try_from(request.max_num).unwrap_or(0) };
        let query = KeyQuery {
            topic: request.topic,
            key: request.key,
            begin: request.begin_timestamp,
            end: request.end_timestamp,
            count_max: asked.min(self.count_max),
            bytes_max: QUERY_BYTES_MAX,
        };
        let range = readable(&self.group);
        let mut complete = keys.wait(until);
        let read = |position: u64| message_at(&self.log, position.cast_signed(), &range);
        loop {
            match keys.find(&query, &range, &read) {
                Ok(answer) if !answer.messages.is_empty() => return Outcome::Found(answer),
                Ok(answer) if complete => return Outcome::Nothing(answer),
                Ok(_) => return Outcome::NotYet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() + REBUILD_PAUSE >= until {
                        return Outcome::NotYet;
                    }
                    std::thread::sleep(REBUILD_PAUSE);
                    complete = keys.wait(until);
                }
                Err(error) => return Outcome::Failed(error),
            }
        }
    }
}

fn header(answer: &KeyAnswer) -> QueryMessageResponse {
    QueryMessageResponse {
        index_last_update_timestamp: answer.newest.time,
        index_last_update_physical_offset: answer.newest.position.cast_signed(),
    }
}

fn found(call: Call, answer: KeyAnswer) {
    let mut response = call.request.reply(ResponseCode::Success, None);
    response.header.ext = header(&answer).encode();
    call.reply.send_parts(response, answer.messages);
}

fn nothing(call: Call, answer: &KeyAnswer) {
    let remark = "can not find message, maybe time range not correct".to_owned();
    let mut response = call.request.reply(ResponseCode::QueryNotFound, Some(remark));
    response.header.ext = header(answer).encode();
    call.reply.send(response);
}
