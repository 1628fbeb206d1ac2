//! The leader's side of an entries connection.
//!
//! A task takes append requests from the consensus library and writes them, at most `window` unanswered; answers come
//! back in order. A small window lets requests grow to the byte cap under load, while one request travels as the next
//! is prepared. The stream ends with an error when an unanswered request makes no progress for a while: a stream that
//! silently stops would hold back replication and, through it, the purge of the log.
//!
//! Behind entries the library is not asked at once for the next request but when there are further entries, or after a moment:
//! without entries it would be the news that those before are committed, which the next entries bring along. So under load a
//! follower is called once for each entry and not twice.
//!
//! An answer is kept back while a request without entries that was taken after the answered one is on its way. Both end at the same
//! entry, and openraft takes an answer for one to all that end there (0.10.0-alpha.37, `InflightAppendQueue::drain_acked`): it
//! would count the later request's time for the leader's lease and for confirmed reads, although the peer may have said the answer
//! before that time. A leader that was paused would have a lease from what waited in its sockets (LOG-RULES.md 22).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::wire::{APPEND_ANSWER_SIZE, append_head, get_append_answer};
use crate::net::{Connection, ReadHalf, WriteHalf};
use crate::raft::quorum::Silence;
use crate::raft::runtime::spawn;
use crate::raft::status::Counters;
use crate::raft::tail::Tail;
use crate::raft::types::{Body, RaftLogId, Types};

/// Slices per vectored write; the operating system takes no more (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// For how long the news of a commit waits for entries to go with: longer than from one entry to the next under load, and less than
/// anybody notices who reads at a follower.
pub(crate) const NOTICE: Duration = Duration::from_millis(2);

/// How the stream behaves.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    pub(crate) window: usize,
    /// For how long the news of a commit waits for entries to go with.
    pub(crate) notice: Duration,
    /// The end of the own log.
    pub(crate) tail: Tail,
    pub(crate) idle: Duration,
    pub(crate) counters: Arc<Counters>,
    /// What must not be sent now.
    pub(crate) silence: Silence,
}

type Answer = io::Result<StreamAppendResult<Types>>;

/// What has been written to one peer, whether it has answered or not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// Bytes of records.
    bytes: Arc<AtomicU64>,
    /// End of the last request, and the term of the leader that this node was then.
    end: Arc<Mutex<Option<(u64, RaftLogId)>>>,
}

impl Sent {
    pub(crate) fn new(bytes: Arc<AtomicU64>) -> Sent {
        Sent { bytes, end: Arc::default() }
    }

    /// The entry up to which the leader of `term` has sent its log.
    pub(crate) fn end_in(&self, term: u64) -> Option<RaftLogId> {
        self.end.lock().filter(|(of, _)| *of == term).map(|(_, end)| end)
    }

    fn wrote(&self, request: &AppendEntriesRequest<Types>, records_size: usize) {
        self.bytes.fetch_add(records_size as u64, Ordering::Relaxed);
        let end = end_of(request).map(|end| (request.vote.leader_id().term, end));
        *self.end.lock() = end;
    }
}

/// The entry that a request ends with, or stands behind when it has none.
fn end_of(request: &AppendEntriesRequest<Types>) -> Option<RaftLogId> {
    request.entries.last().map(|entry| entry.id).or(request.prev_log_id)
}

/// Sends `requests` over `connection`, notes in `sent` what was written, and gives the answers in order. The stream ends behind
/// the first error.
pub(crate) fn exchange<S>(
    connection: Connection,
    requests: S,
    pace: &Pace,
    sent: Sent,
) -> impl Stream<Item = Answer> + Send + use<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    let window = pace.window.max(1);
    let (reader, writer) = connection.into_split();
    let room = Arc::new(Semaphore::new(window));
    // One token per request on its way: it tells silence from idleness, and closes behind the last request.
    let (token, unanswered) = mpsc::channel(window);
    let taken = Arc::new(Taken::default());
    let counters = Arc::clone(&pace.counters);
    let silence = pace.silence.clone();
    let sending = Sending {
        writer,
        room: Arc::clone(&room),
        token,
        taken: Arc::clone(&taken),
        notice: pace.notice,
        tail: pace.tail.watch(),
        counters,
        sent,
        silence,
    };
    let sender = Owned(spawn(sending.run(requests)));
    let reader = BufReader::with_capacity(4096, reader);
    let state = Receiving { reader, room, unanswered, taken, idle: pace.idle, _sender: sender };
    stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(None) => None,
            Ok(Some(Ok(matched))) => Some((Ok(Ok(matched)), Some(state))),
            Ok(Some(refused)) => Some((Ok(refused), None)),
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// A task that ends with its owner.
struct Owned(JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends of the requests that were taken from the library and not answered, oldest first. Taking, answering and what the library
/// does with either happen on the group's thread, each without a pause.
#[derive(Debug, Default)]
struct Taken(Mutex<VecDeque<Option<RaftLogId>>>);

impl Taken {
    fn push(&self, request: &AppendEntriesRequest<Types>) {
        self.0.lock().push_back(end_of(request));
    }

    /// The oldest one is answered. Claims that its answer would pass for one to a request that was taken later.
    fn answered(&self, answer: &StreamAppendResult<Types>) -> bool {
        let mut ends = self.0.lock();
        ends.pop_front();
        answer.as_ref().is_ok_and(|matching| ends.iter().any(|end| end <= matching))
    }
}

struct Receiving {
    reader: BufReader<ReadHalf>,
    room: Arc<Semaphore>,
    unanswered: mpsc::Receiver<()>,
    taken: Arc<Taken>,
    idle: Duration,
    _sender: Owned,
}

impl Receiving {
    /// The next answer that is given; `None` once all requests are answered and no more will come.
    async fn next(&mut self) -> io::Result<Option<StreamAppendResult<Types>>> {
        // What is kept back is also said by the answer that is waited for instead.
        while self.unanswered.recv().await.is_some() {
            let mut answer = [0; APPEND_ANSWER_SIZE];
            match tokio::time::timeout(self.idle, self.reader.read_exact(&mut answer)).await {
                Ok(read) => read?,
                Err(_) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "append requests stay unanswered"));
                }
            };
            self.room.add_permits(1);
            let answer = get_append_answer(&answer)?;
            if !self.taken.answered(&answer) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

struct Sending {
    writer: WriteHalf,
    room: Arc<Semaphore>,
    token: mpsc::Sender<()>,
    taken: Arc<Taken>,
    notice: Duration,
    tail: watch::Receiver<u64>,
    counters: Arc<Counters>,
    sent: Sent,
    silence: Silence,
}

impl Sending {
    async fn run<S>(mut self, mut requests: S)
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let mut last_sent = None;
        while let Ok(permit) = self.room.acquire().await {
            permit.forget();
            if let Some(last) = last_sent {
                let further = self.tail.wait_for(|end| *end > last + 1);
                // Late or without a log, the library is asked all the same.
                tokio::time::timeout(self.notice, further).await.ok();
            }
            let Some(request) = requests.next().await else { break };
            self.taken.push(&request);
            last_sent = request.entries.last().map(|entry| entry.id.index);
            // Kept rather than refused: the stream stays as it is, and nothing counts as unanswered meanwhile.
            self.silence.over(request.vote.leader_id().term).await;
            self.counters.append_requests.fetch_add(1, Ordering::Relaxed);
            self.counters.append_request_records.fetch_add(request.entries.len() as u64, Ordering::Relaxed);
            // Before the write: the other side may hang in the middle of it, and then its silence must be noticed.
            if self.token.send(()).await.is_err() {
                break;
            }
            match write_request(&mut self.writer, &request).await {
                Ok(records_size) => self.sent.wrote(&request, records_size),
                // The answers' side sees the broken connection by itself.
                Err(_) => break,
            };
        }
    }
}

/// Gives the bytes of the request's records.
async fn write_request(writer: &mut WriteHalf, request: &AppendEntriesRequest<Types>) -> io::Result<usize> {
    let mut parts: Vec<Bytes> = Vec::with_capacity(1 + request.entries.len());
    parts.push(Bytes::new());
    let mut records_size = 0;
    for entry in &request.entries {
        match &entry.body {
            Body::Stored(record) => {
                records_size += record.size();
                parts.push(record.bytes().clone());
            }
            Body::New(_) => unreachable!("entries read back from the log have bytes"),
        }
    }
    parts[0] = append_head(request, records_size);
    write_all_vectored(writer, &parts).await?;
    Ok(records_size)
}

/// Writes all parts with as few calls as the operating system allows.
pub(crate) async fn write_all_vectored(
    writer: &mut (impl AsyncWriteExt + Unpin),
    parts: &[Bytes],
) -> io::Result<()> {
    for parts in parts.chunks(SLICES_MAX) {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = writer.write_vectored(left).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, written);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::raft::network::wire::{APPEND_HEAD_SIZE, put_append_answer};
    use crate::raft::types::{Entry, RaftVote, raft_log_id};
    use crate::record::{RECORD_HEADER_SIZE, Record, RecordHeader};
    use crate::types::{EntryKind, LogId};
    use bytes::BytesMut;
    use std::sync::atomic::AtomicUsize;
    use tokio::net::{TcpListener, TcpStream};

    /// Without entries, behind the entry of this index.
    fn request(index: u64) -> AppendEntriesRequest<Types> {
        let vote = RaftVote::new_committed(1, 1);
        AppendEntriesRequest { vote, prev_log_id: Some(id(index)), leader_commit: None, entries: vec![] }
    }

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap().into();
        (near, listener.accept().await.unwrap().0)
    }

    fn pace(idle: Duration) -> Pace {
        Pace {
            window: 2,
            notice: NOTICE,
            tail: Tail::new(0),
            idle,
            counters: Arc::default(),
            silence: Silence::new(),
        }
    }

    /// Counts how many requests were taken from the library.
    fn counted(
        taken: &Arc<AtomicUsize>,
    ) -> impl Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + use<> {
        let taken = Arc::clone(taken);
        Box::pin(stream::iter(0..10).map(move |index| {
            taken.fetch_add(1, Ordering::Relaxed);
            request(index)
        }))
    }

    fn id(index: u64) -> RaftLogId {
        raft_log_id(LogId { term: 1, index })
    }

    fn answer_for(index: u64) -> BytesMut {
        let mut answer = BytesMut::new();
        put_append_answer(&mut answer, &Ok(Some(id(index))));
        answer
    }

    #[tokio::test]
    async fn no_more_than_the_window_is_taken_before_answers_come() {
        let (near, mut far) = pair().await;
        let taken = Arc::new(AtomicUsize::new(0));
        let mut answers =
            Box::pin(exchange(near, counted(&taken), &pace(Duration::from_secs(10)), Sent::default()));
        let mut frame = [0; 4 + APPEND_HEAD_SIZE];
        for answered in 0..10 {
            far.read_exact(&mut frame).await.unwrap();
            assert!(taken.load(Ordering::Relaxed) <= answered + 2, "window of two");
            far.write_all(&answer_for(answered as u64)).await.unwrap();
            let answer = answers.next().await.unwrap().unwrap().unwrap();
            assert_eq!(answer, Some(id(answered as u64)));
        }
        assert!(answers.next().await.is_none(), "all are answered and no more come");
    }

    /// Rule 22: the consensus library would count the later request as answered, by what the peer said before it was sent.
    #[tokio::test]
    async fn rule_22_an_answer_passes_for_no_request_that_was_taken_after_its_own() {
        let (near, mut far) = pair().await;
        let requests = Box::pin(stream::iter([5, 5, 6].map(request)).chain(stream::pending()));
        let mut answers = Box::pin(exchange(near, requests, &pace(Duration::from_secs(10)), Sent::default()));
        far.write_all(&answer_for(5)).await.unwrap();
        // The answer to the first is there before it is asked for; both requests of the window are taken by then.
        let mut frame = [0; 4 + APPEND_HEAD_SIZE];
        tokio::select! {
            biased;
            answer = answers.next() => panic!("given: {answer:?}"),
            read = async { for _ in 0..3 { far.read_exact(&mut frame).await?; } io::Result::Ok(()) } => read.unwrap(),
        }
        far.write_all(&answer_for(5)).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap().unwrap(), Some(id(5)));
        far.write_all(&answer_for(6)).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap().unwrap(), Some(id(6)));
    }

    /// One entry, of this index.
    fn entries(index: u64) -> AppendEntriesRequest<Types> {
        let header = RecordHeader {
            kind: EntryKind::Application,
            starts_segment: false,
            id: LogId { term: 1, index },
            position: 0,
            leader: 1,
            time_ms: 0,
            prev_term: 1,
            prev_crc: 0,
        };
        let mut bytes = vec![0; RECORD_HEADER_SIZE];
        Record::seal(&mut bytes, &header);
        let body = Body::Stored(Record::from_sealed(bytes.into()));
        AppendEntriesRequest { entries: vec![Entry { id: id(index), body }], ..request(index - 1) }
    }

    /// Gives what it is told to, and counts how often it was asked for something that was not there.
    fn told(
        mut requests: mpsc::UnboundedReceiver<AppendEntriesRequest<Types>>,
        asked: &Arc<AtomicUsize>,
    ) -> impl Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + use<> {
        let asked = Arc::clone(asked);
        stream::poll_fn(move |context| {
            let next = requests.poll_recv(context);
            asked.fetch_add(usize::from(next.is_pending()), Ordering::Relaxed);
            next
        })
    }

    #[tokio::test]
    async fn behind_entries_the_library_is_asked_when_there_are_more_or_after_a_moment() {
        let (near, mut far) = pair().await;
        let (tell, requests) = mpsc::unbounded_channel();
        let asked = Arc::new(AtomicUsize::new(0));
        let tail = Tail::new(8);
        let pace =
            Pace { notice: Duration::from_secs(3600), tail: tail.clone(), ..pace(Duration::from_secs(10)) };
        tell.send(entries(7)).unwrap();
        let mut answers = Box::pin(exchange(near, told(requests, &asked), &pace, Sent::default()));
        let mut frame = [0; 4 + APPEND_HEAD_SIZE + RECORD_HEADER_SIZE];
        far.read_exact(&mut frame).await.unwrap();
        far.write_all(&answer_for(7)).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap().unwrap(), Some(id(7)));
        assert_eq!(asked.load(Ordering::Relaxed), 0, "nothing of the log is unsent");
        tail.set(9);
        tell.send(entries(8)).unwrap();
        far.read_exact(&mut frame).await.unwrap();
        far.write_all(&answer_for(8)).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap().unwrap(), Some(id(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_entries_waits_for_a_moment_only() {
        let (near, mut far) = pair().await;
        let requests = Box::pin(stream::iter([entries(7), request(7)]).chain(stream::pending()));
        let pace = Pace { tail: Tail::new(8), ..pace(Duration::from_secs(10)) };
        let started = tokio::time::Instant::now();
        let mut answers = Box::pin(exchange(near, requests, &pace, Sent::default()));
        let mut frames = [0; 2 * (4 + APPEND_HEAD_SIZE) + RECORD_HEADER_SIZE];
        tokio::select! {
            answer = answers.next() => panic!("given: {answer:?}"),
            read = far.read_exact(&mut frames) => { read.unwrap(); }
        }
        assert!(started.elapsed() >= NOTICE, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn silence_while_a_request_is_open_is_an_error() {
        let (near, _far) = pair().await;
        let taken = Arc::new(AtomicUsize::new(0));
        let mut answers =
            Box::pin(exchange(near, counted(&taken), &pace(Duration::from_millis(50)), Sent::default()));
        let error = answers.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(answers.next().await.is_none());
    }

    /// Rule 25: with the settings of a production replica a stream without progress is broken after ten seconds; one that
    /// hangs for ever would pin the purge of the log. The clock is the test's.
    #[tokio::test(start_paused = true)]
    async fn rule_25_a_stream_without_progress_for_ten_seconds_is_an_error() {
        let peer = crate::peers::Peer { index: 0, host: "h".into(), port: 1 };
        let idle = crate::raft::ReplicaOptions::new("/node", "c", "g", vec![peer], 0).append_idle;
        let (near, _far) = pair().await;
        let taken = Arc::new(AtomicUsize::new(0));
        let mut answers = Box::pin(exchange(near, counted(&taken), &pace(idle), Sent::default()));
        let started = tokio::time::Instant::now();
        let error = answers.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), started.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test]
    async fn silence_without_an_open_request_is_idleness() {
        let (near, _far) = pair().await;
        let mut answers = Box::pin(exchange(
            near,
            Box::pin(stream::pending()),
            &pace(Duration::from_millis(10)),
            Sent::default(),
        ));
        let quiet = tokio::time::timeout(Duration::from_millis(100), answers.next()).await;
        assert!(quiet.is_err(), "nothing was asked, nothing ends");
    }

    #[tokio::test]
    async fn a_broken_connection_ends_the_stream_with_an_error() {
        let (near, far) = pair().await;
        let taken = Arc::new(AtomicUsize::new(0));
        let mut answers =
            Box::pin(exchange(near, counted(&taken), &pace(Duration::from_secs(10)), Sent::default()));
        drop(far);
        assert!(answers.next().await.unwrap().is_err());
    }
}
