//! The read half of a connection: big reads, whole frames, one call of the service for all requests of a read.
//!
//! A frame's bytes are slices of the read buffer. Memory of half-received frames is charged to the in-flight budget as it
//! grows, never ahead of the bytes that have come, so a peer that announces 16 MiB and sends nothing costs nothing.

use std::sync::Arc;

use bytes::BytesMut;
use flotilla_remoting::frame::{Frame, FrameError, frame_size, split_frame_with_max};
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::debug;

use crate::budget::{ByteBudget, BytesPermit};
use crate::connection::{CloseReason, Connection, Surroundings};
use crate::limits::{READ_CHUNK_MAX, READ_CHUNK_MIN};
use crate::options::OverBudget;
use crate::stats::NetStats;

/// Reads until the connection ends, and says so to the service.
pub(crate) async fn run<R: AsyncRead + Unpin>(connection: Arc<Connection>, read: R, around: Surroundings) {
    around.service.connected(&connection);
    let closed = connection.closed();
    let reading = Reader { connection: &connection, around: &around, partial: around.budget.charge(0) };
    tokio::select! {
        biased;
        () = closed.cancelled() => {}
        reason = reading.run(read) => connection.close(reason),
    }
    let reason = connection.close_reason().cloned().unwrap_or(CloseReason::Bug);
    around.service.disconnected(&connection, &reason);
}

struct Reader<'a> {
    connection: &'a Arc<Connection>,
    around: &'a Surroundings,
    /// Stands for the bytes of a frame that has not come whole.
    partial: BytesPermit,
}

impl Reader<'_> {
    async fn run<R: AsyncRead + Unpin>(mut self, mut read: R) -> CloseReason {
        let mut buffer = ReadBuffer::new();
        loop {
            if self.around.options.over_budget == OverBudget::Pause {
                self.around.budget.room().await;
            }
            match read.read_buf(buffer.with_room()).await {
                Ok(0) => return CloseReason::Peer,
                Ok(count) => self.note_read(&mut buffer, count),
                Err(failure) => return CloseReason::Io(failure.to_string()),
            }
            if let Err(reason) = self.deliver(&mut buffer.bytes) {
                return reason;
            }
            self.partial.resize(buffer.bytes.len().saturating_sub(READ_CHUNK_MAX));
            if self.partial.bytes() > 0
                && is_exhausted(&self.around.budget, self.around.options.frame_size_max)
            {
                return CloseReason::OverBudget;
            }
        }
    }

    fn note_read(&self, buffer: &mut ReadBuffer, count: usize) {
        self.connection.activity.hear();
        NetStats::add(&self.around.stats.bytes_read, count as u64);
        buffer.adapt(count);
    }

    /// Hands over every whole frame, also those before a malformed one.
    fn deliver(&self, bytes: &mut BytesMut) -> Result<(), CloseReason> {
        let mut requests = Vec::new();
        let result = loop {
            match self.next_frame(bytes) {
                Ok(Some((frame, _))) if frame.is_response() => self.resolve(frame),
                Ok(Some((frame, size))) => self.admit(frame, size, &mut requests),
                Ok(None) => break Ok(()),
                Err(reason) => break Err(reason),
            }
        };
        if !requests.is_empty() {
            self.around.service.call_batch(self.connection, requests);
        }
        result
    }

    fn next_frame(&self, bytes: &mut BytesMut) -> Result<Option<(Frame, usize)>, CloseReason> {
        let malformed = |reason: FrameError| CloseReason::Malformed(reason.to_string());
        let size_max = self.around.options.frame_size_max;
        let Some(whole) = split_frame_with_max(bytes, size_max).map_err(malformed)? else {
            return Ok(None);
        };
        let size = whole.len() + 4;
        let frame = Frame::decode(whole).map_err(malformed)?;
        Ok(Some((frame, size)))
    }

    fn resolve(&self, answer: Frame) {
        match self.connection.pending.take(answer.header.opaque) {
            Some(callback) => callback(Ok(answer)),
            None => debug!(
                connection = self.connection.id(),
                opaque = answer.header.opaque,
                "answer to nothing dropped"
            ),
        }
    }

    fn admit(&self, request: Frame, size: usize, requests: &mut Vec<(Frame, BytesPermit)>) {
        let budget = &self.around.budget;
        match (budget.try_take(size), self.around.options.over_budget) {
            (Some(permit), _) => requests.push((request, permit)),
            (None, OverBudget::Pause) => requests.push((request, budget.charge(size))),
            (None, OverBudget::Refuse) => {
                NetStats::add(&self.around.stats.overloaded, 1);
                self.around.service.overloaded(self.connection, request);
            }
        }
    }
}

/// Half-received frames may use as much again as the budget, and one whole frame in any case; beyond that their
/// connections are closed.
fn is_exhausted(budget: &ByteBudget, frame_size_max: usize) -> bool {
    budget.in_use() > budget.limit().saturating_add(budget.limit().max(frame_size_max))
}

/// The buffer that reads go to; asks for more room the more each read brings, so that ten thousand quiet connections stay
/// small and a busy one needs few system calls.
struct ReadBuffer {
    bytes: BytesMut,
    chunk: usize,
    asked: usize,
}

impl ReadBuffer {
    fn new() -> ReadBuffer {
        ReadBuffer { bytes: BytesMut::new(), chunk: READ_CHUNK_MIN, asked: 0 }
    }

    fn with_room(&mut self) -> &mut BytesMut {
        if self.bytes.is_empty() && self.bytes.capacity() > 4 * self.chunk {
            self.bytes = BytesMut::new();
        }
        if self.bytes.capacity() - self.bytes.len() < self.chunk / 2 {
            // A large frame doubles the buffer with each step, so its bytes are moved a bounded number of times.
            self.bytes.reserve(self.chunk.max(self.missing().min(self.bytes.len())));
        }
        self.asked = self.bytes.capacity() - self.bytes.len();
        &mut self.bytes
    }

    /// Bytes of the frame at the front that have not come.
    fn missing(&self) -> usize {
        let size = frame_size(&self.bytes, usize::MAX).ok().flatten();
        size.map_or(0, |size| size.saturating_sub(self.bytes.len()))
    }

    fn adapt(&mut self, count: usize) {
        if count == self.asked {
            self.chunk = (self.chunk * 2).min(READ_CHUNK_MAX);
        } else if count < self.chunk / 8 {
            self.chunk = (self.chunk / 2).max(READ_CHUNK_MIN);
        }
    }
}
