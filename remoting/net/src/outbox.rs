//! The write queue of one connection: bounded by bytes, filled by any thread, emptied whole by the writer.
//!
//! ```text
//! Open --finish--> Finishing --(writer has emptied it)--> Closed
//!   \------------------------- close ------------------------^
//! ```
//! A push costs one short lock, and one wake when the writer sleeps. What was never handed to the writer is known at
//! the end (`close` returns it): those frames surely did not leave.

use std::collections::VecDeque;

use bytes::Bytes;
use flotilla_remoting::frame::Frame;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::budget::BytesPermit;
use crate::limits::FRAME_SIZE_MAX;

/// A frame to be written, with what belongs to it.
#[derive(Debug)]
pub struct Outgoing {
    pub(crate) frame: Frame,
    pub(crate) parts: Vec<Bytes>,
    pub(crate) permit: Option<BytesPermit>,
}

impl Outgoing {
    /// The frame alone.
    pub fn new(frame: Frame) -> Outgoing {
        Outgoing { frame, parts: Vec::new(), permit: None }
    }

    /// Sends `parts` as the rest of the body, behind `frame.body`, without copying the large ones.
    pub fn parts(mut self, parts: Vec<Bytes>) -> Outgoing {
        self.parts = parts;
        self
    }

    /// Gives the request's permit back when this frame has left.
    pub fn permit(mut self, permit: BytesPermit) -> Outgoing {
        self.permit = Some(permit);
        self
    }

    /// Bytes of the body, all parts together.
    pub(crate) fn body_size(&self) -> usize {
        self.frame.body.len() + self.parts.iter().map(Bytes::len).sum::<usize>()
    }

    /// Bytes charged to the queue: the body exactly, the header by an estimate from above for ordinary text.
    pub(crate) fn size(&self) -> usize {
        let header = &self.frame.header;
        let ext: usize = header.ext.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
        160 + header.remark.as_ref().map_or(0, |remark| remark.len()) + ext + self.body_size()
    }
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SendError {
    /// The receiver is too slow: nothing was sent. The connection is closed now, or goes on, as its options say.
    #[error("write queue is full")]
    Full,
    /// The connection is closed, or closes after what it already holds.
    #[error("connection is closed")]
    Closed,
    /// No receiver would accept a frame of this size; nothing was sent, the connection stays open.
    #[error("frame is larger than 16 MiB")]
    TooLarge,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Open,
    Finishing,
    Closed,
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Outgoing>,
    /// Bytes queued and bytes in the writer's hands.
    bytes: usize,
    state: State,
    writer_sleeps: bool,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    bytes_max: usize,
}

/// What the writer gets.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Drained {
    /// Frames to write; `bytes` is to be reported by `written`.
    Some { bytes: usize },
    /// Everything is written and nothing more will come.
    Finished,
    /// Closed from elsewhere.
    Closed,
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize) -> Outbox {
        let queue = Queue { items: VecDeque::new(), bytes: 0, state: State::Open, writer_sleeps: false };
        Outbox { queue: Mutex::new(queue), wake: Notify::new(), bytes_max }
    }

    /// Queues all of `items`, or none of them. A batch is always taken when nothing waits, whatever its size.
    pub(crate) fn push(&self, items: impl IntoIterator<Item = Outgoing>) -> Result<(), SendError> {
        let mut queue = self.queue.lock();
        if queue.state != State::Open {
            return Err(SendError::Closed);
        }
        let (kept, bytes_before) = (queue.items.len(), queue.bytes);
        for item in items {
            let size = item.size();
            if size > FRAME_SIZE_MAX {
                queue.items.truncate(kept);
                queue.bytes = bytes_before;
                return Err(SendError::TooLarge);
            }
            queue.bytes += size;
            queue.items.push_back(item);
        }
        if queue.bytes > self.bytes_max && bytes_before > 0 {
            queue.items.truncate(kept);
            queue.bytes = bytes_before;
            return Err(SendError::Full);
        }
        if std::mem::take(&mut queue.writer_sleeps) {
            drop(queue);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Moves everything that waits into `into`, which must be empty; waits until there is something.
    pub(crate) async fn drain(&self, into: &mut VecDeque<Outgoing>) -> Drained {
        assert!(into.is_empty(), "the writer still holds frames");
        loop {
            {
                let mut queue = self.queue.lock();
                if queue.state == State::Closed {
                    return Drained::Closed;
                }
                if !queue.items.is_empty() {
                    std::mem::swap(&mut queue.items, into);
                    return Drained::Some { bytes: queue.bytes };
                }
                if queue.state == State::Finishing {
                    return Drained::Finished;
                }
                queue.writer_sleeps = true;
            }
            self.wake.notified().await;
        }
    }

    /// The writer has written what it drained.
    pub(crate) fn written(&self, bytes: usize) {
        let mut queue = self.queue.lock();
        // After `close` the count is zero already.
        queue.bytes = queue.bytes.saturating_sub(bytes);
    }

    /// Bytes that wait or are being written.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Takes nothing more; the writer ends when all is written.
    pub(crate) fn finish(&self) {
        let mut queue = self.queue.lock();
        if queue.state == State::Open {
            queue.state = State::Finishing;
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Takes nothing more. What waits stays for `take_rest`.
    pub(crate) fn close(&self) {
        self.queue.lock().state = State::Closed;
        self.wake.notify_one();
    }

    /// The frames that were never handed to the writer.
    pub(crate) fn take_rest(&self) -> VecDeque<Outgoing> {
        let mut queue = self.queue.lock();
        queue.bytes = 0;
        std::mem::take(&mut queue.items)
    }
}
