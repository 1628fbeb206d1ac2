//! One connection per peer for votes, heartbeats and pings, kept open and shared.
//!
//! Requests carry an id and may be answered in any order, so a heartbeat whose answer waits for a slow disk does not
//! hold up a vote, and a caller that gives up leaves the connection intact. A task of its own connects, so that an
//! impatient caller does not cancel the connecting of the next one.
//!
//! Every message that comes back is counted, also the answer to a call that was given up: it shows that the peer is heard.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

use super::Route;
use super::handshake::Purpose;
use super::wire::{CONTROL_FRAME_MAX, Control, malformed};
use crate::net::{ReadHalf, WriteHalf};
use crate::raft::runtime::spawn;

/// Calls waiting to be written; a caller beyond it is told at once.
const QUEUE_MAX: usize = 64;
/// Calls written and not answered. Heartbeats give up after 100 ms, so this many means that the peer hangs.
const UNANSWERED_MAX: usize = 1024;

/// What a call comes to.
pub(crate) type Answered = io::Result<Bytes>;

struct Call {
    kind: Control,
    body: Bytes,
    /// `None`: nobody waits, and it is sent all the same.
    answer: Option<oneshot::Sender<Answered>>,
}

impl Call {
    fn fail(self, error: io::Error) {
        if let Some(answer) = self.answer {
            answer.send(Err(error)).ok();
        }
    }
}

/// A handle to the connection; cheap to clone, the connection closes with the last handle.
#[derive(Clone)]
pub(crate) struct ControlLink {
    calls: mpsc::Sender<Call>,
    heard: Arc<AtomicU64>,
}

impl ControlLink {
    /// Starts the link's task; nothing is connected before the first call.
    pub(crate) fn start(route: Arc<Route>) -> ControlLink {
        let (calls, queue) = mpsc::channel(QUEUE_MAX);
        let heard = Arc::default();
        spawn(run(route, queue, Arc::clone(&heard)));
        ControlLink { calls, heard }
    }

    /// Messages that have come back since the start.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Asks for a sign of life, which [`ControlLink::heard`] counts. Dropping the receiver gives the ping up; `None` when too
    /// many calls wait.
    pub(crate) fn ping(&self) -> Option<oneshot::Receiver<Answered>> {
        let (answer, answered) = oneshot::channel();
        let call = Call { kind: Control::Ping, body: Bytes::new(), answer: Some(answer) };
        self.calls.try_send(call).ok().map(|()| answered)
    }

    /// Sends a request whose answer nobody waits for, if the connection is there or can be made, and not too many calls wait.
    pub(crate) fn tell(&self, kind: Control, body: Bytes) {
        self.calls.try_send(Call { kind, body, answer: None }).ok();
    }

    /// Sends one request and waits for its answer. Dropping the future gives the answer up.
    pub(crate) async fn call(&self, kind: Control, body: Bytes) -> io::Result<Bytes> {
        let (answer, answered) = oneshot::channel();
        let call = Call { kind, body, answer: Some(answer) };
        self.calls
            .try_send(call)
            .map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "too many calls wait"))?;
        answered.await.map_err(|_| broken())?
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the control connection broke")
}

type Unanswered = Mutex<HashMap<u32, oneshot::Sender<Answered>>>;

struct Open {
    writer: WriteHalf,
    unanswered: Arc<Unanswered>,
    closed: Arc<AtomicBool>,
    reader: tokio::task::JoinHandle<()>,
    next_id: u32,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn run(route: Arc<Route>, mut queue: mpsc::Receiver<Call>, heard: Arc<AtomicU64>) {
    let mut open: Option<Open> = None;
    while let Some(call) = queue.recv().await {
        if open.as_ref().is_some_and(|open| open.closed.load(Ordering::Acquire)) {
            open = None;
        }
        if open.is_none() {
            match connect(&route, &heard).await {
                Ok(connected) => open = Some(connected),
                Err(error) => {
                    // Whoever queued up behind the failed attempt gets its result too, else each would wait for its own.
                    let kind = error.kind();
                    let text = error.to_string();
                    call.fail(error);
                    while let Ok(call) = queue.try_recv() {
                        call.fail(io::Error::new(kind, text.clone()));
                    }
                    continue;
                }
            }
        }
        if let Some(connection) = &mut open
            && connection.send(call).await.is_err()
        {
            open = None;
        }
    }
}

async fn connect(route: &Route, heard: &Arc<AtomicU64>) -> io::Result<Open> {
    let stream = route.connect(Purpose::Control).await?;
    let (reader, writer) = stream.into_split();
    let unanswered: Arc<Unanswered> = Arc::default();
    let closed = Arc::new(AtomicBool::new(false));
    let reader = spawn(read_answers(reader, Arc::clone(&unanswered), Arc::clone(&closed), Arc::clone(heard)));
    Ok(Open { writer, unanswered, closed, reader, next_id: 0 })
}

impl Open {
    async fn send(&mut self, call: Call) -> io::Result<()> {
        if call.answer.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return Ok(());
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        if let Some(answer) = call.answer {
            let mut unanswered = self.unanswered.lock();
            unanswered.retain(|_, answer| !answer.is_closed());
            if unanswered.len() >= UNANSWERED_MAX {
                return Err(broken());
            }
            unanswered.insert(id, answer);
        }
        self.writer.write_all(&frame(call.kind as u8, id, &call.body)).await
    }
}

/// A control message ready to be written.
pub(crate) fn frame(kind: u8, id: u32, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(9 + body.len());
    out.put_u32_le(u32::try_from(5 + body.len()).expect("a control message is short"));
    out.put_u8(kind);
    out.put_u32_le(id);
    out.put_slice(body);
    out.freeze()
}

/// Reads one control message: kind, id, body.
pub(crate) async fn read_frame(reader: &mut (impl AsyncReadExt + Unpin)) -> io::Result<(u8, u32, Bytes)> {
    let size = reader.read_u32_le().await? as usize;
    if !(5..=CONTROL_FRAME_MAX).contains(&size) {
        return Err(malformed("control message"));
    }
    let mut body = vec![0; size];
    reader.read_exact(&mut body).await?;
    let mut body = Bytes::from(body);
    let kind = body.get_u8();
    let id = body.get_u32_le();
    Ok((kind, id, body))
}

async fn read_answers(
    reader: ReadHalf,
    unanswered: Arc<Unanswered>,
    closed: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
) {
    let mut reader = BufReader::with_capacity(4096, reader);
    while let Ok((_, id, body)) = read_frame(&mut reader).await {
        heard.fetch_add(1, Ordering::Relaxed);
        let waiting = unanswered.lock().remove(&id);
        if let Some(answer) = waiting {
            answer.send(Ok(body)).ok();
        }
    }
    closed.store(true, Ordering::Release);
    // Dropping the senders tells the callers.
    unanswered.lock().clear();
}
