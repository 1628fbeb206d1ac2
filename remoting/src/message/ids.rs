//! Ids of messages.
//!
//! An *offset id* names the broker that stored a message and the log position: upper-case hex of the address (4 or 16
//! bytes), the port (4) and the position (8), 32 or 56 digits. A *unique id* is given by the producer: address, process
//! number (2), class-loader hash (4), ms since the start of the month (4) and a counter (2).
//! Source: RocketMQ 5.3 MessageDecoder, MessageClientIDSetter; vectors of kinds `offset_msg_id` and `uniq_id`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// An id has 32 or 56 digits.
    #[error("an id has 32 or 56 hex digits, not {size} bytes")]
    Size {
        /// Size in bytes.
        size: usize,
    },
    /// A character that is no hex digit.
    #[error("no hex digit at byte {at}")]
    Digit {
        /// Offset in the text.
        at: usize,
    },
    /// The port is beyond 65535.
    #[error("the port of the id is out of range")]
    Port,
}

/// Id by store host and log position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetMessageId {
    /// Address of the broker that stored the message.
    pub host: SocketAddr,
    /// Log position of the record.
    pub physical_offset: i64,
}

/// Unique id given by a producer, or by the broker when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UniqueId {
    /// Address of the client.
    pub ip: IpAddr,
    /// Number of the process, lower 16 bits.
    pub process: u16,
    /// Hash that tells apart copies of the library in one process.
    pub loader_hash: u32,
    /// Time in ms since the start of the month at the client.
    pub month_ms: u32,
    /// Counter, wraps.
    pub counter: u16,
}

const OFFSET_ID_SIZE_V4: usize = 4 + 4 + 8;
const OFFSET_ID_SIZE_V6: usize = 16 + 4 + 8;

impl fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ip(f, self.host.ip().to_canonical())?;
        write!(f, "{:08X}{:016X}", self.host.port(), self.physical_offset)
    }
}

impl FromStr for OffsetMessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<OffsetMessageId, IdError> {
        let bytes = Hex::parse(text)?;
        let (ip, rest) = bytes.ip();
        let port = u32::from_be_bytes(part(rest, 0));
        let port = u16::try_from(port).map_err(|_| IdError::Port)?;
        let physical_offset = i64::from_be_bytes(part(rest, 4));
        Ok(OffsetMessageId { host: SocketAddr::new(ip, port), physical_offset })
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ip(f, self.ip.to_canonical())?;
        write!(f, "{:04X}{:08X}{:08X}{:04X}", self.process, self.loader_hash, self.month_ms, self.counter)
    }
}

impl FromStr for UniqueId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<UniqueId, IdError> {
        let bytes = Hex::parse(text)?;
        let (ip, rest) = bytes.ip();
        Ok(UniqueId {
            ip,
            process: u16::from_be_bytes(part(rest, 0)),
            loader_hash: u32::from_be_bytes(part(rest, 2)),
            month_ms: u32::from_be_bytes(part(rest, 6)),
            counter: u16::from_be_bytes(part(rest, 10)),
        })
    }
}

fn write_ip(f: &mut fmt::Formatter<'_>, ip: IpAddr) -> fmt::Result {
    match ip {
        IpAddr::V4(ip) => write!(f, "{:08X}", u32::from(ip)),
        IpAddr::V6(ip) => write!(f, "{:032X}", u128::from(ip)),
    }
}

/// Bytes of an id.
struct Hex {
    bytes: [u8; OFFSET_ID_SIZE_V6],
    size: usize,
}

impl Hex {
    fn parse(text: &str) -> Result<Hex, IdError> {
        let digits = text.as_bytes();
        let size = digits.len() / 2;
        let whole = digits.len().is_multiple_of(2);
        if !whole || size != OFFSET_ID_SIZE_V4 && size != OFFSET_ID_SIZE_V6 {
            return Err(IdError::Size { size: digits.len() });
        }
        let mut bytes = [0; OFFSET_ID_SIZE_V6];
        for (at, digit) in digits.iter().enumerate() {
            let value = char::from(*digit).to_digit(16).ok_or(IdError::Digit { at })?;
            // One hex digit fits four bits.
            bytes[at / 2] = bytes[at / 2] << 4 | value as u8;
        }
        Ok(Hex { bytes, size })
    }

    /// The address, and the twelve bytes behind it.
    fn ip(&self) -> (IpAddr, &[u8]) {
        if self.size == OFFSET_ID_SIZE_V4 {
            (IpAddr::V4(Ipv4Addr::from(part::<4>(&self.bytes, 0))), &self.bytes[4..self.size])
        } else {
            (IpAddr::V6(Ipv6Addr::from(part::<16>(&self.bytes, 0))), &self.bytes[16..self.size])
        }
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

const _: () = assert!(OFFSET_ID_SIZE_V4 == 4 + 2 + 4 + 4 + 2);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!("".parse::<OffsetMessageId>(), Err(IdError::Size { size: 0 }));
        assert_eq!("0A".parse::<UniqueId>(), Err(IdError::Size { size: 2 }));
        let mut text = "0A00000500002A9F000000024CB016EA".to_owned();
        text.replace_range(3..4, "x");
        assert_eq!(text.parse::<OffsetMessageId>(), Err(IdError::Digit { at: 3 }));
        assert_eq!("0A000005FFFFFFFF000000024CB016EA".parse::<OffsetMessageId>(), Err(IdError::Port));
    }

    #[test]
    fn lower_case_is_read_and_upper_case_is_written() {
        let id: OffsetMessageId = "0a00000500002a9f000000024cb016ea".parse().unwrap();
        assert_eq!(id.physical_offset, 9_876_543_210);
        assert_eq!(id.to_string(), "0A00000500002A9F000000024CB016EA");
    }
}
