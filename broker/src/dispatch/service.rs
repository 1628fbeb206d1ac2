//! The client port: makes calls out of frames and tells the sessions who came and went.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use flotilla_net::{BytesPermit, CloseReason, Connection, Service};
use flotilla_remoting::code::RequestCode;
use flotilla_remoting::frame::Frame;

use super::Dispatcher;
use crate::call::{Call, Caller, Reply};
use crate::handlers::offsets::PendingOffsets;
use crate::sessions::Sessions;

/// Serves the client port.
pub struct ClientService {
    pub dispatcher: Arc<Dispatcher>,
    pub sessions: Arc<Sessions>,
    pub offsets: Arc<PendingOffsets>,
    pub traffic: Arc<Traffic>,
}

/// When clients last asked for messages or sent some: a draining node waits until they have gone elsewhere.
pub struct Traffic {
    start: Instant,
    /// Milliseconds from `start`, and one more; 0 for never. By the monotonic clock: a drain must not end, nor go on for ever, because
    /// the time of day was put right.
    last_ms: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0) }
    }
}

impl Traffic {
    fn note(&self, code: RequestCode) {
        let moving = matches!(
            code,
            RequestCode::SendMessage
                | RequestCode::SendMessageV2
                | RequestCode::SendBatchMessage
                | RequestCode::PullMessage
                | RequestCode::LitePullMessage
        );
        if moving {
            self.last_ms.store(self.since_start_ms() + 1, Ordering::Relaxed);
        }
    }

    /// Milliseconds since the last send or pull; very large when there was none.
    pub fn idle_ms(&self) -> u64 {
        match self.last_ms.load(Ordering::Relaxed) {
            0 => u64::MAX,
            last_ms => (self.since_start_ms() + 1).saturating_sub(last_ms),
        }
    }

    fn since_start_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

impl Service for ClientService {
    fn connected(&self, connection: &Arc<Connection>) {
        self.sessions.connected(connection);
    }

    fn disconnected(&self, connection: &Arc<Connection>, _reason: &CloseReason) {
        self.sessions.disconnected(connection.id());
        // What this client committed must be there when another member asks for it (FAILOVER.md 11).
        self.offsets.flush_soon();
    }

    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let code = request.header.request_code();
        self.traffic.note(code);
        let caller = Caller {
            address: connection.peer(),
            connection: Some(connection.clone()),
            client_id: None,
            forwarded_by: None,
        };
        let timer = self.dispatcher.timer(code.as_i32());
        let reply = Reply::to_client(connection.clone(), request.is_oneway(), permit, timer);
        let deadline = Instant::now() + self.dispatcher.hold(code.as_i32());
        self.dispatcher.dispatch(Call {
            request,
            caller,
            deadline,
            commit_taken: false,
            superseded: None,
            reply,
        });
    }
}
