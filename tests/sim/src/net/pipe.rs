//! One direction of a connection.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use super::overheard::Overheard;
use super::{UNACKED_MAX_MS, wake};
use crate::trace::hash_of;

/// Bytes written and not yet read; beyond it the writer waits, as it does for the windows of TCP.
const WINDOW: usize = 256 << 10;

enum Parcel {
    Bytes(Bytes),
    End,
    Reset,
}

/// One direction of a connection.
pub(super) struct Pipe {
    pub(super) from: usize,
    pub(super) to: usize,
    flight: VecDeque<(u64, Parcel)>,
    ready: VecDeque<Bytes>,
    /// Bytes in flight and ready.
    held: usize,
    last_due_ms: u64,
    /// Something has arrived, and nobody could say so to the sender.
    unacknowledged: bool,
    /// Since when nothing is acknowledged of what was sent.
    stalled_since_ms: Option<u64>,
    ended: bool,
    reader: Side,
    writer: Side,
    pub(super) overheard: Overheard,
}

/// One end of a direction.
#[derive(Default)]
struct Side {
    gone: bool,
    broken: Option<io::ErrorKind>,
    waker: Option<Waker>,
}

impl Side {
    fn break_with(&mut self, kind: io::ErrorKind) {
        self.broken.get_or_insert(kind);
        wake(&mut self.waker);
    }
}

/// What came at one moment.
#[derive(Default)]
pub(super) struct Arrival {
    /// Something has come, if only the end.
    pub(super) anything: bool,
    pub(super) bytes: usize,
    pub(super) hash: u64,
    pub(super) reset: bool,
    /// The end that should have read is gone: its kernel answers with a reset.
    pub(super) to_nobody: bool,
}

impl Pipe {
    /// `forward`: from who called to who was called.
    pub(super) fn new(from: usize, to: usize, forward: bool) -> Self {
        Self {
            from,
            to,
            flight: VecDeque::new(),
            ready: VecDeque::new(),
            held: 0,
            last_due_ms: 0,
            unacknowledged: false,
            stalled_since_ms: None,
            ended: false,
            reader: Side::default(),
            writer: Side::default(),
            overheard: Overheard::new(forward),
        }
    }

    /// Nothing is under way, and the sender knows what has become of all that was.
    pub(super) fn is_settled(&self) -> bool {
        self.flight.is_empty() && !self.unacknowledged
    }

    /// Nobody holds either end any more.
    pub(super) fn is_over(&self) -> bool {
        self.reader.gone && self.writer.gone
    }

    fn drop_flight(&mut self) {
        self.flight.clear();
        self.unacknowledged = false;
        self.stalled_since_ms = None;
    }

    /// True when the sender gives up. `passes`: what is sent now arrives, and its acknowledgement too.
    pub(super) fn is_unacknowledged(&mut self, now_ms: u64, passes: bool) -> bool {
        if passes || self.is_settled() {
            self.unacknowledged = false;
            self.stalled_since_ms = None;
            return false;
        }
        now_ms - *self.stalled_since_ms.get_or_insert(now_ms) >= UNACKED_MAX_MS
    }

    /// Takes what is due to the reader. With `way_back` the sender is told.
    pub(super) fn arrive(&mut self, now_ms: u64, way_back: bool) -> Arrival {
        // Sent again by the kernel as long as nobody acknowledges it, also what was for an end that is gone.
        let to_nobody = self.unacknowledged && self.reader.gone;
        let mut arrival = Arrival { to_nobody, ..Arrival::default() };
        while self.flight.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
            let Some((_, parcel)) = self.flight.pop_front() else { break };
            arrival.anything = true;
            match parcel {
                Parcel::Bytes(_) | Parcel::End if self.reader.gone => arrival.to_nobody = true,
                Parcel::Bytes(bytes) => {
                    arrival.bytes += bytes.len();
                    arrival.hash = arrival.hash.rotate_left(7) ^ hash_of(&bytes);
                    self.ready.push_back(bytes);
                }
                Parcel::End => self.ended = true,
                Parcel::Reset => arrival.reset = true,
            }
        }
        if arrival.to_nobody {
            self.drop_flight();
        }
        if !way_back && (arrival.bytes > 0 || arrival.to_nobody) {
            // Neither an acknowledgement nor a reset comes back.
            self.unacknowledged = true;
            arrival.to_nobody = false;
        }
        wake(&mut self.reader.waker);
        arrival
    }

    /// A moment for the next parcel: none overtakes another.
    pub(super) fn due(&mut self, due_ms: u64) -> u64 {
        self.last_due_ms = self.last_due_ms.max(due_ms);
        self.last_due_ms
    }

    pub(super) fn send_end(&mut self, due_ms: u64) {
        if !self.writer.gone {
            self.writer.gone = true;
            let due_ms = self.due(due_ms);
            self.flight.push_back((due_ms, Parcel::End));
        }
    }

    pub(super) fn send_reset(&mut self, due_ms: u64) {
        if !self.writer.gone {
            self.writer.gone = true;
            let due_ms = self.due(due_ms);
            self.flight.push_back((due_ms, Parcel::Reset));
        }
    }

    pub(super) fn writer_gone_silently(&mut self) {
        self.writer.gone = true;
    }

    pub(super) fn reader_gone(&mut self) {
        self.reader.gone = true;
        self.ready.clear();
    }

    pub(super) fn break_writer(&mut self, kind: io::ErrorKind) {
        self.drop_flight();
        self.writer.break_with(kind);
    }

    pub(super) fn break_reader(&mut self, kind: io::ErrorKind) {
        self.reader.break_with(kind);
    }

    /// True when the process at the sending end has let go of it.
    pub(super) fn writer_is_gone(&self) -> bool {
        self.writer.gone
    }

    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        due_ms: u64,
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.writer.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let size = bytes.len().min(WINDOW.saturating_sub(self.held));
        if size == 0 && !bytes.is_empty() {
            self.writer.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let due_ms = self.due(due_ms);
        self.held += size;
        self.flight.push_back((due_ms, Parcel::Bytes(Bytes::copy_from_slice(&bytes[..size]))));
        Poll::Ready(Ok(size))
    }

    /// Gives up to `room` bytes; none at the end.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, room: usize) -> Poll<io::Result<Bytes>> {
        if let Some(first) = self.ready.front_mut() {
            let bytes = first.split_to(room.min(first.len()));
            if !first.has_remaining() {
                self.ready.pop_front();
            }
            self.held -= bytes.len();
            wake(&mut self.writer.waker);
            return Poll::Ready(Ok(bytes));
        }
        if let Some(kind) = self.reader.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if self.ended {
            return Poll::Ready(Ok(Bytes::new()));
        }
        self.reader.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
