//! What a connection calls: the seam between framed TCP and the meaning of requests.

use std::sync::Arc;

use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::frame::Frame;

use crate::budget::BytesPermit;
use crate::connection::{CloseReason, Connection};

/// Takes the requests that arrive on connections.
///
/// For one connection the calls come one after another, from `connected` to `disconnected`, each exactly once. All must
/// return quickly: they run on the task that reads the socket. Answers go to `Connection::reply`, from any thread, in any
/// order.
pub trait Service: Send + Sync + 'static {
    /// A connection is open.
    fn connected(&self, connection: &Arc<Connection>) {
        let _ = connection;
    }

    /// A connection has ended; no call for it follows.
    fn disconnected(&self, connection: &Arc<Connection>, reason: &CloseReason) {
        let _ = (connection, reason);
    }

    /// One request. The permit is for `Connection::reply`; dropping it earlier gives the bytes back earlier.
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit);

    /// All whole requests that one read of the socket brought, in order.
    fn call_batch(&self, connection: &Arc<Connection>, requests: Vec<(Frame, BytesPermit)>) {
        for (request, permit) in requests {
            self.call(connection, request, permit);
        }
    }

    /// A request that found the budget of in-flight bytes used up (`OverBudget::Refuse`). Answers SYSTEM_BUSY; a service
    /// may let small vital requests through.
    fn overloaded(&self, connection: &Arc<Connection>, request: Frame) {
        if let Some(reply) = busy_reply(&request) {
            // A failure means that the connection is gone, and the refused request with it.
            let _ = connection.send(reply);
        }
    }
}

/// SYSTEM_BUSY as official servers word it when a work queue is full; `None` for a one-way request, which never gets an
/// answer. Source: RocketMQ 5.3 NettyRemotingAbstract.processRequestCommand.
pub fn busy_reply(request: &Frame) -> Option<Frame> {
    let remark = "[OVERLOAD]system busy, start flow control for a while";
    (!request.is_oneway()).then(|| request.reply(ResponseCode::SystemBusy, Some(remark.into())))
}
