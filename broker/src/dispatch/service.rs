//! The client port: makes calls out of frames and tells the sessions who came and went.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flotilla_net::{BytesPermit, CloseReason, Connection, Service};
use flotilla_remoting::code::RequestCode;
use flotilla_remoting::frame::Frame;

use super::table::Access;
use super::under_way::UnderWay;
use super::{Dispatcher, leaving};
use crate::call::{Call, Caller, Reply};
use crate::handlers::offsets::PendingOffsets;
use crate::metrics::RpcTimer;
use crate::sessions::Sessions;

/// Serves the client port.
pub struct ClientService {
    pub dispatcher: Arc<Dispatcher>,
    pub sessions: Arc<Sessions>,
    pub offsets: Arc<PendingOffsets>,
    pub traffic: Arc<Traffic>,
    pub under_way: Arc<UnderWay>,
}

/// When clients last wanted something: a draining node waits until they have gone elsewhere. By the monotonic clock: a drain must
/// not end, nor go on for ever, because the time of day was put right.
pub struct Traffic {
    start: Instant,
    /// The last send or pull: milliseconds from `start`, and one more; 0 for never.
    moved_ms: AtomicU64,
    /// The last request to change something, in the same way.
    changed_ms: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { start: Instant::now(), moved_ms: AtomicU64::new(0), changed_ms: AtomicU64::new(0) }
    }
}

impl Traffic {
    fn note(&self, code: RequestCode, access: Option<Access>) {
        let moving = matches!(
            code,
            RequestCode::SendMessage
                | RequestCode::SendMessageV2
                | RequestCode::SendBatchMessage
                | RequestCode::PullMessage
                | RequestCode::LitePullMessage
        );
        let changing = access == Some(Access::Propose);
        let now_ms = if moving || changing { self.since_start_ms() + 1 } else { return };
        if moving {
            self.moved_ms.store(now_ms, Ordering::Relaxed);
        }
        if changing {
            self.changed_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Milliseconds since the last send or pull; very large when there was none.
    pub fn idle_ms(&self) -> u64 {
        self.since_ms(&self.moved_ms)
    }

    /// Milliseconds since anybody last wanted to change something, whatever became of it; very large when nobody did.
    pub fn unchanging_ms(&self) -> u64 {
        self.since_ms(&self.changed_ms)
    }

    fn since_ms(&self, last_ms: &AtomicU64) -> u64 {
        match last_ms.load(Ordering::Relaxed) {
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
        let row = self.dispatcher.row(code.as_i32());
        let access = row.map(|row| row.access);
        self.traffic.note(code, access);
        let begun = self.under_way.begin();
        // Who belongs to which group is told to the last. Nobody hears that a one-way request is turned away, and nobody waits for
        // it: it is done while that can be.
        let turned_away = begun.is_none() && access != Some(Access::Session) && !request.is_oneway();
        let caller = Caller {
            address: connection.peer(),
            connection: Some(connection.clone()),
            client_id: None,
            forwarded_by: None,
        };
        let timer = row.map(|row| RpcTimer::start(row.rpc.clone()));
        let reply = Reply::to_client(connection.clone(), request.is_oneway(), permit, timer, begun);
        let deadline = Instant::now() + row.map_or(Duration::ZERO, |row| row.hold);
        let call = Call { request, caller, deadline, commit_taken: false, superseded: None, reply };
        if turned_away {
            return leaving(call);
        }
        self.dispatcher.dispatch(call);
    }
}
