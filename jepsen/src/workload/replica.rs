//! Asks one replica that is named, which the client library, made for leaders, does not do: a pull (11) and the query of a
//! committed offset (14) in RocketMQ's remoting protocol, written here from its description and with nothing of the product.
//!
//! A frame: length u32, then u32 whose low 24 bits are the length of a JSON header (high byte 0), header, body; big endian.
//! Source: RocketMQ 5.3 RemotingCommand, PullMessageRequestHeader, QueryConsumerOffsetRequestHeader, MessageDecoder.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::common::id_of;
use crate::history::Seen;

/// Longest wait for a connection or an answer.
const LIMIT: Duration = Duration::from_secs(3);
/// Largest answer, in bytes.
const ANSWER_SIZE_MAX: usize = 16 << 20;
const PULL_MESSAGE: i32 = 11;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const SUCCESS: i32 = 0;
const QUERY_NOT_FOUND: i32 = 22;
/// PULL_NOT_FOUND, PULL_RETRY_IMMEDIATELY, PULL_OFFSET_MOVED: nothing there.
const NOTHING: [i32; 3] = [19, 20, 21];
/// Bits of `sysFlag` in a message: addresses of 16 bytes.
const BORN_HOST_V6: i32 = 1 << 4;
const STORE_HOST_V6: i32 = 1 << 5;
/// A message whose topic has a length of two bytes.
const MAGIC_V2: u32 = 0xDAA3_20AB;

/// A connection to one replica.
#[derive(Debug)]
pub(super) struct Replica {
    stream: TcpStream,
    opaque: i32,
}

/// What a replica told.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) seen: Vec<Seen>,
    pub(super) next: u64,
    pub(super) max: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    code: i32,
    language: &'a str,
    version: i32,
    opaque: i32,
    flag: i32,
    ext_fields: BTreeMap<&'a str, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    code: i32,
    #[serde(default)]
    remark: Option<String>,
    #[serde(default)]
    opaque: i32,
    #[serde(default)]
    ext_fields: BTreeMap<String, String>,
}

impl Replica {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Replica> {
        let stream = timeout(LIMIT, TcpStream::connect(address)).await.context("no connection in time")??;
        stream.set_nodelay(true)?;
        Ok(Replica { stream, opaque: 0 })
    }

    /// Messages of a queue from an offset on; none when there are none. After an error the connection is of no use.
    ///
    /// # Errors
    /// No answer in time, a refusal, or an answer that can't be read.
    pub(super) async fn pull(
        &mut self,
        topic: &str,
        queue: u32,
        from: u64,
        max: u32,
    ) -> anyhow::Result<Pulled> {
        let fields = [
            ("consumerGroup", "TOOLS_CONSUMER".to_owned()),
            ("topic", topic.to_owned()),
            ("queueId", queue.to_string()),
            ("queueOffset", from.to_string()),
            ("maxMsgNums", max.to_string()),
            // The subscription is in the request; the answer is not waited for.
            ("sysFlag", "4".to_owned()),
            ("commitOffset", "0".to_owned()),
            ("suspendTimeoutMillis", "0".to_owned()),
            ("subscription", "*".to_owned()),
            ("subVersion", "0".to_owned()),
            ("expressionType", "TAG".to_owned()),
        ];
        let (answer, body) = self.ask(PULL_MESSAGE, fields.into_iter().collect()).await?;
        let field = |name: &str| answer.ext_fields.get(name).and_then(|text| text.parse::<i64>().ok());
        let seen = match answer.code {
            SUCCESS => messages(&body)?,
            code if NOTHING.contains(&code) => Vec::new(),
            code => bail!("code {code}: {}", answer.remark.unwrap_or_default()),
        };
        let number = |name| field(name).and_then(|number| u64::try_from(number).ok());
        Ok(Pulled {
            seen,
            next: number("nextBeginOffset").context("no nextBeginOffset")?,
            max: number("maxOffset").context("no maxOffset")?,
        })
    }

    /// What a group has committed, `None` where that is nothing. After an error the connection is of no use.
    ///
    /// # Errors
    /// No answer in time, a refusal, or an answer that can't be read.
    pub(super) async fn committed(
        &mut self,
        group: &str,
        topic: &str,
        queue: u32,
    ) -> anyhow::Result<Option<u64>> {
        let fields = [
            ("consumerGroup", group.to_owned()),
            ("topic", topic.to_owned()),
            ("queueId", queue.to_string()),
            // Else nothing committed may be told as the beginning of the queue.
            ("setZeroIfNotFound", "false".to_owned()),
        ];
        let (answer, _) = self.ask(QUERY_CONSUMER_OFFSET, fields.into_iter().collect()).await?;
        match answer.code {
            SUCCESS => {
                let offset = answer.ext_fields.get("offset").context("no offset")?;
                Ok(Some(offset.parse().context("offset")?))
            }
            QUERY_NOT_FOUND => Ok(None),
            code => bail!("code {code}: {}", answer.remark.unwrap_or_default()),
        }
    }

    async fn ask(&mut self, code: i32, fields: BTreeMap<&str, String>) -> anyhow::Result<(Answer, Vec<u8>)> {
        self.opaque += 1;
        let request =
            Request { code, language: "OTHER", version: 0, opaque: self.opaque, flag: 0, ext_fields: fields };
        let header = serde_json::to_vec(&request)?;
        let mut frame = Vec::with_capacity(8 + header.len());
        frame.extend_from_slice(&u32::try_from(header.len() + 4)?.to_be_bytes());
        frame.extend_from_slice(&u32::try_from(header.len())?.to_be_bytes());
        frame.extend_from_slice(&header);
        let (answer, body) = timeout(LIMIT, self.exchange(&frame)).await.context("no answer in time")??;
        ensure!(answer.opaque == self.opaque, "answer to another request");
        Ok((answer, body))
    }

    async fn exchange(&mut self, frame: &[u8]) -> anyhow::Result<(Answer, Vec<u8>)> {
        self.stream.write_all(frame).await?;
        let length = self.stream.read_u32().await? as usize;
        ensure!((4..=ANSWER_SIZE_MAX).contains(&length), "an answer of {length} bytes");
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        let marked = u32::from_be_bytes(bytes[..4].try_into()?);
        ensure!(marked >> 24 == 0, "a header that is not JSON");
        let (header, body) =
            bytes[4..].split_at_checked(marked as usize).context("header beyond the frame")?;
        Ok((serde_json::from_slice(header)?, body.to_vec()))
    }
}

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, size: usize) -> anyhow::Result<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(size).context("a message is cut short")?;
        self.0 = rest;
        Ok(field)
    }

    fn u32(&mut self) -> anyhow::Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn u64(&mut self) -> anyhow::Result<u64> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into()?))
    }
}

fn messages(mut body: &[u8]) -> anyhow::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    while !body.is_empty() {
        let size = u32::from_be_bytes(body.get(..4).context("a message is cut short")?.try_into()?) as usize;
        ensure!(size > 4, "a message of {size} bytes");
        let (one, rest) = body.split_at_checked(size).context("a message is cut short")?;
        seen.push(message(one)?);
        body = rest;
    }
    Ok(seen)
}

/// Size, magic, CRC, queue, flag, queue offset, log offset, system flag, birth, store, times, transaction, body, topic,
/// properties. Source: RocketMQ 5.3 MessageDecoder.
fn message(bytes: &[u8]) -> anyhow::Result<Seen> {
    let mut fields = Fields(bytes);
    let (_size, magic, _crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (queue, _flag, offset, _position) = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u64()?);
    let system = i32::from_be_bytes(fields.take(4)?.try_into()?);
    let host = |bit| if system & bit == 0 { 8 } else { 20 };
    fields.take(8 + host(BORN_HOST_V6) + 8 + host(STORE_HOST_V6))?;
    let redelivered = fields.u32()?;
    fields.take(8)?;
    let size = fields.u32()? as usize;
    let body = fields.take(size)?;
    let topic_size = match magic {
        MAGIC_V2 => usize::from(u16::from_be_bytes(fields.take(2)?.try_into()?)),
        _ => usize::from(fields.take(1)?[0]),
    };
    fields.take(topic_size)?;
    let size = usize::from(u16::from_be_bytes(fields.take(2)?.try_into()?));
    let properties = std::str::from_utf8(fields.take(size)?)?;
    let key = properties.split('\u{2}').find_map(|pair| pair.strip_prefix("KEYS\u{1}"));
    Ok(Seen { queue, offset, id: id_of(body), key: key.map(str::to_owned), redelivered })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stored(queue: u32, offset: u64, body: &[u8], properties: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
        for field in [0, queue, 0] {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[0; 4 + 8 + 8 + 8 + 8]);
        bytes.extend_from_slice(&2_u32.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\x01t");
        bytes.extend_from_slice(&u16::try_from(properties.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(properties.as_bytes());
        let mut whole = u32::try_from(bytes.len() + 4).unwrap().to_be_bytes().to_vec();
        whole.extend_from_slice(&bytes);
        whole
    }

    #[test]
    fn stored_messages_are_read_and_cut_ones_are_not() {
        let mut bytes = stored(3, 7, b"id:5;..", "KEYS\u{1}k\u{2}a\u{1}b\u{2}");
        bytes.extend_from_slice(&stored(3, 8, b"what", ""));
        let seen = messages(&bytes).unwrap();
        assert_eq!(seen[0], Seen { queue: 3, offset: 7, id: Some(5), key: Some("k".into()), redelivered: 2 });
        assert_eq!((seen[1].id, seen[1].offset, &seen[1].key), (None, 8, &None));
        for end in 1..bytes.len() {
            let whole = stored(3, 7, b"id:5;..", "KEYS\u{1}k\u{2}a\u{1}b\u{2}").len();
            assert_eq!(messages(&bytes[..end]).is_ok(), end == whole, "{end}");
        }
    }
}
