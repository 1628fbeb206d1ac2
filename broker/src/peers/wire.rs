//! The codes and bodies that replicas exchange. They never leave the group, so they may change with the version byte.
//!
//! Envelope of a forwarded call, little endian:
//!
//! | size | field                                                     |
//! |-----:|-----------------------------------------------------------|
//! |    1 | version, 1                                                |
//! |    4 | milliseconds left until the caller's deadline             |
//! |    2 | length of the client's address                            |
//! |    n | the client's address as `ip:port`                         |
//! |    2 | length of the client id, 0 when the client has not said   |
//! |    n | client id                                                 |
//! |  4+n | the client's frame with its length, as it came            |
//!
//! Adding a field to the client's own header instead would break its signature and hide its address (FAILOVER.md 10).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::frame::{Frame, Header, SerializeType, split_frame};
use thiserror::Error;

use crate::sessions::producers::Producer;

/// A client's call, wrapped.
pub const FORWARD: i32 = 31_001;
/// A command that a follower asks the leader to propose.
pub const PROPOSE: i32 = 31_002;
/// Which members of consumer groups are connected to the sending replica.
pub const PRESENCE: i32 = 31_003;
/// A frame for clients that are connected to the receiving replica.
pub const DELIVER: i32 = 31_004;

/// The leader is asked to hand leadership over.
pub const TRANSFER: i32 = 31_005;

/// Asks for nothing but an answer.
pub const PING: i32 = 31_006;

/// Which producers are connected to the sending replica.
pub const PRODUCERS: i32 = 31_020;

/// The call was taken up and the body holds its answer.
pub const ANSWERED: i32 = 0;
/// Nothing was done, because the receiver does not lead: the call may be sent again, anywhere.
pub const NOT_PROPOSED: i32 = 1;
/// The receiver could not read the request or tried and does not know what came of it.
pub const FAILED: i32 = 2;

const VERSION: u8 = 1;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    #[error("peer message ends early at {what}")]
    Short { what: &'static str },
    #[error("peer message has version {found}, this node speaks {VERSION}")]
    Version { found: u8 },
    #[error("peer message holds a bad {what}")]
    Bad { what: &'static str },
}

/// A forwarded call as the leader sees it.
#[derive(Debug)]
pub struct Forwarded {
    pub address: SocketAddr,
    pub client_id: Option<Arc<str>>,
    pub deadline: Instant,
    pub request: Frame,
}

/// Wraps a client's frame.
pub fn forward(inner: &Frame, address: SocketAddr, client_id: Option<&str>, remaining: Duration) -> Frame {
    let mut body = BytesMut::with_capacity(256 + inner.body.len());
    body.put_u8(VERSION);
    body.put_u32_le(u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX));
    put_text(&mut body, &address.to_string());
    put_text(&mut body, client_id.unwrap_or(""));
    body.extend_from_slice(&inner.encode());
    request(FORWARD, body.freeze())
}

/// Unwraps a client's frame. `now` turns the time that was left into a moment of this node's clock.
pub fn forwarded(mut body: Bytes, now: Instant) -> Result<Forwarded, WireError> {
    version(&mut body)?;
    let remaining = Duration::from_millis(u64::from(
        body.try_get_u32_le().map_err(|_| WireError::Short { what: "deadline" })?,
    ));
    let address = text(&mut body, "address")?.parse().map_err(|_| WireError::Bad { what: "address" })?;
    let client_id = text(&mut body, "client id")?;
    let mut rest = BytesMut::from(body);
    let inner = split_frame(&mut rest)
        .map_err(|_| WireError::Bad { what: "frame" })?
        .ok_or(WireError::Short { what: "frame" })?;
    let request = Frame::decode(inner).map_err(|_| WireError::Bad { what: "frame" })?;
    let client_id = (!client_id.is_empty()).then(|| Arc::from(client_id.as_str()));
    Ok(Forwarded { address, client_id, deadline: now + remaining, request })
}

/// A group and the client id of a member.
pub type Member = (Arc<str>, Arc<str>);

/// The members that a replica holds connections of: (group, client id), in any order.
pub fn presence(members: &[Member]) -> Frame {
    let mut body = BytesMut::new();
    body.put_u8(VERSION);
    body.put_u32_le(u32::try_from(members.len()).unwrap_or(u32::MAX));
    for (group, client) in members {
        put_text(&mut body, group);
        put_text(&mut body, client);
    }
    request(PRESENCE, body.freeze())
}

/// Reads what [`presence`] wrote.
pub fn present(mut body: Bytes) -> Result<Vec<Member>, WireError> {
    version(&mut body)?;
    let count = body.try_get_u32_le().map_err(|_| WireError::Short { what: "count" })?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push((Arc::from(text(&mut body, "group")?), Arc::from(text(&mut body, "client id")?)));
    }
    Ok(members)
}

/// The producers that a replica holds connections of, in any order.
pub fn producers(producers: &[Producer]) -> Frame {
    let mut body = BytesMut::new();
    body.put_u8(VERSION);
    body.put_u32_le(u32::try_from(producers.len()).unwrap_or(u32::MAX));
    for producer in producers {
        put_text(&mut body, &producer.group);
        put_text(&mut body, &producer.client_id);
        put_text(&mut body, &producer.address);
        body.put_u8(producer.language);
        body.put_i32_le(producer.version);
        body.put_i64_le(producer.heard_ms);
    }
    request(PRODUCERS, body.freeze())
}

/// Reads what [`producers`] wrote.
pub fn produced(mut body: Bytes) -> Result<Vec<Producer>, WireError> {
    version(&mut body)?;
    let count = body.try_get_u32_le().map_err(|_| WireError::Short { what: "count" })?;
    let mut producers = Vec::new();
    for _ in 0..count {
        producers.push(Producer {
            group: Arc::from(text(&mut body, "group")?),
            client_id: Arc::from(text(&mut body, "client id")?),
            address: Arc::from(text(&mut body, "address")?),
            language: body.try_get_u8().map_err(|_| WireError::Short { what: "language" })?,
            version: body.try_get_i32_le().map_err(|_| WireError::Short { what: "client version" })?,
            heard_ms: body.try_get_i64_le().map_err(|_| WireError::Short { what: "heartbeat time" })?,
        });
    }
    Ok(producers)
}

/// A frame for the named clients, to be passed on to each as it is.
pub fn deliver(client_ids: &[Arc<str>], frame: &Frame) -> Frame {
    let mut body = BytesMut::with_capacity(128 + frame.body.len());
    body.put_u8(VERSION);
    body.put_u32_le(u32::try_from(client_ids.len()).unwrap_or(u32::MAX));
    for client_id in client_ids {
        put_text(&mut body, client_id);
    }
    body.extend_from_slice(&frame.encode());
    request(DELIVER, body.freeze())
}

/// Reads what [`deliver`] wrote.
pub fn delivery(mut body: Bytes) -> Result<(Vec<String>, Frame), WireError> {
    version(&mut body)?;
    let count = body.try_get_u32_le().map_err(|_| WireError::Short { what: "count" })?;
    let mut client_ids = Vec::new();
    for _ in 0..count {
        client_ids.push(text(&mut body, "client id")?);
    }
    let mut rest = BytesMut::from(body);
    let inner = split_frame(&mut rest)
        .map_err(|_| WireError::Bad { what: "frame" })?
        .ok_or(WireError::Short { what: "frame" })?;
    Ok((client_ids, Frame::decode(inner).map_err(|_| WireError::Bad { what: "frame" })?))
}

/// Finds out whether a replica is there.
pub fn ping() -> Frame {
    request(PING, Bytes::new())
}

/// Asks the leader to hand over, to a peer or to the fittest.
pub fn transfer(to: Option<u64>) -> Frame {
    let mut body = BytesMut::with_capacity(10);
    body.put_u8(VERSION);
    body.put_u8(u8::from(to.is_some()));
    body.put_u64_le(to.unwrap_or(0));
    request(TRANSFER, body.freeze())
}

/// Reads what [`transfer`] wrote.
pub fn transfer_target(mut body: Bytes) -> Result<Option<u64>, WireError> {
    version(&mut body)?;
    let named = body.try_get_u8().map_err(|_| WireError::Short { what: "target" })? == 1;
    let peer = body.try_get_u64_le().map_err(|_| WireError::Short { what: "target" })?;
    Ok(named.then_some(peer))
}

/// Head of an answer whose body is the answer to the client, frame length included.
pub fn answered(opaque: i32) -> Frame {
    response(ANSWERED, opaque)
}

/// Head of the answer "does not lead, nothing done".
pub fn not_proposed(opaque: i32) -> Frame {
    response(NOT_PROPOSED, opaque)
}

/// Reads the client's answer out of an answered envelope.
pub fn answer(body: Bytes) -> Result<Frame, WireError> {
    let mut rest = BytesMut::from(body);
    let inner = split_frame(&mut rest)
        .map_err(|_| WireError::Bad { what: "frame" })?
        .ok_or(WireError::Short { what: "frame" })?;
    Frame::decode(inner).map_err(|_| WireError::Bad { what: "frame" })
}

/// A request between replicas: a binary header, which is the cheaper one to write and read.
pub fn request(code: i32, body: Bytes) -> Frame {
    let mut header = Header::new(code, 0, ExtFields::default());
    header.serialize = SerializeType::Rocketmq;
    Frame { header, body }
}

/// The answer to such a request.
pub fn response(code: i32, opaque: i32) -> Frame {
    const RESPONSE: i32 = 1;
    let mut header = Header::new(code, RESPONSE, ExtFields::default());
    header.serialize = SerializeType::Rocketmq;
    header.opaque = opaque;
    Frame { header, body: Bytes::new() }
}

fn version(body: &mut Bytes) -> Result<(), WireError> {
    match body.try_get_u8() {
        Ok(VERSION) => Ok(()),
        Ok(found) => Err(WireError::Version { found }),
        Err(_) => Err(WireError::Short { what: "version" }),
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    debug_assert!(text.len() <= usize::from(u16::MAX), "texts of peers are names and addresses");
    let size = text.len().min(usize::from(u16::MAX));
    out.put_u16_le(size as u16);
    out.put_slice(&text.as_bytes()[..size]);
}

fn text(body: &mut Bytes, what: &'static str) -> Result<String, WireError> {
    let size = usize::from(body.try_get_u16_le().map_err(|_| WireError::Short { what })?);
    if body.len() < size {
        return Err(WireError::Short { what });
    }
    String::from_utf8(body.split_to(size).to_vec()).map_err(|_| WireError::Bad { what })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flotilla_remoting::code::RequestCode;

    use super::*;

    fn client_frame() -> Frame {
        let mut ext = ExtFields::default();
        ext.insert("topic", "TopicTest");
        ext.insert("Signature", "abc=");
        let mut frame = Frame::request(RequestCode::SendMessage, ext, Bytes::from_static(b"body"));
        frame.header.opaque = 77;
        frame
    }

    #[test]
    fn a_forwarded_call_arrives_as_it_was() {
        let address: SocketAddr = "10.1.2.3:40000".parse().unwrap();
        let wrapped = forward(&client_frame(), address, Some("client@1"), Duration::from_millis(1500));
        let now = Instant::now();
        let unwrapped = forwarded(wrapped.body, now).unwrap();
        assert_eq!(unwrapped.address, address);
        assert_eq!(unwrapped.client_id.as_deref(), Some("client@1"));
        assert_eq!(unwrapped.deadline, now + Duration::from_millis(1500));
        assert_eq!(unwrapped.request, client_frame());
    }

    #[test]
    fn reports_deliveries_and_targets_arrive_as_they_were() {
        let members = vec![(Arc::from("group"), Arc::from("client"))];
        assert_eq!(present(presence(&members).body).unwrap(), members);
        let producer = Producer {
            group: Arc::from("group"),
            client_id: Arc::from("client"),
            address: Arc::from("10.0.0.1:40000"),
            language: 9,
            version: 479,
            heard_ms: 1_700_000_000_000,
        };
        assert_eq!(produced(producers(std::slice::from_ref(&producer)).body).unwrap(), [producer]);
        let clients = [Arc::from("client"), Arc::from("other")];
        let (found, frame) = delivery(deliver(&clients, &client_frame()).body).unwrap();
        assert_eq!(found, ["client", "other"]);
        assert_eq!(frame, client_frame());
        assert_eq!(transfer_target(transfer(Some(2)).body).unwrap(), Some(2));
        assert_eq!(transfer_target(transfer(None).body).unwrap(), None);
    }

    #[test]
    fn a_cut_message_is_an_error_wherever_it_is_cut() {
        let address: SocketAddr = "[::1]:40000".parse().unwrap();
        let whole = forward(&client_frame(), address, None, Duration::from_secs(1)).body;
        for size in 0..whole.len() {
            assert!(forwarded(whole.slice(..size), Instant::now()).is_err(), "cut at {size}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(present(Bytes::from_static(&[9])).unwrap_err(), WireError::Version { found: 9 });
    }
}
