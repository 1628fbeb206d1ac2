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
    connection: Arc<Connection>,
    route: Route,
    /// Bytes of the request, given back when the answer has left or nobody will answer.
    permit: BytesPermit,
    timer: Option<RpcTimer>,
    /// When the request came to this replica.
    since: Instant,
}

enum Route {
    /// No answer is expected.
    Oneway,
    /// Straight to the client.
    Client,
    /// Inside an envelope, to the replica that forwarded the call; the number pairs envelope and answer.
    Peer { opaque: i32 },
}

impl Reply {
    pub fn to_client(
        connection: Arc<Connection>,
        oneway: bool,
        permit: BytesPermit,
        timer: Option<RpcTimer>,
    ) -> Self {
        let route = if oneway { Route::Oneway } else { Route::Client };
        let since = timer.as_ref().map_or_else(Instant::now, RpcTimer::since);
        Self { connection, route, permit, timer, since }
    }

    pub fn to_peer(connection: Arc<Connection>, opaque: i32, permit: BytesPermit) -> Self {
        let since = Instant::now();
        Self { connection, route: Route::Peer { opaque }, permit, timer: None, since }
    }

    /// When the request came to this replica.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// True when an answer would go nowhere.
    pub fn is_oneway(&self) -> bool {
        matches!(self.route, Route::Oneway)
    }

    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// True when so much waits to be written to the caller already that reading more messages for it has to wait.
    pub fn is_crowded(&self) -> bool {
        self.connection.write_queue_bytes() > PULL_QUEUE_BYTES
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
            Route::Oneway => Ok(()),
            Route::Client => self.connection.reply_parts(response, body, self.permit),
            Route::Peer { opaque } => {
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
                self.connection.reply_parts(wire::answered(opaque), parts, self.permit)
            }
        };
    }

    fn not_proposed(self) {
        if let Route::Peer { opaque } = self.route {
            let _ = self.connection.send(wire::not_proposed(opaque));
        }
    }
}
