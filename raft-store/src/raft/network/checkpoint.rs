//! One checkpoint for a replica whose next entry was purged.
//!
//! Leader to follower, little endian: `head len u32 | vote | term u64 | index u64 | next position u64 | chain CRC u32 |
//! time u64 | membership len u32 | membership | state len u64 | state CRC-32C u32`, then the state.
//! Answer: `verdict u8 | vote`.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::{get_vote, malformed, put_vote};
use crate::log::Checkpoint;
use crate::net::Connection;
use crate::raft::types::RaftVote;
use crate::record::crc32c;
use crate::types::{ChainPoint, LogId};

/// A checkpoint is tables, not messages; more than this is a mistake on the way.
const STATE_SIZE_MAX: u64 = 4 << 30;
const HEAD_SIZE_MAX: u32 = 1 << 20;
/// Bytes per write, each of which must make progress within [`STALL`].
const PIECE: usize = 1 << 20;
const STALL: Duration = Duration::from_secs(10);
/// Time for the other side to write, sync and take the checkpoint.
const INSTALL_MAX: Duration = Duration::from_secs(120);

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "checkpoint transfer stalled")))
}

/// Sends a checkpoint under the leader's vote and waits until it is installed. Gives the other side's vote.
pub(crate) async fn send(
    stream: &mut Connection,
    vote: &RaftVote,
    checkpoint: &Checkpoint,
) -> io::Result<RaftVote> {
    let mut head = BytesMut::with_capacity(256);
    put_vote(&mut head, vote);
    head.put_u64_le(checkpoint.at.id.term);
    head.put_u64_le(checkpoint.at.id.index);
    head.put_u64_le(checkpoint.at.end);
    head.put_u32_le(checkpoint.at.crc);
    head.put_u64_le(checkpoint.time_ms);
    head.put_u32_le(u32::try_from(checkpoint.membership.len()).map_err(|_| malformed("membership"))?);
    head.put_slice(&checkpoint.membership);
    head.put_u64_le(checkpoint.state.len() as u64);
    head.put_u32_le(crc32c(&checkpoint.state));
    let mut framed = BytesMut::with_capacity(4 + head.len());
    framed.put_u32_le(u32::try_from(head.len()).map_err(|_| malformed("membership"))?);
    framed.put_slice(&head);
    in_time(STALL, stream.write_all(&framed)).await?;
    for piece in checkpoint.state.chunks(PIECE) {
        in_time(STALL, stream.write_all(piece)).await?;
    }
    let mut answer = [0; 18];
    in_time(INSTALL_MAX, stream.read_exact(&mut answer)).await?;
    let mut answer = &answer[..];
    match answer.get_u8() {
        0 => get_vote(&mut answer),
        _ => Err(io::Error::other("the other side could not install the checkpoint")),
    }
}

/// A checkpoint whose state is still to come.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) vote: RaftVote,
    /// Bytes of the state.
    pub(crate) state_size: u64,
    at: ChainPoint,
    time_ms: u64,
    membership: Bytes,
    state_crc: u32,
}

/// Reads the head of what [`send`] wrote.
pub(crate) async fn receive(stream: &mut Connection) -> io::Result<Announced> {
    let size = in_time(STALL, stream.read_u32_le()).await?;
    if size > HEAD_SIZE_MAX {
        return Err(malformed("checkpoint head"));
    }
    let mut head = vec![0; size as usize];
    in_time(STALL, stream.read_exact(&mut head)).await?;
    let mut head = Bytes::from(head);
    let vote = get_vote(&mut head)?;
    let short = |_| malformed("checkpoint head");
    let id =
        LogId { term: head.try_get_u64_le().map_err(short)?, index: head.try_get_u64_le().map_err(short)? };
    let at = ChainPoint {
        id,
        end: head.try_get_u64_le().map_err(short)?,
        crc: head.try_get_u32_le().map_err(short)?,
    };
    let time_ms = head.try_get_u64_le().map_err(short)?;
    let membership_size = head.try_get_u32_le().map_err(short)? as usize;
    if membership_size > head.len() {
        return Err(malformed("checkpoint head"));
    }
    let membership = head.split_to(membership_size);
    let state_size = head.try_get_u64_le().map_err(short)?;
    let state_crc = head.try_get_u32_le().map_err(short)?;
    if state_size > STATE_SIZE_MAX {
        return Err(malformed("checkpoint size"));
    }
    Ok(Announced { vote, state_size, at, time_ms, membership, state_crc })
}

impl Announced {
    /// Reads the state, up to the answer.
    pub(crate) async fn whole(self, stream: &mut Connection) -> io::Result<Checkpoint> {
        let Announced { state_size, at, time_ms, membership, state_crc, .. } = self;
        let state = read_state(stream, state_size).await?;
        if crc32c(&state) != state_crc {
            return Err(malformed("checkpoint: its checksum does not match"));
        }
        Ok(Checkpoint { at, time_ms, installed: true, membership, state })
    }
}

/// Memory grows with what has arrived, not with what was announced.
async fn read_state(stream: &mut Connection, size: u64) -> io::Result<Bytes> {
    let size = usize::try_from(size).map_err(|_| malformed("checkpoint size"))?;
    let mut state = BytesMut::new();
    while state.len() < size {
        let missing = size - state.len();
        state.reserve(missing.min(PIECE));
        let mut limited = (&mut state).limit(missing);
        if in_time(STALL, stream.read_buf(&mut limited)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(state.freeze())
}

/// Answers [`send`].
pub(crate) async fn answer(stream: &mut Connection, outcome: Result<&RaftVote, ()>) -> io::Result<()> {
    let mut out = BytesMut::with_capacity(18);
    match outcome {
        Ok(vote) => {
            out.put_u8(0);
            put_vote(&mut out, vote);
        }
        Err(()) => {
            out.put_u8(1);
            out.put_bytes(0, 17);
        }
    }
    in_time(STALL, stream.write_all(&out)).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    fn checkpoint(size: usize) -> Checkpoint {
        Checkpoint {
            at: ChainPoint { id: LogId::new(3, 99), end: 12345, crc: 77 },
            time_ms: 1_700_000_000_000,
            installed: true,
            membership: Bytes::from_static(b"membership"),
            state: (0..size).map(|at| at as u8).collect(),
        }
    }

    async fn pair() -> (Connection, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near.into(), listener.accept().await.unwrap().0.into())
    }

    async fn received(stream: &mut Connection) -> io::Result<Checkpoint> {
        receive(stream).await?.whole(stream).await
    }

    #[tokio::test]
    async fn a_checkpoint_arrives_as_sent_and_is_answered() {
        for size in [0, 1, 3 << 20] {
            let (mut near, mut far) = pair().await;
            let sent = checkpoint(size);
            let vote = RaftVote::new_committed(7, 1);
            let receiving = async {
                let announced = receive(&mut far).await.unwrap();
                assert_eq!(announced.state_size, size as u64);
                let vote = announced.vote;
                let received = announced.whole(&mut far).await.unwrap();
                answer(&mut far, Ok(&RaftVote::new(8, 2))).await.unwrap();
                (vote, received)
            };
            let (answered, (heard, received)) = tokio::join!(send(&mut near, &vote, &sent), receiving);
            assert_eq!(answered.unwrap(), RaftVote::new(8, 2));
            assert_eq!((heard, received), (vote, sent));
        }
    }

    #[tokio::test]
    async fn a_damaged_or_cut_checkpoint_is_refused() {
        let (mut near, mut far) = pair().await;
        let collect = async {
            let mut bytes = vec![0; 4096];
            let size = far.read(&mut bytes).await.unwrap();
            bytes.truncate(size);
            drop(far);
            bytes
        };
        let (vote, whole) = (RaftVote::new_committed(7, 1), checkpoint(100));
        let (sent, bytes) = tokio::join!(send(&mut near, &vote, &whole), collect);
        assert!(sent.is_err(), "no answer came");
        for change in [bytes.len() - 1, bytes.len() - 101] {
            let mut damaged = bytes.clone();
            damaged[change] ^= 1;
            let (mut near, mut far) = pair().await;
            near.write_all(&damaged).await.unwrap();
            assert!(received(&mut far).await.is_err(), "byte {change}");
        }
        let (mut near, mut far) = pair().await;
        near.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
        drop(near);
        assert!(received(&mut far).await.is_err(), "cut");
    }

    /// So that one without room can say so before it has taken gigabytes into its memory.
    #[tokio::test]
    async fn the_size_of_a_state_is_known_before_it_arrives() {
        let (mut near, mut far) = pair().await;
        let (vote, whole) = (RaftVote::new_committed(7, 1), checkpoint(64 << 20));
        let refusing = async {
            let announced = receive(&mut far).await.unwrap();
            answer(&mut far, Err(())).await.unwrap();
            drop(far);
            announced.state_size
        };
        let (sent, size) = tokio::join!(send(&mut near, &vote, &whole), refusing);
        assert_eq!(size, 64 << 20);
        assert!(sent.is_err());
    }
}
