//! Requests of ours that wait for their answer, by opaque.
//!
//! Bounded. Each slot is resolved exactly once: by the answer, by its deadline, or by the end of the connection,
//! whichever comes first; the callback runs outside the lock.

use std::collections::HashMap;
use std::time::Duration;

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
    /// This side waits no longer, see `Connection::give_up`. The other side may have done, or may yet do, what was asked.
    #[error("no answer, and none is waited for any more")]
    GivenUp,
}

/// When an answer is to be expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// As soon as the other side can.
    Soon,
    /// When the other side has something to tell, or the time given in the request is over: it is silent until then.
    Held,
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
    started: Instant,
    deadline: Instant,
    expected: Expected,
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
        timeout: Duration,
        expected: Expected,
        callback: Callback,
    ) -> Result<(i32, bool), (RequestError, Callback)> {
        let started = Instant::now();
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
        table.slots.insert(opaque, Slot { started, deadline: started + timeout, expected, callback });
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
        self.resolve_if(|slot| slot.deadline <= now, &RequestError::Timeout);
    }

    /// Resolves the requests that were sent at this time or before; gives their number.
    pub(crate) fn give_up(&self, sent_by: Instant) -> usize {
        self.resolve_if(|slot| slot.started <= sent_by, &RequestError::GivenUp)
    }

    fn resolve_if(&self, mut over: impl FnMut(&Slot) -> bool, error: &RequestError) -> usize {
        let slots: Vec<Slot> = {
            let mut table = self.table.lock();
            table.slots.extract_if(|_, slot| over(slot)).map(|(_, slot)| slot).collect()
        };
        let count = slots.len();
        for slot in slots {
            (slot.callback)(Err(error.clone()));
        }
        count
    }

    /// When the oldest request of a kind was sent.
    pub(crate) fn oldest(&self, expected: Expected) -> Option<Instant> {
        let table = self.table.lock();
        table.slots.values().filter(|slot| slot.expected == expected).map(|slot| slot.started).min()
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
