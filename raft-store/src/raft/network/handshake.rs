//! The first bytes of every connection between replicas.
//!
//! The caller names the cluster, the group, its own node id and the node id that it wants to reach; the other side
//! answers its own id and whether it is that node. Only then anything else is read, so a wiped disk (a new node id at
//! the old address), a wrong port or another cluster never take part by accident.
//!
//! Hello: `len u32 | magic 8 | version u16 | purpose u8 | from u64 | to u64 | cluster | group`.
//! Welcome: `len u32 | verdict u8 (0 come in, 1 refused, 2 come in, quarantined) | node u64 | reason`. Strings are
//! `len u16 | UTF-8`. Little endian.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::malformed;
use crate::identity::NodeId;
use crate::net::{Connection, Network};

const MAGIC: &[u8; 8] = b"flotraft";
const VERSION: u16 = 1;
/// Both messages are short; more is not read.
const SIZE_MAX: u32 = 4096;

/// What a connection is for. The numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Votes, heartbeats.
    Control = 1,
    /// Append requests with records.
    Entries = 2,
    /// One checkpoint.
    Checkpoint = 3,
    /// Questions around forming a group; the caller may not know the other's id yet.
    Forming = 4,
    /// Handed to the application.
    Application = 5,
}

impl Purpose {
    fn from_number(number: u8) -> Option<Purpose> {
        match number {
            1 => Some(Purpose::Control),
            2 => Some(Purpose::Entries),
            3 => Some(Purpose::Checkpoint),
            4 => Some(Purpose::Forming),
            5 => Some(Purpose::Application),
            _ => None,
        }
    }
}

/// What the caller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) purpose: Purpose,
    pub(crate) cluster: String,
    pub(crate) group: String,
    pub(crate) from: NodeId,
    /// `None`: whoever answers there; only for [`Purpose::Forming`] and [`Purpose::Application`].
    pub(crate) to: Option<NodeId>,
}

fn put_text(out: &mut BytesMut, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16_le(length);
    out.put_slice(&text.as_bytes()[..usize::from(length)]);
}

fn get_text(bytes: &mut Bytes) -> io::Result<String> {
    let length = usize::from(bytes.try_get_u16_le().map_err(|_| malformed("handshake"))?);
    if length > bytes.len() {
        return Err(malformed("handshake"));
    }
    String::from_utf8(bytes.split_to(length).to_vec()).map_err(|_| malformed("handshake"))
}

impl Hello {
    fn encode(&self) -> Bytes {
        let mut body = BytesMut::new();
        body.put_slice(MAGIC);
        body.put_u16_le(VERSION);
        body.put_u8(self.purpose as u8);
        body.put_u64_le(self.from.0);
        body.put_u64_le(self.to.map_or(0, |node| node.0));
        put_text(&mut body, &self.cluster);
        put_text(&mut body, &self.group);
        framed(&body)
    }

    fn decode(mut bytes: Bytes) -> io::Result<Hello> {
        if bytes.len() < MAGIC.len() + 2 + 1 + 16 || bytes.split_to(MAGIC.len()) != MAGIC[..] {
            return Err(malformed("handshake"));
        }
        let version = bytes.get_u16_le();
        if version != VERSION {
            return Err(malformed(&format!("handshake: version {version}, this node speaks {VERSION}")));
        }
        let purpose = Purpose::from_number(bytes.get_u8()).ok_or_else(|| malformed("handshake"))?;
        let from = NodeId(bytes.get_u64_le());
        let to = bytes.get_u64_le();
        let cluster = get_text(&mut bytes)?;
        let group = get_text(&mut bytes)?;
        Ok(Hello { purpose, cluster, group, from, to: (to != 0).then_some(NodeId(to)) })
    }
}

fn framed(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + body.len());
    out.put_u32_le(u32::try_from(body.len()).expect("a handshake is short"));
    out.put_slice(body);
    out.freeze()
}

async fn read_framed(stream: &mut Connection) -> io::Result<Bytes> {
    let size = stream.read_u32_le().await?;
    if size > SIZE_MAX {
        return Err(malformed("handshake"));
    }
    let mut body = vec![0; size as usize];
    stream.read_exact(&mut body).await?;
    Ok(Bytes::from(body))
}

/// Reads a hello from a connection that was just accepted.
pub(crate) async fn read_hello(stream: &mut Connection) -> io::Result<Hello> {
    Hello::decode(read_framed(stream).await?)
}

/// What the called node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Welcome<'a> {
    /// Go on.
    ComeIn,
    /// Go on, and know that this node may have lost acknowledged entries of its log.
    Quarantined,
    /// The connection will be closed; a sentence for the caller's log.
    Refused(&'a str),
}

/// Answers a hello.
pub(crate) async fn write_welcome(
    stream: &mut Connection,
    own: NodeId,
    welcome: Welcome<'_>,
) -> io::Result<()> {
    let (verdict, reason) = match welcome {
        Welcome::ComeIn => (0, ""),
        Welcome::Refused(reason) => (1, reason),
        Welcome::Quarantined => (2, ""),
    };
    let mut body = BytesMut::new();
    body.put_u8(verdict);
    body.put_u64_le(own.0);
    put_text(&mut body, reason);
    stream.write_all(&framed(&body)).await
}

/// A connection whose other side is known.
pub(crate) struct Met {
    pub(crate) stream: Connection,
    pub(crate) node: NodeId,
    /// The node may have lost acknowledged entries.
    pub(crate) quarantined: bool,
}

/// Connects and shakes hands.
///
/// # Errors
/// `ConnectionRefused` with the other side's reason when it isn't the node or the group that was called; any other
/// kind for the network's failures; `TimedOut` after `within`.
pub(crate) async fn connect(
    network: &Network,
    address: &str,
    hello: &Hello,
    within: Duration,
) -> io::Result<Met> {
    let dialogue = async {
        let mut stream = network.connect(address).await?;
        super::tune(&stream)?;
        stream.write_all(&hello.encode()).await?;
        let mut welcome = read_framed(&mut stream).await?;
        let verdict = welcome.try_get_u8().map_err(|_| malformed("welcome"))?;
        let node = NodeId(welcome.try_get_u64_le().map_err(|_| malformed("welcome"))?);
        let reason = get_text(&mut welcome)?;
        match verdict {
            0 | 2 => Ok(Met { stream, node, quarantined: verdict == 2 }),
            _ => Err(io::Error::new(io::ErrorKind::ConnectionRefused, reason)),
        }
    };
    match tokio::time::timeout(within, dialogue).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no welcome from {address} in time"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hello_comes_back_as_sent_and_cut_ones_are_refused() {
        let hello = Hello {
            purpose: Purpose::Entries,
            cluster: "DefaultCluster".into(),
            group: "broker-ä".into(),
            from: NodeId(7),
            to: Some(NodeId(9)),
        };
        let bytes = hello.encode().slice(4..);
        assert_eq!(Hello::decode(bytes.clone()).unwrap(), hello);
        for end in 0..bytes.len() {
            assert!(Hello::decode(bytes.slice(..end)).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn another_protocol_or_version_is_refused() {
        let http = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: example.org\r\n");
        assert!(Hello::decode(http).is_err());
        let hello = Hello {
            purpose: Purpose::Control,
            cluster: "c".into(),
            group: "g".into(),
            from: NodeId(1),
            to: None,
        };
        let mut bytes = BytesMut::from(&hello.encode()[4..]);
        bytes[8] = 2;
        let refusal = Hello::decode(bytes.freeze()).unwrap_err().to_string();
        assert!(refusal.contains("version 2"), "{refusal}");
    }
}
