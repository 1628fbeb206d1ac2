//! Requests of ours that wait for their answer, by opaque.
//!
//! Bounded. Each slot is resolved exactly once: by the answer, by its deadline, or by the end of the connection,
//! whichever comes first; the callback runs outside the lock.

use std::collections::HashMap;

use flotilla_remoting::frame::Frame;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::outbox::SendError;

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// No byte of the request has left this process.
    #[error("request was not sent: {0}")]
    NotSent(Unsent),
    /// No answer in time. The other side may have done, or may yet do, what was asked.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended after the request was handed to the socket. The other side may have got it.
    #[error("connection closed before the answer")]
    Closed,
}

/// Why a request was not sent, by what its sender can do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unsent {
    /// There is no connection, or it ended before: send it elsewhere.
    #[error("{0}")]
    NoConnection(String),
    /// A bound of this side is reached, and the other side has nothing to do with it: send it later.
    #[error("{0}")]
    Busy(&'static str),
    /// No receiver would accept a frame of this size: never send it.
    #[error("{}", SendError::TooLarge)]
    TooLarge,
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Unsent {
        match error {
            SendError::Full => Unsent::Busy("the connection's write queue is full"),
            SendError::Closed => Unsent::NoConnection(error.to_string()),
            SendError::TooLarge => Unsent::TooLarge,
        }
    }
}

/// Called once with the answer or the reason why there is none; must be quick, it runs on the connection's reader.
pub type Callback = Box<dyn FnOnce(Result<Frame, RequestError>) + Send>;

struct Slot {
    deadline: Instant,
    callback: Callback,
}

#[derive(Default)]
struct Table {
    slots: HashMap<i32, Slot>,
    opaque_next: i32,
    closed: bool,
}

pub(crate) struct Pending {
    table: Mutex<Table>,
    max: usize,
}

impl Pending {
    pub(crate) fn new(max: usize) -> Pending {
        Pending { table: Mutex::new(Table::default()), max }
    }

    /// Reserves an opaque for a request, and tells whether it is the only one. Gives the callback back when there is no
    /// room or the connection has ended.
    pub(crate) fn insert(
        &self,
        deadline: Instant,
        callback: Callback,
    ) -> Result<(i32, bool), (RequestError, Callback)> {
        let mut table = self.table.lock();
        if table.closed {
            return Err((RequestError::NotSent(SendError::Closed.into()), callback));
        }
        if table.slots.len() >= self.max {
            let busy = Unsent::Busy("too many requests of the connection have no answer yet");
            return Err((RequestError::NotSent(busy), callback));
        }
        // The loop ends: fewer slots are taken than there are numbers.
        let opaque = loop {
            let opaque = table.opaque_next;
            table.opaque_next = opaque.wrapping_add(1);
            if !table.slots.contains_key(&opaque) {
                break opaque;
            }
        };
        table.slots.insert(opaque, Slot { deadline, callback });
        Ok((opaque, table.slots.len() == 1))
    }

    /// Takes the slot out, if nobody has resolved it yet.
    pub(crate) fn take(&self, opaque: i32) -> Option<Callback> {
        self.table.lock().slots.remove(&opaque).map(|slot| slot.callback)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.lock().slots.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().slots.len()
    }

    /// Resolves the requests whose deadline has passed.
    pub(crate) fn expire(&self, now: Instant) {
        let expired: Vec<Slot> = {
            let mut table = self.table.lock();
            table.slots.extract_if(|_, slot| slot.deadline <= now).map(|(_, slot)| slot).collect()
        };
        for slot in expired {
            (slot.callback)(Err(RequestError::Timeout));
        }
    }

    /// Takes no more requests.
    pub(crate) fn close(&self) {
        self.table.lock().closed = true;
    }

    /// Resolves everything that is left as closed.
    pub(crate) fn fail_all(&self) {
        let slots = std::mem::take(&mut self.table.lock().slots);
        for slot in slots.into_values() {
            (slot.callback)(Err(RequestError::Closed));
        }
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("requests", &self.len()).finish()
    }
}
