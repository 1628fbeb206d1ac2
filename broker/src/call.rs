//! One request on its way: what was asked, by whom, until when, and where the answer goes.
//!
//! A [`Call`] is made once, where the frame came in, and moves: to a handler, to the proposer, or to the leader.
//! Dropping it without an answer is legal only for one-way requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use flotilla_net::{BytesPermit, Connection};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::frame::Frame;
use tokio_util::sync::CancellationToken;

use crate::dispatch::under_way::Begun;
use crate::limits::PULL_QUEUE_BYTES;
use crate::metrics::RpcTimer;
use crate::peers::wire;

/// A request, its caller and the way back.
pub struct Call {
    /// The frame as it came, untouched: forwarding must not change a byte of it (signatures cover its fields).
    pub request: Frame,
    pub caller: Caller,
    /// The answer has to leave before this moment; nothing is proposed after it.
    pub deadline: Instant,
    /// The offset that a pull commits by the way has been taken: it must not be taken again when the call is tried again.
    pub commit_taken: bool,
    /// Set on calls that a later one of the same client makes pointless: cancelled, they are not tried again.
    pub superseded: Option<CancellationToken>,
    pub reply: Reply,
}

/// Who asks.
#[derive(Clone)]
pub struct Caller {
    /// The client's address as seen by the replica where it is connected.
    pub address: SocketAddr,
    /// The client's connection; absent when the call was forwarded by another replica.
    pub connection: Option<Arc<Connection>>,
    /// Client id that the connection has introduced itself with, known where the connection ends.
    pub client_id: Option<Arc<str>>,
    /// Peer index of the replica that forwarded the call.
    pub forwarded_by: Option<u64>,
}

impl Call {
    /// True when nobody wants it done any more.
    pub fn is_superseded(&self) -> bool {
        self.superseded.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    pub fn code(&self) -> RequestCode {
        self.request.header.request_code()
    }

    /// Answers with a bare code and a remark.
    pub fn refuse(self, code: ResponseCode, remark: impl Into<String>) {
        let response = self.request.reply(code, Some(remark.into()));
        self.reply.send(response);
    }

    /// Says that nothing was done here, because this replica does not lead: only ever to another replica.
    pub fn not_proposed(self) {
        self.reply.not_proposed();
    }
}

/// The way back to the caller. Each answer is given at most once.
pub struct Reply {
    route: Route,
    /// Bytes of the request, given back when the answer has left or nobody will answer.
    permit: BytesPermit,
    timer: Option<RpcTimer>,
    /// When the request came to this replica.
    since: Instant,
    /// Counts the call while a client waits for its answer.
    _begun: Option<Begun>,
}

enum Route {
    /// No answer is expected; the connection is the caller's.
    Oneway(Arc<Connection>),
    /// Straight to the client.
    Client(Arc<Connection>),
    /// Inside an envelope, to the replica that forwarded the call; the number pairs envelope and answer.
    Peer { connection: Arc<Connection>, opaque: i32 },
    /// To a part of this node that has made the call itself.
    Here(Box<dyn FnOnce(Frame) + Send + Sync>),
}

impl Reply {
    pub fn to_client(
        connection: Arc<Connection>,
        oneway: bool,
        permit: BytesPermit,
        timer: Option<RpcTimer>,
        begun: Option<Begun>,
    ) -> Self {
        let route = if oneway { Route::Oneway(connection) } else { Route::Client(connection) };
        let since = timer.as_ref().map_or_else(Instant::now, RpcTimer::since);
        Self { route, permit, timer, since, _begun: begun }
    }

    pub fn to_peer(connection: Arc<Connection>, opaque: i32, permit: BytesPermit) -> Self {
        let since = Instant::now();
        Self { route: Route::Peer { connection, opaque }, permit, timer: None, since, _begun: None }
    }

    /// The answer goes to `take`, which must be quick. It is dropped uncalled when there will be no answer.
    pub fn to_here(take: impl FnOnce(Frame) + Send + Sync + 'static) -> Self {
        let route = Route::Here(Box::new(take));
        Self { route, permit: BytesPermit::none(), timer: None, since: Instant::now(), _begun: None }
    }

    /// When the request came to this replica.
    pub fn since(&self) -> Instant {
        self.since
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.route {
            Route::Oneway(connection) | Route::Client(connection) | Route::Peer { connection, .. } => {
                Some(connection.as_ref())
            }
            Route::Here(_) => None,
        }
    }

    /// True when an answer would go nowhere.
    pub fn is_oneway(&self) -> bool {
        matches!(self.route, Route::Oneway(_))
    }

    pub fn is_closed(&self) -> bool {
        self.connection().is_some_and(Connection::is_closed)
    }

    /// True when so much waits to be written to the caller already that reading more messages for it has to wait.
    pub fn is_crowded(&self) -> bool {
        self.connection().is_some_and(|connection| connection.write_queue_bytes() > PULL_QUEUE_BYTES)
    }

    /// Gives the request's bytes back before the answer: a pull that waits for messages does no work meanwhile.
    pub fn release_bytes(&mut self) {
        self.permit = BytesPermit::none();
    }

    /// Sends the answer.
    pub fn send(self, response: Frame) {
        self.send_parts(response, Vec::new());
    }

    /// Sends the answer with a body in several pieces, which are not copied.
    pub fn send_parts(self, response: Frame, body: Vec<Bytes>) {
        if let Some(timer) = self.timer {
            timer.answered(response.header.code);
        }
        // A failure means that the connection is closed or so far behind that it was closed: nobody is left to tell.
        let _ = match self.route {
            Route::Oneway(_) => Ok(()),
            Route::Client(connection) => connection.reply_parts(response, body, self.permit),
            Route::Here(take) => {
                let mut response = response;
                if !body.is_empty() {
                    response.body = body.concat().into();
                }
                take(response);
                Ok(())
            }
            Route::Peer { connection, opaque } => {
                let mut head = BytesMut::with_capacity(512);
                let body_size =
                    if body.is_empty() { response.body.len() } else { body.iter().map(Bytes::len).sum() };
                response.encode_head_for_body(&mut head, body_size);
                let mut parts = Vec::with_capacity(body.len() + 2);
                parts.push(head.freeze());
                if body.is_empty() {
                    parts.push(response.body);
                } else {
                    parts.extend(body);
                }
                connection.reply_parts(wire::answered(opaque), parts, self.permit)
            }
        };
    }

    fn not_proposed(self) {
        if let Route::Peer { connection, opaque } = self.route {
            let _ = connection.send(wire::not_proposed(opaque));
        }
    }
}
