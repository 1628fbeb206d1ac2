//! Bytes that replicas of a group exchange, little endian.
//!
//! Control connection (heartbeats, votes, pings), both ways: `len u32 | kind u8 | id u32 | body`, `len` counts from `kind`.
//! Many requests may be under way; the answer repeats the id.
//!
//! Entries connection, leader to follower: `len u32 | vote | previous log id | commit log id | count u32 | records`,
//! the records exactly as they lie on disk. Answers in order, [`APPEND_ANSWER_SIZE`] bytes each.
//!
//! | part   | size | layout                                      |
//! |--------|-----:|---------------------------------------------|
//! | vote   |   17 | term u64, node u64, committed u8            |
//! | log id |   17 | present u8, term u64, index u64             |

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse,
};

use crate::raft::types::{Entry, RaftLogId, RaftVote, Types, raft_log_id};
use crate::record::{PAYLOAD_SIZE_MAX, Record};
use crate::types::LogId;

/// Bytes of an append request in front of its records, the length field not counted.
pub(crate) const APPEND_HEAD_SIZE: usize = 17 * 3 + 4;
/// Bytes of one answer on an entries connection.
pub(crate) const APPEND_ANSWER_SIZE: usize = 35;
/// Largest append request accepted: one record is sent whole, however large it is.
pub(crate) const APPEND_FRAME_MAX: usize = PAYLOAD_SIZE_MAX + (2 << 20);
/// Largest control message accepted.
pub(crate) const CONTROL_FRAME_MAX: usize = 1 << 16;

/// Kinds of control messages. The numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Heartbeat = 1,
    Vote = 2,
    PreVote = 3,
    TransferLeader = 4,
    /// Asks for a sign of life. Unlike a heartbeat's its answer waits for nothing, and it does not count as hearing a leader.
    Ping = 5,
    /// As a transfer, from a leader that hears nobody and does not know how much of its log the target has.
    HandOn = 6,
}

impl Control {
    pub(crate) fn from_number(number: u8) -> Option<Control> {
        match number {
            1 => Some(Control::Heartbeat),
            2 => Some(Control::Vote),
            3 => Some(Control::PreVote),
            4 => Some(Control::TransferLeader),
            5 => Some(Control::Ping),
            6 => Some(Control::HandOn),
            _ => None,
        }
    }
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

fn short<T>(result: Result<T, bytes::TryGetError>, what: &str) -> io::Result<T> {
    result.map_err(|_| malformed(what))
}

pub(crate) fn put_vote(out: &mut impl BufMut, vote: &RaftVote) {
    out.put_u64_le(vote.leader_id().term);
    out.put_u64_le(vote.leader_id().voted_for);
    out.put_u8(u8::from(vote.is_committed()));
}

pub(crate) fn get_vote(bytes: &mut impl Buf) -> io::Result<RaftVote> {
    let term = short(bytes.try_get_u64_le(), "vote")?;
    let node = short(bytes.try_get_u64_le(), "vote")?;
    match short(bytes.try_get_u8(), "vote")? {
        0 => Ok(RaftVote::new(term, node)),
        1 => Ok(RaftVote::new_committed(term, node)),
        _ => Err(malformed("vote")),
    }
}

pub(crate) fn put_log_id(out: &mut impl BufMut, id: Option<&RaftLogId>) {
    out.put_u8(u8::from(id.is_some()));
    out.put_u64_le(id.map_or(0, |id| id.committed_leader_id().term));
    out.put_u64_le(id.map_or(0, |id| id.index()));
}

pub(crate) fn get_log_id(bytes: &mut impl Buf) -> io::Result<Option<RaftLogId>> {
    let present = short(bytes.try_get_u8(), "log id")?;
    let term = short(bytes.try_get_u64_le(), "log id")?;
    let index = short(bytes.try_get_u64_le(), "log id")?;
    match present {
        0 => Ok(None),
        1 => Ok(Some(raft_log_id(LogId { term, index }))),
        _ => Err(malformed("log id")),
    }
}

/// The head of an append request, its length field included, for records of `records_size` bytes together.
pub(crate) fn append_head(request: &AppendEntriesRequest<Types>, records_size: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(4 + APPEND_HEAD_SIZE);
    head.put_u32_le(
        u32::try_from(APPEND_HEAD_SIZE + records_size).expect("an append request is below 4 GiB"),
    );
    put_vote(&mut head, &request.vote);
    put_log_id(&mut head, request.prev_log_id.as_ref());
    put_log_id(&mut head, request.leader_commit.as_ref());
    head.put_u32_le(u32::try_from(request.entries.len()).expect("an append request has few entries"));
    head.freeze()
}

/// Reads an append request behind its length field. The entries are slices of `bytes`; checksums and the
/// records' places in the chain are left to the log, which looks at both before it takes them.
pub(crate) fn read_append(mut bytes: Bytes) -> io::Result<AppendEntriesRequest<Types>> {
    let vote = get_vote(&mut bytes)?;
    let prev_log_id = get_log_id(&mut bytes)?;
    let leader_commit = get_log_id(&mut bytes)?;
    let count = short(bytes.try_get_u32_le(), "append request")? as usize;
    if count > bytes.len() {
        return Err(malformed("append request"));
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(Entry::stored(take_record(&mut bytes)?));
    }
    if bytes.is_empty() {
        Ok(AppendEntriesRequest { vote, prev_log_id, leader_commit, entries })
    } else {
        Err(malformed("append request"))
    }
}

fn take_record(bytes: &mut Bytes) -> io::Result<Record> {
    Record::split_from(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

pub(crate) fn put_append_answer(out: &mut BytesMut, answer: &StreamAppendResult<Types>) {
    match answer {
        Ok(matched) => {
            out.put_u8(0);
            put_log_id(out, matched.as_ref());
            out.put_bytes(0, 17);
        }
        Err(StreamAppendError::Conflict(at)) => {
            out.put_u8(1);
            put_log_id(out, Some(at));
            out.put_bytes(0, 17);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(2);
            out.put_bytes(0, 17);
            put_vote(out, vote);
        }
    }
}

pub(crate) fn get_append_answer(mut bytes: &[u8]) -> io::Result<StreamAppendResult<Types>> {
    let kind = short(bytes.try_get_u8(), "append answer")?;
    let id = get_log_id(&mut bytes)?;
    let vote = get_vote(&mut bytes)?;
    match kind {
        0 => Ok(Ok(id)),
        1 => Ok(Err(StreamAppendError::Conflict(id.ok_or_else(|| malformed("append answer"))?))),
        2 => Ok(Err(StreamAppendError::HigherVote(vote))),
        _ => Err(malformed("append answer")),
    }
}

/// The leader of `vote` asks `to` to lead once its log reaches `last`, and all others to let it.
pub(crate) fn transfer_request(vote: &RaftVote, last: Option<&RaftLogId>, to: u64) -> Bytes {
    let mut body = BytesMut::with_capacity(64);
    put_vote(&mut body, vote);
    put_log_id(&mut body, last);
    body.put_u64_le(to);
    body.freeze()
}

pub(crate) fn put_vote_request(out: &mut BytesMut, request: &VoteRequest<Types>) {
    put_vote(out, &request.vote);
    put_log_id(out, request.last_log_id.as_ref());
    out.put_u8(u8::from(request.leadership_transfer));
}

pub(crate) fn get_vote_request(mut bytes: Bytes) -> io::Result<VoteRequest<Types>> {
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_log_id(&mut bytes)?;
    let mut request = VoteRequest::new(vote, last_log_id);
    request.leadership_transfer = short(bytes.try_get_u8(), "vote request")? == 1;
    Ok(request)
}

pub(crate) fn put_vote_answer(out: &mut BytesMut, answer: &VoteResponse<Types>) {
    put_vote(out, &answer.vote);
    put_log_id(out, answer.last_log_id.as_ref());
    out.put_u8(u8::from(answer.vote_granted));
}

pub(crate) fn get_vote_answer(mut bytes: Bytes) -> io::Result<VoteResponse<Types>> {
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_log_id(&mut bytes)?;
    let granted = short(bytes.try_get_u8(), "vote answer")? == 1;
    Ok(VoteResponse::new(vote, last_log_id, granted))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(term: u64, index: u64) -> RaftLogId {
        raft_log_id(LogId { term, index })
    }

    #[test]
    fn append_answers_come_back_as_sent() {
        let answers: [StreamAppendResult<Types>; 4] = [
            Ok(None),
            Ok(Some(id(3, 7))),
            Err(StreamAppendError::Conflict(id(4, 9))),
            Err(StreamAppendError::HigherVote(RaftVote::new_committed(5, 77))),
        ];
        for answer in answers {
            let mut out = BytesMut::new();
            put_append_answer(&mut out, &answer);
            assert_eq!(out.len(), APPEND_ANSWER_SIZE);
            assert_eq!(get_append_answer(&out).unwrap(), answer);
        }
    }

    #[test]
    fn vote_messages_come_back_as_sent() {
        let mut request = VoteRequest::new(RaftVote::new(8, 2), Some(id(7, 100)));
        request.leadership_transfer = true;
        let mut out = BytesMut::new();
        put_vote_request(&mut out, &request);
        assert_eq!(get_vote_request(out.freeze()).unwrap(), request);

        let answer = VoteResponse::new(RaftVote::new_committed(9, 1), None, true);
        let mut out = BytesMut::new();
        put_vote_answer(&mut out, &answer);
        assert_eq!(get_vote_answer(out.freeze()).unwrap(), answer);
    }

    #[test]
    fn an_append_head_without_records_comes_back_as_sent() {
        let request = AppendEntriesRequest::<Types> {
            vote: RaftVote::new_committed(2, 1),
            prev_log_id: Some(id(1, 5)),
            leader_commit: None,
            entries: vec![],
        };
        let mut head = append_head(&request, 0);
        assert_eq!(head.get_u32_le() as usize, head.len());
        let read = read_append(head).unwrap();
        assert_eq!(
            (read.vote, read.prev_log_id, read.leader_commit),
            (request.vote, request.prev_log_id, None)
        );
    }

    #[test]
    fn cut_or_padded_messages_are_refused() {
        let request = AppendEntriesRequest::<Types> {
            vote: RaftVote::new_committed(2, 1),
            prev_log_id: None,
            leader_commit: None,
            entries: vec![],
        };
        let head = append_head(&request, 0).slice(4..);
        for end in 0..head.len() {
            assert!(read_append(head.slice(..end)).is_err(), "cut at {end}");
        }
        let mut padded = BytesMut::from(&head[..]);
        padded.put_u8(0);
        assert!(read_append(padded.freeze()).is_err());
        let mut lying = BytesMut::from(&head[..]);
        let count_at = lying.len() - 4;
        lying[count_at..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(
            read_append(lying.freeze()).is_err(),
            "a count beyond the bytes is refused before it is believed"
        );
    }
}
