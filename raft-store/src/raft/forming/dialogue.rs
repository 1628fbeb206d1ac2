//! One question and its answer, little endian: question `len u32 | kind u8 (1 look, 2 promise) | token`, answer
//! `len u32 | standing u8 (0 blank, 1 member, 2 refused, 3 member in quarantine) | nodes u32 | ids u64...`, the last one
//! followed by the end of its log, `set u8 | term u64 | index u64`.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::token::{get_nodes, put_nodes};
use crate::net::Connection;
use crate::raft::network::wire::malformed;
use crate::types::LogId;

const MESSAGE_MAX: u32 = 1 << 16;
pub(super) const LOOK: u8 = 1;
pub(super) const PROMISE: u8 = 2;
/// Time for one question and its answer, a sync of the other side's disk included.
pub(super) const DIALOGUE_MAX: Duration = Duration::from_secs(3);

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Blank,
    /// Takes part in a group of these nodes.
    Member(BTreeSet<u64>),
    /// Can't promise now.
    Refused,
    /// Takes part in a group of these nodes, but may have lost acknowledged entries; its log ends here.
    Unsure(BTreeSet<u64>, Option<LogId>),
}

impl Answer {
    pub(super) fn encode(&self) -> (u8, BytesMut) {
        let nobody = BTreeSet::new();
        let (standing, nodes, last) = match self {
            Answer::Blank => (0, &nobody, None),
            Answer::Member(nodes) => (1, nodes, None),
            Answer::Refused => (2, &nobody, None),
            Answer::Unsure(nodes, last) => (3, nodes, Some(last)),
        };
        let mut body = BytesMut::new();
        put_nodes(&mut body, nodes);
        if let Some(last) = last {
            let id = last.unwrap_or(LogId::new(0, 0));
            body.put_u8(u8::from(last.is_some()));
            body.put_u64_le(id.term);
            body.put_u64_le(id.index);
        }
        (standing, body)
    }

    pub(super) fn decode(standing: u8, mut body: Bytes) -> Option<Answer> {
        let nodes = get_nodes(&mut body)?;
        Some(match standing {
            0 => Answer::Blank,
            1 => Answer::Member(nodes),
            2 => Answer::Refused,
            3 => {
                let set = body.try_get_u8().ok()? == 1;
                let last = LogId::new(body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
                Answer::Unsure(nodes, set.then_some(last))
            }
            _ => return None,
        })
    }
}

pub(super) async fn write_message(stream: &mut Connection, kind: u8, body: &[u8]) -> io::Result<()> {
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u32_le(u32::try_from(1 + body.len()).map_err(|_| malformed("forming message"))?);
    out.put_u8(kind);
    out.put_slice(body);
    stream.write_all(&out).await
}

pub(super) async fn read_message(stream: &mut Connection) -> io::Result<(u8, Bytes)> {
    let size = stream.read_u32_le().await?;
    if !(1..=MESSAGE_MAX).contains(&size) {
        return Err(malformed("forming message"));
    }
    let mut body = vec![0; size as usize];
    stream.read_exact(&mut body).await?;
    let mut body = Bytes::from(body);
    let kind = body.get_u8();
    Ok((kind, body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_come_back_as_written() {
        let nodes: BTreeSet<u64> = [3, 9].into();
        for answer in [
            Answer::Blank,
            Answer::Member(nodes.clone()),
            Answer::Refused,
            Answer::Unsure(nodes.clone(), None),
            Answer::Unsure(nodes, Some(LogId::new(4, 77))),
        ] {
            let (standing, body) = answer.encode();
            let body = body.freeze();
            assert_eq!(Answer::decode(standing, body.clone()), Some(answer));
            for end in 0..body.len() {
                assert_eq!(Answer::decode(standing, body.slice(..end)), None, "cut at {end}");
            }
        }
    }
}
