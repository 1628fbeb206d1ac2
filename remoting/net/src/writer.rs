//! The write half of a connection: takes everything that waits and writes it in as few vectored writes as possible.
//!
//! All headers and small bodies of a batch are put together in one buffer; large bodies stay where they are and become
//! entries of their own. There is no flush per frame: bytes leave when the batch is complete.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::connection::{CloseReason, Connection};
use crate::limits::{BODY_COPY_MAX, WRITE_SLICES_MAX};
use crate::outbox::{Drained, Outgoing};
use crate::stats::NetStats;

/// Writes until the connection ends.
pub(crate) async fn run<W: AsyncWrite + Unpin>(
    connection: Arc<Connection>,
    mut write: W,
    stats: Arc<NetStats>,
) {
    let closed = connection.closed();
    tokio::select! {
        biased;
        () = closed.cancelled() => {}
        reason = write_all(&connection, &mut write, &stats) => connection.close(reason),
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    connection: &Connection,
    write: &mut W,
    stats: &NetStats,
) -> CloseReason {
    let mut frames = VecDeque::new();
    let mut batch = Batch::default();
    loop {
        let bytes = match connection.outbox.drain(&mut frames).await {
            Drained::Some { bytes } => bytes,
            Drained::Finished => {
                // The peer sees the end of the stream behind the last frame. Failing means that it is gone already.
                let _ = write.shutdown().await;
                return CloseReason::Requested("finished".into());
            }
            Drained::Closed => return CloseReason::Requested("closed".into()),
        };
        for frame in &frames {
            batch.add(frame);
        }
        match write_batch(connection, write, &mut batch).await {
            Ok(count) => NetStats::add(&stats.bytes_written, count),
            Err(failure) => return CloseReason::Io(failure.to_string()),
        }
        // Gives the permits back: the replies have left.
        frames.clear();
        connection.outbox.written(bytes);
    }
}

async fn write_batch<W: AsyncWrite + Unpin>(
    connection: &Connection,
    write: &mut W,
    batch: &mut Batch,
) -> io::Result<u64> {
    let mut total = 0;
    batch.close_head();
    while !batch.pieces.is_empty() {
        let count = {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
            let mut used = 0;
            for (slice, piece) in slices.iter_mut().zip(&batch.pieces) {
                *slice = IoSlice::new(piece);
                used += 1;
            }
            write.write_vectored(&slices[..used]).await?
        };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        connection.activity.touch();
        batch.advance(count);
        total += count as u64;
    }
    Ok(total)
}

/// The bytes of many frames, in order.
#[derive(Default)]
struct Batch {
    head: BytesMut,
    pieces: VecDeque<Bytes>,
}

impl Batch {
    fn add(&mut self, outgoing: &Outgoing) {
        outgoing.frame.encode_head_for_body(&mut self.head, outgoing.body_size());
        self.add_body(&outgoing.frame.body);
        for part in &outgoing.parts {
            self.add_body(part);
        }
    }

    fn add_body(&mut self, body: &Bytes) {
        if body.len() <= BODY_COPY_MAX {
            self.head.put_slice(body);
        } else {
            self.close_head();
            self.pieces.push_back(body.clone());
        }
    }

    fn close_head(&mut self) {
        if !self.head.is_empty() {
            self.pieces.push_back(self.head.split().freeze());
        }
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let piece = self.pieces.front_mut().expect("the socket took more bytes than it was given");
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }
}
