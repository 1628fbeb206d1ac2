//! A name server and broker in one that acks every message and keeps none: what a load tool must notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use flotilla_net::{BytesPermit, Connection, ListenOptions, Listener, Service};
use flotilla_remoting::bodies::{
    self, BrokerData, ClusterInfo, MessageQueue, QueueData, TopicOffset, TopicRouteData, TopicStatsTable,
};
use flotilla_remoting::headers::{OffsetResponse, SendMessageRequest, SendMessageResponse};
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};
use tokio_util::sync::CancellationToken;

const NAME: &str = "forgetful";
const QUEUES: i32 = 2;

/// The server; it ends with this.
pub struct Forgetful {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Forgetful {
    /// Starts it on a free port.
    pub fn start() -> anyhow::Result<Forgetful> {
        let listener = Listener::bind("127.0.0.1:0".parse()?, ListenOptions::default())?;
        let (address, stop) = (listener.local_addr(), CancellationToken::new());
        // Ends with its token.
        drop(listener.serve(Arc::new(Answers { address, acked: AtomicI64::new(0) }), stop.clone()));
        Ok(Forgetful { address, stop })
    }

    /// Address of name server and broker.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Answers {
    address: SocketAddr,
    acked: AtomicI64,
}

impl Service for Answers {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        if request.is_oneway() {
            return;
        }
        let topic = || request.header.ext.get("topic").unwrap_or_default();
        let body = |body: Bytes| request.reply_with(ExtFields::new(), body);
        let answer = match request.header.request_code() {
            // Held, as one is that waits for a message.
            RequestCode::PullMessage | RequestCode::LitePullMessage => return,
            RequestCode::GetRouteInfoByTopic => body(bodies::encode(&self.route())),
            RequestCode::GetBrokerClusterInfo => body(bodies::encode(&self.cluster())),
            RequestCode::GetTopicStatsInfo => body(bodies::encode(&empty(topic()))),
            RequestCode::GetMaxOffset | RequestCode::GetMinOffset => {
                request.reply_with(OffsetResponse { offset: 0 }.encode(), Bytes::new())
            }
            RequestCode::QueryConsumerOffset => request.reply(ResponseCode::QueryNotFound, None),
            RequestCode::SendMessageV2 => self.ack(&request),
            _ => request.reply(ResponseCode::Success, None),
        };
        // A client that has gone needs no answer.
        let _ = connection.reply(answer, permit);
    }
}

impl Answers {
    fn broker(&self) -> BrokerData {
        BrokerData {
            broker_name: NAME.to_owned(),
            cluster: NAME.to_owned(),
            broker_addrs: [(0, self.address.to_string())].into(),
            ..BrokerData::default()
        }
    }

    /// Every topic exists.
    fn route(&self) -> TopicRouteData {
        let queues = QueueData {
            broker_name: NAME.to_owned(),
            read_queue_nums: QUEUES,
            write_queue_nums: QUEUES,
            perm: 6,
            topic_sys_flag: 0,
        };
        TopicRouteData {
            broker_datas: vec![self.broker()],
            queue_datas: vec![queues],
            ..TopicRouteData::default()
        }
    }

    fn cluster(&self) -> ClusterInfo {
        ClusterInfo {
            broker_addr_table: [(NAME.to_owned(), self.broker())].into(),
            cluster_addr_table: [(NAME.to_owned(), vec![NAME.to_owned()])].into(),
        }
    }

    fn ack(&self, request: &Frame) -> Frame {
        let header = SendMessageRequest::decode_short(&request.header.ext).expect("header of a send");
        let answer = SendMessageResponse {
            message_id: "",
            queue_id: header.queue_id,
            queue_offset: self.acked.fetch_add(1, Ordering::Relaxed),
            transaction_id: None,
            batch_unique_id: None,
            recall_handle: None,
        };
        request.reply_with(answer.encode(), Bytes::new())
    }
}

/// Queues without messages.
fn empty(topic: &str) -> TopicStatsTable {
    let queue = |queue_id| MessageQueue { topic: topic.to_owned(), broker_name: NAME.to_owned(), queue_id };
    let offset_table = (0..QUEUES).map(|queue_id| (queue(queue_id), TopicOffset::default())).collect();
    TopicStatsTable { offset_table, ..TopicStatsTable::default() }
}
