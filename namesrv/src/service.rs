//! What a name server does: it answers requests, forgets connections that end, and looks for silent brokers.

use std::sync::Arc;
use std::time::Instant;

use flotilla_net::{BytesPermit, CloseReason, Connection, Outgoing, Service};
use flotilla_remoting::Frame;
use tokio_util::sync::CancellationToken;

use crate::handlers::{Answer, Call, answer};
use crate::state::State;

/// Removes silent brokers, again and again.
pub(crate) async fn scan(state: Arc<State>, stop: CancellationToken) {
    loop {
        let interval = state.with_config(|config| config.scan_interval());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => state.expire(),
        }
    }
}

/// The service of every connection.
pub(crate) struct Requests {
    pub(crate) state: Arc<State>,
}

impl Requests {
    fn serve(&self, connection: &Arc<Connection>, request: Frame) -> Option<Result<Frame, Later>> {
        let (oneway, code) = (request.is_oneway(), request.header.request_code());
        let name = code.name().unwrap_or("UNKNOWN");
        let start = Instant::now();
        let call = Call { state: self.state.clone(), connection: connection.clone() };
        match answer(&call, request) {
            Answer::Now(reply) => {
                self.state.metrics.answered(name, reply.header.code, start.elapsed());
                (!oneway).then_some(Ok(reply))
            }
            Answer::Later(reply) => Some(Err(Later { reply, name, start, oneway })),
        }
    }
}

/// An answer that waits for the disk.
struct Later {
    reply: std::pin::Pin<Box<dyn Future<Output = Frame> + Send>>,
    name: &'static str,
    start: Instant,
    oneway: bool,
}

impl Service for Requests {
    fn disconnected(&self, connection: &Arc<Connection>, _: &CloseReason) {
        self.state.connection_closed(connection);
    }

    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        self.call_batch(connection, vec![(request, permit)]);
    }

    fn call_batch(&self, connection: &Arc<Connection>, requests: Vec<(Frame, BytesPermit)>) {
        let mut replies = Vec::with_capacity(requests.len());
        for (request, permit) in requests {
            match self.serve(connection, request) {
                Some(Ok(reply)) => replies.push(Outgoing::new(reply).permit(permit)),
                Some(Err(later)) => self.answer_later(connection, later, permit),
                None => {}
            }
        }
        // A failure means that the connection is gone, and with it those who asked.
        let _ = connection.send_all(replies);
    }
}

impl Requests {
    /// Changes of settings and key-value entries are rare: a task each is fine, the permit bounds their number.
    fn answer_later(&self, connection: &Arc<Connection>, later: Later, permit: BytesPermit) {
        let (state, connection) = (self.state.clone(), connection.clone());
        tokio::spawn(async move {
            let reply = later.reply.await;
            state.metrics.answered(later.name, reply.header.code, later.start.elapsed());
            if !later.oneway {
                let _ = connection.reply(reply, permit);
            }
        });
    }
}
