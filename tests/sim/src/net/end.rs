//! One end of a connection, as a process holds it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use flotilla_raft_store::net::{Duplex, Reads, Writes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Wires;

/// Both directions.
pub(super) struct End {
    reader: Reader,
    writer: Writer,
}

struct Reader {
    wires: Wires,
    pipe: u64,
}

struct Writer {
    wires: Wires,
    pipe: u64,
}

impl End {
    /// Reads from one pipe and writes to its twin.
    pub(super) fn new(wires: &Wires, from: u64, to: u64) -> Self {
        let reader = Reader { wires: wires.clone(), pipe: from };
        Self { reader, writer: Writer { wires: wires.clone(), pipe: to } }
    }
}

impl Duplex for End {
    fn split(self: Box<Self>) -> (Box<dyn Reads>, Box<dyn Writes>) {
        (Box::new(self.reader), Box::new(self.writer))
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.wires.0.lock();
        let Some(pipe) = state.pipes.get_mut(&self.pipe) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match pipe.poll_read(context, buffer.remaining()) {
            Poll::Ready(Ok(bytes)) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut guard = self.wires.0.lock();
        let state = &mut *guard;
        let Some(pipe) = state.pipes.get(&self.pipe) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let (from, to) = (pipe.from, pipe.to);
        // What a process that is gone still tries to say is not heard.
        if pipe.writer_is_gone() {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        let due_ms = state.now_ms + state.delay(from, to);
        // Now and then a socket takes only a part.
        let size = match bytes.len() {
            0 | 1 => bytes.len(),
            size if state.random.percent(5) => state.random.between(1, size as u64) as usize,
            size => size,
        };
        let Some(pipe) = state.pipes.get_mut(&self.pipe) else { unreachable!("it was just there") };
        let written = pipe.poll_write(context, &bytes[..size], due_ms);
        if let Poll::Ready(Ok(size)) = &written
            && state.overheard
        {
            let purpose = state.pipes.get(&(self.pipe ^ 1)).and_then(|twin| twin.overheard.purpose());
            if let Some(pipe) = state.pipes.get_mut(&self.pipe) {
                pipe.overheard.hear(purpose, from, &bytes[..*size], &mut state.heard);
            }
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wires.end(self.pipe);
        Poll::Ready(Ok(()))
    }
}

impl Wires {
    /// No more will be written to this pipe.
    fn end(&self, id: u64) {
        let mut state = self.0.lock();
        if let Some((from, to)) = state.pipes.get(&id).map(|pipe| (pipe.from, pipe.to)) {
            let due_ms = state.now_ms + state.delay(from, to);
            if let Some(pipe) = state.pipes.get_mut(&id) {
                pipe.send_end(due_ms);
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.wires.end(self.pipe);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(pipe) = self.wires.0.lock().pipes.get_mut(&self.pipe) {
            pipe.reader_gone();
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().writer).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_shutdown(context)
    }
}
