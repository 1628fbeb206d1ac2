//! What the duty needs of its node.

use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_core::Tables;
use flotilla_raft_store::log::LogReader;
use flotilla_raft_store::raft::ProposeError;
use flotilla_remoting::names::SCHEDULE_TOPIC;
use parking_lot::RwLockReadGuard;

use crate::group::Group;
use crate::group::encoder::Encoder;
use crate::group::machine::EntryAnswer;
use crate::views::ConsumeQueues;

/// Takes a stored message and its number in the queue.
pub type Visit<'a> = dyn FnMut(i64, &Bytes) -> io::Result<ControlFlow<()>> + 'a;

/// The node as the duty sees it. A test brings its own, with a clock of its own.
pub trait Ground: Send + Sync + 'static {
    /// The applied state. Held for moments only: apply waits for it.
    fn tables(&self) -> RwLockReadGuard<'_, Tables>;

    /// Leader time; an entry that is appended later in the term has this time or a later one. `None` when the node is going.
    fn now_ms(&self) -> Option<u64>;

    fn encoder(&self) -> &Encoder;

    /// Shows the messages of a queue of the schedule topic from a number on, in order, until the visitor breaks off or the queue
    /// ends. Blocks.
    ///
    /// # Errors
    /// `WouldBlock` while the consume queue is being rebuilt; the visitor's own; whatever reading the log gives.
    fn walk(&self, queue_id: u32, from: i64, visit: &mut Visit<'_>) -> io::Result<()>;

    /// Proposes an entry in this term and no other.
    fn propose(
        &self,
        payload: Bytes,
        term: u64,
    ) -> impl Future<Output = Result<EntryAnswer, ProposeError>> + Send;
}

/// The real one.
pub struct NodeGround {
    pub group: Group,
    pub views: Arc<ConsumeQueues>,
    pub log: LogReader,
    pub encoder: Encoder,
}

/// Units taken out of the consume queue at a time.
const UNITS: usize = 256;

impl Ground for NodeGround {
    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.group.tables()
    }

    fn now_ms(&self) -> Option<u64> {
        self.group.replica().time_ms()
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn walk(&self, queue_id: u32, from: i64, visit: &mut Visit<'_>) -> io::Result<()> {
        let Some(view) = self.views.queue(SCHEDULE_TOPIC, queue_id) else { return Ok(()) };
        let (mut next, mut units) = (from, Vec::with_capacity(UNITS));
        loop {
            units.clear();
            view.units(next, UNITS, &mut units)?;
            if units.is_empty() {
                return Ok(());
            }
            for unit in &units {
                let position = u64::try_from(unit.physical_offset).map_err(|_| io::ErrorKind::InvalidData)?;
                let message = self.log.read(position, unit.size)?;
                if visit(next, &message)?.is_break() {
                    return Ok(());
                }
                next += 1;
            }
        }
    }

    async fn propose(&self, payload: Bytes, term: u64) -> Result<EntryAnswer, ProposeError> {
        self.group.propose_entry(payload, term).await
    }
}
