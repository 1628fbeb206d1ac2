//! The envelope in which one replica asks another to ask a client.
//!
//! | size | field                                                       |
//! |-----:|-------------------------------------------------------------|
//! |    1 | version, 1                                                  |
//! |    1 | 1: the receiver leads and may ask on; 0: only clients of its own |
//! |    4 | milliseconds left                                           |
//! |    1 | 0: a consumer of the group, 1: a producer                   |
//! |  2+n | group, empty for a producer                                 |
//! |  2+n | client id                                                   |
//! |  4+n | the frame for the client with its length                    |

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flotilla_remoting::frame::{Frame, split_frame};

use super::wire::{RELAY, VERSION, WireError, put_text, request, text, version};
use crate::leader::relays::Whom;

/// What a peer asks to ask.
#[derive(Debug)]
pub struct Relayed {
    pub onward: bool,
    pub deadline: Instant,
    pub whom: Whom,
    pub frame: Frame,
}

/// Wraps a frame for a client.
pub fn relay(whom: &Whom, onward: bool, left: Duration, frame: &Frame) -> Frame {
    let mut body = BytesMut::with_capacity(256 + frame.body.len());
    body.put_u8(VERSION);
    body.put_u8(u8::from(onward));
    body.put_u32_le(u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
    let (role, group, client_id) = match whom {
        Whom::Consumer { group, client_id } => (0, &**group, client_id),
        Whom::Producer { client_id } => (1, "", client_id),
    };
    body.put_u8(role);
    put_text(&mut body, group);
    put_text(&mut body, client_id);
    body.extend_from_slice(&frame.encode());
    request(RELAY, body.freeze())
}

/// Reads what [`relay`] wrote. `now` turns the time that was left into a moment of this node's clock.
pub fn relayed(mut body: Bytes, now: Instant) -> Result<Relayed, WireError> {
    const HEAD: WireError = WireError::Short { what: "head" };
    version(&mut body)?;
    let onward = body.try_get_u8().map_err(|_| HEAD)? == 1;
    let left = body.try_get_u32_le().map_err(|_| HEAD)?;
    let role = body.try_get_u8().map_err(|_| HEAD)?;
    let group: Arc<str> = Arc::from(text(&mut body, "group")?);
    let client_id: Arc<str> = Arc::from(text(&mut body, "client id")?);
    let whom = match role {
        0 => Whom::Consumer { group, client_id },
        1 => Whom::Producer { client_id },
        _ => return Err(WireError::Bad { what: "role" }),
    };
    let mut rest = BytesMut::from(body);
    let inner = split_frame(&mut rest)
        .map_err(|_| WireError::Bad { what: "frame" })?
        .ok_or(WireError::Short { what: "frame" })?;
    let frame = Frame::decode(inner).map_err(|_| WireError::Bad { what: "frame" })?;
    Ok(Relayed { onward, deadline: now + Duration::from_millis(left.into()), whom, frame })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flotilla_remoting::code::RequestCode;
    use flotilla_remoting::ext::ExtFields;

    use super::*;

    #[test]
    fn a_request_to_a_client_arrives_as_it_was_and_cut_ones_do_not() {
        let mut ext = ExtFields::default();
        ext.insert("consumerGroup", "g");
        let frame = Frame::request(RequestCode::GetConsumerRunningInfo, ext, Bytes::from_static(b"body"));
        let consumer = Whom::Consumer { group: Arc::from("g"), client_id: Arc::from("c@1") };
        let producer = Whom::Producer { client_id: Arc::from("c@1") };
        for (whom, onward) in [(consumer, true), (producer, false)] {
            let body = relay(&whom, onward, Duration::from_millis(1500), &frame).body;
            let now = Instant::now();
            let read = relayed(body.clone(), now).unwrap();
            assert_eq!((read.whom, read.onward), (whom, onward));
            assert_eq!(read.deadline, now + Duration::from_millis(1500));
            assert_eq!(read.frame, frame);
            for size in 0..body.len() {
                assert!(relayed(body.slice(..size), now).is_err(), "cut at {size}");
            }
        }
    }
}
