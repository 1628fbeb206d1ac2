//! What a follower takes off an entries connection: append requests in pieces for which its disk has room for certain.
//!
//! An append that needs a segment which can't be allocated ends the replica (LOG-RULES 11). So a request is handed on in
//! pieces, each of which begins a segment or stays in one; a piece waits until the log has room for it beside those that are
//! under way, and with it everything that the leader still wants to send. The leader hears one answer for each request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use tracing::debug;

use crate::log::{Log, Piece};
use crate::raft::storage::SharedLog;
use crate::raft::types::{Body, Entry, Types, plain_log_id};
use crate::types::{EntryKind, LogId};

/// Between two looks at a log without room: a spare segment may be under way.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Looks after which the group has brought to the log all that it had taken: what the log lacks then, the group lacks, too.
const SETTLED_LOOKS: u64 = 20;

/// A piece that has no answer yet.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    piece: Piece,
    /// Its last entry.
    end: Option<LogId>,
    /// Its answer is the request's.
    last: bool,
}

/// The pieces of one connection that are under way; at most as many as the library takes ahead.
#[derive(Debug, Default, Clone)]
pub(crate) struct Intake(Arc<Mutex<VecDeque<UnderWay>>>);

impl Intake {
    /// Waits until the log has room for the next piece, which is `request`'s, and counts it in; false when there was none
    /// `within` that time, and the piece is not counted. Whoever waits does not see that the leader has gone: the bound is what
    /// ends the connections that a leader leaves behind when it finds them silent. Dropped in between it is as if never called.
    pub(crate) async fn admit(
        &self,
        shared: &SharedLog,
        piece: Piece,
        request: &AppendEntriesRequest<Types>,
        last: bool,
        within: Duration,
    ) -> bool {
        tokio::time::timeout(within, self.take_up(shared, piece, request, last)).await.is_ok()
    }

    async fn take_up(
        &self,
        shared: &SharedLog,
        piece: Piece,
        request: &AppendEntriesRequest<Types>,
        last: bool,
    ) {
        let (mut waits, mut free) = (0_u64, None);
        let end = request.entries.last().map(|entry| plain_log_id(&entry.id));
        loop {
            let grows;
            {
                let log = shared.log.lock();
                let mut under_way = self.0.lock();
                let piece =
                    match news(piece, &request.entries, |index| (log.last(), log.reader().log_id(index))) {
                        News::Some(piece) => piece,
                        // What the log has at these indexes goes first and gives back what it took.
                        News::InPlaceOfOthers => return under_way.push_back(UnderWay { piece, end, last }),
                    };
                let room = log.room();
                // What has been taken in and is not answered yet has its place: the log counts it.
                let taken = |before: &UnderWay| before.end.is_some_and(|end| holds(&log, end));
                let before = || under_way.iter().filter(|before| !taken(before)).map(|before| before.piece);
                let fits = || room.takes_piece(before(), piece);
                // A leader whose own segments began elsewhere (it has begun from a checkpoint) may go on in a segment beyond what
                // was allocated for it here. No spare segment helps then: the file grows, where the disk lets it.
                let more = room.beyond(piece).filter(|_| before().all(|before| before.bytes == 0));
                if piece.bytes == 0
                    || fits()
                    || more.is_some_and(|more| free.is_some_and(|free| free >= more))
                {
                    return under_way.push_back(UnderWay { piece, end, last });
                }
                // The leader must hear of a refusal, or it never sends what helps: an older entry or a checkpoint.
                let settled = waits > SETTLED_LOOKS && under_way.is_empty() && !shared.installs();
                if is_outdated(&log, request) || settled && !continues(&log, request) {
                    let piece = Piece { bytes: 0, ..piece };
                    return under_way.push_back(UnderWay { piece, end, last });
                }
                grows = more.is_some();
                if waits == 0 {
                    debug!(?room, ?piece, under_way = under_way.len(), "the leader's entries wait for room");
                }
                waits += 1;
            }
            if waits > 1 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            free = match grows {
                true => shared.disk_space().await.ok().map(|disk| disk.available),
                false => None,
            };
        }
    }

    /// The next piece was taken; true when the leader is to hear of it.
    pub(crate) fn answered(&self) -> bool {
        self.0.lock().pop_front().is_none_or(|answered| answered.last)
    }
}

/// True when the group is in a later term than the request's leader: it takes nothing of it.
fn is_outdated(log: &Log, request: &AppendEntriesRequest<Types>) -> bool {
    log.vote().is_some_and(|vote| vote.term > request.vote.leader_id().term)
}

/// True unless the log lacks the entry in front of the request's: then the group takes nothing of it.
fn continues(log: &Log, request: &AppendEntriesRequest<Types>) -> bool {
    request.prev_log_id.as_ref().is_none_or(|id| holds(log, plain_log_id(id)))
}

/// What the log has had and let go of is committed, the same for all.
fn holds(log: &Log, id: LogId) -> bool {
    log.last().is_some_and(|last| last.index >= id.index)
        && log.reader().log_id(id.index).is_none_or(|here| here == id)
}

/// What a piece brings that the log does not hold yet: a leader that does not know how far it got sends it again.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Some(Piece),
    InPlaceOfOthers,
}

/// `known` gives the log's last entry, and what it has at an index.
fn news(piece: Piece, entries: &[Entry], known: impl Fn(u64) -> (Option<LogId>, Option<LogId>)) -> News {
    let mut news = piece;
    for entry in entries {
        let id = plain_log_id(&entry.id);
        let (last, here) = known(id.index);
        if last.is_none_or(|last| last.index < id.index) {
            break;
        }
        // What it has had and let go of is committed.
        if here.is_some_and(|here| here != id) {
            return News::InPlaceOfOthers;
        }
        news.bytes = news.bytes.saturating_sub(extent(entry).0);
        news.starts_segment = false;
    }
    News::Some(news)
}

/// A request as its pieces, in order, each with the request for it. None is longer than `bytes_max`, unless it is one record.
pub(crate) fn pieces(
    request: AppendEntriesRequest<Types>,
    bytes_max: u64,
) -> VecDeque<(Piece, AppendEntriesRequest<Types>)> {
    let AppendEntriesRequest { vote, mut prev_log_id, entries, leader_commit } = request;
    let mut parts: Vec<(Piece, Vec<Entry>)> = Vec::with_capacity(1);
    let mut entries = entries.into_iter();
    while let Some(entry) = entries.next() {
        let (bytes, starts_segment) = extent(&entry);
        let from_election = is_from_election(&entry);
        match parts.last_mut() {
            Some((piece, part))
                if !starts_segment
                    && piece.from_election == from_election
                    && piece.bytes + bytes <= bytes_max =>
            {
                piece.bytes += bytes;
                part.push(entry);
            }
            _ => {
                // Most requests are one piece.
                let mut part = Vec::with_capacity(1 + entries.len());
                part.push(entry);
                parts.push((Piece { bytes, starts_segment, from_election }, part));
            }
        }
    }
    if parts.is_empty() {
        let nothing = Piece { bytes: 0, starts_segment: false, from_election: false };
        parts.push((nothing, Vec::new()));
    }
    let requests = parts.into_iter().map(|(piece, entries)| {
        let last = entries.last().map(|entry| entry.id).or(prev_log_id);
        let prev_log_id = std::mem::replace(&mut prev_log_id, last);
        (piece, AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
    });
    requests.collect()
}

fn is_from_election(entry: &Entry) -> bool {
    match &entry.body {
        Body::Stored(record) => matches!(record.kind(), EntryKind::Blank | EntryKind::Membership),
        Body::New(_) => false,
    }
}

fn extent(entry: &Entry) -> (u64, bool) {
    match &entry.body {
        Body::Stored(record) => (record.size() as u64, record.starts_segment()),
        // What has no bytes yet never comes from a peer.
        Body::New(_) => (0, false),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use crate::log::WriterMode;
    use crate::log::testing::{Bench, Counting, TestClock, app, options};
    use crate::raft::runtime::Blocking;
    use crate::raft::types::{RaftVote, raft_log_id};
    use crate::record::Record;
    use crate::types::Vote;
    use crate::vfs::MemVfs;

    use super::*;

    /// A log that has taken these records on a disk that has been full since, and that has used up what was allocated ahead.
    fn full(records: &[Record]) -> SharedLog {
        let (disk, clock) = (MemVfs::new(), Arc::new(TestClock::default()));
        let (own, stamper) = (Arc::new(disk.clone()), Box::new(Counting::default()));
        let options = options(WriterMode::Inline);
        let (mut log, _) = Log::open(own, Path::new("/node"), options, clock, stamper, &mut ()).unwrap();
        disk.set_capacity(Some(disk.used()));
        log.append_records(records.to_vec(), Box::new(|outcome| outcome.unwrap())).unwrap();
        SharedLog {
            log: Mutex::new(log),
            installed: Notify::new(),
            first_index_free: false,
            blocking: Blocking::Here,
            installing: AtomicUsize::new(0),
        }
    }

    /// Records over several segments of 12 KiB.
    fn records() -> Vec<Record> {
        let mut bench = Bench::new(WriterMode::Inline);
        bench.append((0..20).map(|index| app(1, index, 1000)))
    }

    fn request(records: &[Record]) -> AppendEntriesRequest<Types> {
        AppendEntriesRequest {
            vote: RaftVote::new(1, 0),
            prev_log_id: None,
            entries: records.iter().cloned().map(Entry::stored).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn a_request_goes_on_in_pieces_that_follow_each_other_and_begin_where_segments_do() {
        let records = records();
        let mut before = None;
        let (mut indexes, mut starts) = (Vec::new(), 0);
        for (piece, part) in pieces(request(&records), 4000) {
            assert_eq!(part.prev_log_id, before);
            assert!(piece.bytes <= 4000);
            assert_eq!(piece.bytes, part.entries.iter().map(|entry| extent(entry).0).sum::<u64>());
            assert_eq!(piece.starts_segment, extent(&part.entries[0]).1);
            assert!(part.entries[1..].iter().all(|entry| !extent(entry).1), "no other one does");
            starts += usize::from(piece.starts_segment);
            indexes.extend(part.entries.iter().map(|entry| plain_log_id(&entry.id).index));
            before = part.entries.last().map(|entry| entry.id);
        }
        assert_eq!(indexes, (0..20).collect::<Vec<_>>());
        assert!(starts > 1, "several segments");
        assert_eq!(pieces(request(&[]), 4000).len(), 1, "a commit without entries is told, too");
    }

    #[test]
    fn what_the_log_holds_already_takes_no_room() {
        let records = records();
        let entries = request(&records[..3]).entries;
        let bytes = records[..3].iter().map(|record| record.size() as u64).sum();
        let piece = Piece { bytes, starts_segment: true, from_election: false };
        let own = |count: usize, term| {
            let last = count.checked_sub(1).map(|last| LogId { term, index: last as u64 });
            move |index| (last, last.filter(|last| index <= last.index).map(|_| LogId { term, index }))
        };
        assert_eq!(news(piece, &entries, own(0, 1)), News::Some(piece));
        let rest = Piece { bytes: records[2].size() as u64, starts_segment: false, from_election: false };
        assert_eq!(news(piece, &entries, own(2, 1)), News::Some(rest));
        assert_eq!(news(piece, &entries, own(2, 2)), News::InPlaceOfOthers);
    }

    /// As many as one segment takes.
    fn first_segment(records: &[Record]) -> usize {
        1 + records[1..].iter().take_while(|record| !record.starts_segment()).count()
    }

    /// Regression: it waited for ever, without seeing that the leader had closed the connection, and each such connection kept
    /// its place until none was left for heartbeats and votes.
    #[tokio::test(start_paused = true)]
    async fn a_piece_that_finds_no_room_ends_the_stream_after_a_while() {
        let records = records();
        let held = first_segment(&records);
        let (shared, intake) = (full(&records[..held]), Intake::default());
        let (piece, next) = pieces(request(&records[held..=held]), 4000).remove(0).unwrap();
        let within = Duration::from_secs(10);
        let admitted = intake.admit(&shared, piece, &next, true, within);
        let outcome = tokio::time::timeout(6 * within, admitted).await;
        assert_eq!(outcome, Ok(false));
        assert!(intake.0.lock().is_empty(), "it counts as never taken");
    }

    /// Regression: a leader that had purged what a full follower lacks never heard of a conflict, and never sent its checkpoint.
    #[tokio::test(start_paused = true)]
    async fn what_the_group_refuses_anyway_needs_no_room() {
        let records = records();
        let held = first_segment(&records);
        let within = Duration::from_secs(10);
        // The request goes on behind an entry that the log lacks, one that it has from another term, its last one.
        for (term, index, refused) in [(1, held + 3, true), (2, held - 1, true), (1, held - 1, false)] {
            let (shared, intake) = (full(&records[..held]), Intake::default());
            let (piece, mut next) = pieces(request(&records[held..=held]), 4000).remove(0).unwrap();
            next.prev_log_id = Some(raft_log_id(LogId { term, index: index as u64 }));
            assert_eq!(intake.admit(&shared, piece, &next, true, within).await, refused, "{term} {index}");
            assert!(intake.0.lock().iter().all(|under_way| under_way.piece.bytes == 0));
        }
        let (shared, intake) = (full(&records[..held]), Intake::default());
        let (piece, next) = pieces(request(&records[held..=held]), 4000).remove(0).unwrap();
        shared.log.lock().save_vote(Vote { term: 2, node: 7, committed: false }, Box::new(|_| {}));
        assert!(intake.admit(&shared, piece, &next, true, within).await, "its leader was deposed");
    }

    /// Regression: the piece that began a segment asked for another spare until its flush was done, and the next one waited.
    #[tokio::test(start_paused = true)]
    async fn a_piece_that_is_taken_in_and_not_answered_takes_no_room_twice() {
        let records = records();
        let (shared, intake) = (full(&records[..1]), Intake::default());
        let piece = Piece { bytes: records[0].size() as u64, starts_segment: true, from_election: false };
        intake.0.lock().push_back(UnderWay { piece, end: Some(records[0].id()), last: true });
        let (piece, mut next) = pieces(request(&records[1..2]), 4000).remove(0).unwrap();
        next.prev_log_id = Some(raft_log_id(records[0].id()));
        assert!(intake.admit(&shared, piece, &next, true, Duration::ZERO).await, "there is room at once");
        assert!(!intake.admit(&shared, starting(piece), &next, true, Duration::from_secs(10)).await);
    }

    fn starting(piece: Piece) -> Piece {
        Piece { starts_segment: true, ..piece }
    }

    /// The group counts a checkpoint's entries before the log has them.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_known_to_be_refused_while_a_checkpoint_is_installed() {
        let records = records();
        let held = first_segment(&records);
        let (shared, intake) = (full(&records[..held]), Intake::default());
        let (piece, mut next) = pieces(request(&records[held..=held]), 4000).remove(0).unwrap();
        next.prev_log_id = Some(raft_log_id(LogId { term: 1, index: held as u64 + 3 }));
        let _installing = shared.installing();
        assert!(!intake.admit(&shared, piece, &next, true, Duration::from_secs(10)).await);
    }

    #[test]
    fn the_leader_hears_of_whole_requests_only() {
        let intake = Intake::default();
        let piece = Piece { bytes: 1, starts_segment: false, from_election: false };
        intake.0.lock().extend([false, true, true].map(|last| UnderWay { piece, end: None, last }));
        assert_eq!([(); 3].map(|()| intake.answered()), [false, true, true]);
    }
}
