//! A broker that serves one queue to consumers as a test says, over real sockets: it holds messages, offsets and locks, notes
//! what it was asked, and can refuse, move offsets or keep answers back.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flotilla_net::{BytesPermit, Connection, Service};
use flotilla_remoting::bodies::{
    self, ConsumerList, HeartbeatData, LockBatchRequest, LockBatchResponse, MessageQueue, ResetOffsetBody,
};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    NotifyConsumerIdsChangedRequest, OffsetResponse, PullMessageRequest, PullMessageResponse,
    ResetOffsetRequest, UpdateConsumerOffsetRequest,
};
use flotilla_remoting::message::{LayoutVersion, StoredMessage, SysFlag, encode_stored};
use flotilla_remoting::{RequestCode, ResponseCode};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use super::scripted::serve;

/// What it has and does. Queue 0 has the messages; the others are empty.
pub struct Desk {
    /// Bodies by offset.
    pub messages: BTreeMap<i64, String>,
    pub committed: BTreeMap<i32, i64>,
    /// Pulls of queue 0 at or behind this offset are told to go on at the other.
    pub moved: Option<(i64, i64)>,
    /// Pulls that find nothing are not answered.
    pub silent: bool,
    /// Nothing is answered.
    pub mute: bool,
    /// Locks are granted.
    pub grants: bool,
    /// Code for requests that are refused.
    pub refused: HashMap<RequestCode, ResponseCode>,
    /// Answers to commits are kept back.
    pub keeps_commits: bool,
    /// Members of the group besides the one that beats.
    pub others: Vec<String>,
    /// Signs of life that it gave.
    pub probed: usize,
    /// What it was asked and answered, in order; pulls not.
    pub log: Vec<String>,
    members: Vec<String>,
    connection: Option<Arc<Connection>>,
    kept: Vec<(Arc<Connection>, Frame, BytesPermit)>,
}

/// The broker.
pub struct DeskBroker {
    pub address: SocketAddr,
    desk: Arc<Counter>,
    stop: CancellationToken,
}

struct Counter(Mutex<Desk>);

impl DeskBroker {
    /// With messages of these offsets, whose bodies are the numbers.
    pub fn start(offsets: std::ops::Range<i64>) -> DeskBroker {
        let desk = Desk {
            messages: offsets.map(|offset| (offset, offset.to_string())).collect(),
            committed: BTreeMap::new(),
            moved: None,
            silent: false,
            mute: false,
            grants: true,
            refused: HashMap::new(),
            keeps_commits: false,
            others: Vec::new(),
            probed: 0,
            log: Vec::new(),
            members: Vec::new(),
            connection: None,
            kept: Vec::new(),
        };
        let desk = Arc::new(Counter(Mutex::new(desk)));
        let (address, stop) = serve(desk.clone());
        DeskBroker { address, desk, stop }
    }

    pub fn desk(&self) -> parking_lot::MutexGuard<'_, Desk> {
        self.desk.0.lock()
    }

    /// How many lines of the log begin so.
    pub fn count(&self, prefix: &str) -> usize {
        self.desk().log.iter().filter(|line| line.starts_with(prefix)).count()
    }

    /// Waits until so many lines of the log begin so.
    pub async fn until(&self, prefix: &str, count: usize) {
        super::eventually(prefix, async || {
            let seen = self.count(prefix);
            if seen >= count { Ok(()) } else { Err(format!("{seen} of {count}: {:?}", self.desk().log)) }
        })
        .await;
    }

    /// Answers the commits that were kept back, and keeps none any more.
    pub fn answer_commits(&self) {
        let mut desk = self.desk();
        desk.keeps_commits = false;
        for (connection, request, permit) in std::mem::take(&mut desk.kept) {
            let answer = desk.answer(&request);
            let _ = connection.reply(answer, permit);
        }
    }

    /// Asks the client something, over the connection of its latest heartbeat.
    pub async fn ask(&self, request: Frame) -> Frame {
        let connection = super::eventually("a heartbeat", async || {
            self.desk().connection.clone().ok_or_else(|| "none came".to_owned())
        })
        .await;
        connection.request(request, PATIENCE).await.expect("an answer")
    }

    /// Tells the consumer that members came or went.
    pub async fn members_changed(&self, group: &str) {
        let header = NotifyConsumerIdsChangedRequest { consumer_group: group };
        let code = RequestCode::NotifyConsumerIdsChanged;
        let answer = self.ask(Frame::request(code, header.encode(), Bytes::new())).await;
        assert_eq!(answer.header.response_code(), ResponseCode::Success);
    }

    /// Sets the offset of a queue and tells the consumer.
    pub async fn reset(&self, group: &str, queue: MessageQueue, offset: i64) {
        self.desk().committed.insert(queue.queue_id, offset);
        let header = ResetOffsetRequest {
            topic: &queue.topic,
            group,
            queue_id: -1,
            offset: None,
            timestamp: 0,
            is_force: true,
        };
        let code = RequestCode::ResetConsumerClientOffset;
        let body =
            bodies::encode(&ResetOffsetBody { offset_table: BTreeMap::from([(queue.clone(), offset)]) });
        let answer = self.ask(Frame::request(code, header.encode(), body)).await;
        assert_eq!(answer.header.response_code(), ResponseCode::Success);
    }
}

impl Drop for DeskBroker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A message of queue 0 as a broker stores it.
pub fn record(topic: &str, offset: i64, body: &str) -> Bytes {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let message = StoredMessage {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: SysFlag(0),
        queue_offset: offset,
        physical_offset: offset * 1_000,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties: "",
        added_properties: &[],
        layout: LayoutVersion::Auto,
        with_property_crc: false,
    };
    let mut out = BytesMut::new();
    encode_stored(&message, &mut out).expect("a message that fits");
    out.freeze()
}

impl Desk {
    fn answer(&mut self, request: &Frame) -> Frame {
        let ext = &request.header.ext;
        let queue = ext.get("queueId").and_then(|id| id.parse().ok()).unwrap_or_default();
        let code = request.header.request_code();
        if let Some(refusal) = self.refused.get(&code) {
            self.log.push(format!("refused {code}"));
            return request.reply(*refusal, Some("as the test says".into()));
        }
        let offset = |offset| request.reply_with(OffsetResponse { offset }.encode(), Bytes::new());
        match code {
            RequestCode::Heartbeat => {
                let data: HeartbeatData = bodies::decode(&request.body).expect("heartbeat");
                self.members = vec![data.client_id];
                request.reply(ResponseCode::Success, None)
            }
            RequestCode::GetConsumerListByGroup => {
                let all = self.members.iter().chain(&self.others).cloned().collect();
                let list = ConsumerList { consumer_id_list: all };
                request.reply_with(Default::default(), bodies::encode(&list))
            }
            RequestCode::QueryConsumerOffset => {
                self.log.push(format!("query {queue}"));
                match self.committed.get(&queue) {
                    Some(committed) => offset(*committed),
                    None => request.reply(ResponseCode::QueryNotFound, None),
                }
            }
            RequestCode::UpdateConsumerOffset => {
                let header = UpdateConsumerOffsetRequest::decode(ext).expect("commit");
                self.committed.insert(queue, header.commit_offset);
                self.log.push(format!("commit {queue} {}", header.commit_offset));
                request.reply(ResponseCode::Success, None)
            }
            RequestCode::GetMaxOffset | RequestCode::GetMinOffset | RequestCode::SearchOffsetByTimestamp => {
                self.log.push(format!("{code} {queue}"));
                let (first, next) = self.range(queue);
                offset(match code {
                    RequestCode::GetMinOffset => first,
                    RequestCode::GetMaxOffset => next,
                    // As if each were stored a millisecond after the one before.
                    _ => ext.get("timestamp").and_then(|time| time.parse().ok()).unwrap_or(next).min(next),
                })
            }
            RequestCode::LockBatchMq | RequestCode::UnlockBatchMq => {
                let body: LockBatchRequest = bodies::decode(&request.body).expect("queues");
                let locks = code == RequestCode::LockBatchMq;
                for queue in &body.mq_set {
                    let what = if !locks {
                        "unlock"
                    } else if self.grants {
                        "lock"
                    } else {
                        "no lock"
                    };
                    self.log.push(format!("{what} {}", queue.queue_id));
                }
                let granted = if self.grants { body.mq_set } else { Vec::new() };
                request.reply_with(
                    Default::default(),
                    bodies::encode(&LockBatchResponse { lock_ok_mq_set: granted }),
                )
            }
            RequestCode::ConsumerSendMessageBack => {
                let field = |key| ext.get(key).unwrap_or_default();
                let offset: i64 = field("offset").parse().expect("offset");
                self.log.push(format!("back {} level {}", offset / 1_000, field("delayLevel")));
                request.reply(ResponseCode::Success, None)
            }
            RequestCode::CheckClientConfig => {
                self.probed += 1;
                request.reply(ResponseCode::Success, None)
            }
            _ => request.reply(ResponseCode::Success, None),
        }
    }

    fn range(&self, queue: i32) -> (i64, i64) {
        let first = self.messages.keys().next().copied().filter(|_| queue == 0).unwrap_or(0);
        (first, self.messages.keys().next_back().filter(|_| queue == 0).map_or(0, |last| last + 1))
    }

    /// The answer to a pull; `None` when there is none.
    fn pulled(&mut self, request: &Frame) -> Option<Frame> {
        let wanted = PullMessageRequest::decode(&request.header.ext).expect("pull");
        let (min_offset, max_offset) = self.range(wanted.queue_id);
        let from = wanted.queue_offset;
        let (code, next, body) = match self.moved {
            Some((at, to)) if wanted.queue_id == 0 && from >= at && from < to => {
                self.log.push(format!("moved {from}"));
                (ResponseCode::PullOffsetMoved, to, Bytes::new())
            }
            _ if wanted.queue_id == 0 && from < max_offset => {
                let count = usize::try_from(wanted.max_message_nums).expect("a count");
                let mut out = BytesMut::new();
                let mut next = from;
                for (offset, body) in self.messages.range(from..).take(count) {
                    out.extend_from_slice(&record(wanted.topic, *offset, body));
                    next = offset + 1;
                }
                (ResponseCode::Success, next, out.freeze())
            }
            _ if self.silent => return None,
            _ => (ResponseCode::PullNotFound, from, Bytes::new()),
        };
        let header = PullMessageResponse {
            suggest_which_broker_id: 0,
            next_begin_offset: next,
            min_offset,
            max_offset,
            offset_delta: None,
            topic_sys_flag: None,
            group_sys_flag: None,
            forbidden_type: None,
        };
        let mut answer = request.reply(code, None);
        answer.header.ext = header.encode();
        answer.body = body;
        Some(answer)
    }
}

impl Service for Counter {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let mut desk = self.0.lock();
        let code = request.header.request_code();
        if desk.mute {
            desk.log.push(format!("mute {code}"));
            return;
        }
        if code == RequestCode::Heartbeat {
            desk.connection = Some(connection.clone());
        }
        let pulls = matches!(code, RequestCode::PullMessage | RequestCode::LitePullMessage);
        let answer = if code == RequestCode::UpdateConsumerOffset && desk.keeps_commits {
            desk.log.push("kept".into());
            desk.kept.push((connection.clone(), request, permit));
            return;
        } else if pulls && !desk.refused.contains_key(&code) {
            desk.pulled(&request)
        } else {
            Some(desk.answer(&request))
        };
        if let Some(answer) = answer.filter(|_| !request.is_oneway()) {
            let _ = connection.reply(answer, permit);
        }
    }
}
