//! A name server and brokers that do what a test says, over real sockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flotilla_net::{BytesPermit, CloseReason, Connection, ListenOptions, Listener, Service};
use flotilla_remoting::bodies::{self, BrokerData, QueueData, TopicRouteData};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{SendMessageRequest, SendMessageResponse};
use flotilla_remoting::message::{OffsetMessageId, SysFlag};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use tokio_util::sync::CancellationToken;

/// What a broker does with a send.
#[derive(Clone, Debug)]
pub enum Act {
    /// Stores it.
    Store,
    /// Stores it and answers this code.
    StoreWith(ResponseCode),
    /// Answers this code and remark.
    Refuse(ResponseCode, &'static str),
    /// Stores it and answers after this time.
    StoreAfter(Duration),
    /// Closes the connection without an answer.
    Close,
    /// Says nothing.
    Silence,
}

/// A send as it arrived.
#[derive(Clone, Debug)]
pub struct Sent {
    pub code: RequestCode,
    pub fields: BTreeMap<String, String>,
    pub body: bytes::Bytes,
}

impl Sent {
    /// The field with this short key.
    pub fn field(&self, key: &str) -> &str {
        self.fields.get(key).map(String::as_str).unwrap_or_default()
    }
}

/// A broker: does the acts in turn, the last one for ever.
pub struct ScriptedBroker {
    pub address: SocketAddr,
    script: Arc<Script>,
    stop: CancellationToken,
}

struct Script {
    acts: Mutex<VecDeque<Act>>,
    sent: Mutex<Vec<Sent>>,
    /// Codes of the requests that are no sends.
    asked: Mutex<Vec<RequestCode>>,
    refusals: Mutex<Vec<(RequestCode, ResponseCode, &'static str)>>,
}

impl Script {
    fn next(&self) -> Act {
        let mut acts = self.acts.lock().unwrap();
        if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() }.expect("a script has an act")
    }
}

impl Service for Script {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let code = request.header.request_code();
        let is_send = matches!(
            code,
            RequestCode::SendMessageV2 | RequestCode::SendBatchMessage | RequestCode::SendReplyMessageV2
        );
        if !is_send {
            self.asked.lock().unwrap().push(code);
            let refusal = self.refusals.lock().unwrap().iter().find(|(of, ..)| *of == code).copied();
            let answer = match refusal {
                Some((_, code, remark)) => request.reply(code, Some(remark.to_owned())),
                None => request.reply(ResponseCode::Success, None),
            };
            if !request.is_oneway() {
                let _ = connection.reply(answer, permit);
            }
            return;
        }
        let fields = request.header.ext.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let number = {
            let mut sent = self.sent.lock().unwrap();
            sent.push(Sent { code, fields, body: request.body.clone() });
            sent.len() as i64 - 1
        };
        let answer = match self.next() {
            Act::Store => stored(&request, ResponseCode::Success, number),
            Act::StoreWith(code) => stored(&request, code, number),
            Act::Refuse(code, remark) => request.reply(code, Some(remark.to_owned())),
            Act::StoreAfter(time) => {
                let (connection, answer) =
                    (connection.clone(), stored(&request, ResponseCode::Success, number));
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    let _ = connection.reply(answer, permit);
                });
                return;
            }
            Act::Close => return connection.close(CloseReason::Requested("script".into())),
            Act::Silence => return,
        };
        if !request.is_oneway() {
            let _ = connection.reply(answer, permit);
        }
    }
}

fn stored(request: &Frame, code: ResponseCode, number: i64) -> Frame {
    let header = SendMessageRequest::decode_short(&request.header.ext).expect("header");
    let count = flotilla_remoting::message::batch::records(&request.body).count();
    let ids: Vec<String> = if header.sys_flag & SysFlag::TRANSACTION_PREPARED != 0 {
        let host = "127.0.0.1:10911".parse().expect("address");
        vec![OffsetMessageId { host, physical_offset: number }.to_string()]
    } else {
        (0..if header.batch { count } else { 1 }).map(|n| format!("{number}-{n}")).collect()
    };
    let answer = SendMessageResponse {
        message_id: &ids.join(","),
        queue_id: header.queue_id,
        queue_offset: number,
        transaction_id: None,
        batch_unique_id: None,
        recall_handle: None,
    };
    let mut frame = request.reply(code, None);
    frame.header.ext = answer.encode();
    frame
}

impl ScriptedBroker {
    pub fn start(acts: impl Into<VecDeque<Act>>) -> ScriptedBroker {
        let script = Arc::new(Script {
            acts: Mutex::new(acts.into()),
            sent: Mutex::default(),
            asked: Mutex::default(),
            refusals: Mutex::default(),
        });
        let (address, stop) = serve(script.clone());
        ScriptedBroker { address, script, stop }
    }

    /// The sends so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.script.sent.lock().unwrap().clone()
    }

    /// How often it was asked something that is no send.
    pub fn asked(&self, code: RequestCode) -> usize {
        self.script.asked.lock().unwrap().iter().filter(|asked| **asked == code).count()
    }

    /// Refuses requests of this code, which are no sends.
    pub fn refuse(&self, code: RequestCode, answer: ResponseCode, remark: &'static str) {
        self.script.refusals.lock().unwrap().push((code, answer, remark));
    }

    /// What it does from now on.
    pub fn then(&self, acts: impl Into<VecDeque<Act>>) {
        *self.script.acts.lock().unwrap() = acts.into();
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A name server whose answers a test sets.
pub struct ScriptedNameServer {
    pub address: SocketAddr,
    routes: Arc<Routes>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Routes {
    table: Mutex<BTreeMap<String, TopicRouteData>>,
    asked: Mutex<BTreeMap<String, usize>>,
    /// Topics whose next question ends the connection.
    closing: Mutex<Vec<String>>,
}

impl Service for Routes {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let topic = request.header.ext.get("topic").unwrap_or_default().to_owned();
        *self.asked.lock().unwrap().entry(topic.clone()).or_default() += 1;
        let closing = {
            let mut closing = self.closing.lock().unwrap();
            let at = closing.iter().position(|of| *of == topic);
            at.map(|at| closing.remove(at)).is_some()
        };
        if closing {
            return connection.close(CloseReason::Requested("script".into()));
        }
        let answer = match self.table.lock().unwrap().get(&topic) {
            Some(route) => request.reply_with(ExtFields::new(), bodies::encode(route)),
            None => request.reply(ResponseCode::TopicNotExist, Some("no route".into())),
        };
        let _ = connection.reply(answer, permit);
    }
}

impl ScriptedNameServer {
    pub fn start() -> ScriptedNameServer {
        let routes = Arc::new(Routes::default());
        let (address, stop) = serve(routes.clone());
        ScriptedNameServer { address, routes, stop }
    }

    /// Sets the route of a topic: per broker name its addresses, the leader's first, with two queues each.
    pub fn route(&self, topic: &str, brokers: &[(&str, &[SocketAddr])]) {
        let data = TopicRouteData {
            broker_datas: brokers
                .iter()
                .map(|(name, addresses)| BrokerData {
                    broker_name: (*name).to_owned(),
                    broker_addrs: (0..).zip(addresses.iter().map(SocketAddr::to_string)).collect(),
                    ..BrokerData::default()
                })
                .collect(),
            queue_datas: brokers
                .iter()
                .map(|(name, _)| QueueData {
                    broker_name: (*name).to_owned(),
                    read_queue_nums: 2,
                    write_queue_nums: 2,
                    perm: 6,
                    topic_sys_flag: 0,
                })
                .collect(),
            ..TopicRouteData::default()
        };
        self.routes.table.lock().unwrap().insert(topic.to_owned(), data);
    }

    /// Closes the connection of the next one who asks for a topic.
    pub fn close_once(&self, topic: &str) {
        self.routes.closing.lock().unwrap().push(topic.to_owned());
    }

    /// How often it was asked for a topic.
    pub fn asked(&self, topic: &str) -> usize {
        self.routes.asked.lock().unwrap().get(topic).copied().unwrap_or_default()
    }
}

impl Drop for ScriptedNameServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves at a port of the system's choice, until the token is cancelled.
pub fn serve(service: Arc<dyn Service>) -> (SocketAddr, CancellationToken) {
    let any = "127.0.0.1:0".parse().expect("address");
    let listener = Listener::bind(any, ListenOptions::default()).expect("port");
    let (address, stop) = (listener.local_addr(), CancellationToken::new());
    // Ends with its token.
    drop(listener.serve(service, stop.clone()));
    (address, stop)
}

/// An address where connections open and nobody says anything, as long as the listener lives.
pub fn silent() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    listener.local_addr().expect("address")
}
