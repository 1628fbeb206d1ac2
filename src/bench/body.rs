//! Body of a message of the load, big endian: who sent it, as which one, and when it should have been sent.
//!
//! | offset | size | field    | meaning                                                        |
//! |-------:|-----:|----------|----------------------------------------------------------------|
//! |      0 |    4 | magic    | 0x464C_4231 (`FLB1`)                                            |
//! |      4 |    8 | run      | random number of the run                                       |
//! |     12 |    4 | producer | number of the sender in the run: one message in flight at once |
//! |     16 |    8 | sequence | number of the message of that sender, from 0                   |
//! |     24 |    8 | intended | time at which it should have been sent, µs since 1970          |
//! |     32 |    4 | key      | number of its ordering key, 0xFFFF_FFFF without one            |
//! |     36 |      | filler   | bytes that don't compress                                      |

use bytes::{BufMut, Bytes, BytesMut};

use super::size::{Random, Sizes};

/// Bytes of the header: the smallest body.
pub const HEADER_SIZE: usize = 36;
const MAGIC: u32 = 0x464C_4231;
const NO_KEY: u32 = u32::MAX;

/// Greatest sequence number that is believed; a larger one is not of this tool.
pub const SEQUENCE_MAX: u64 = 1 << 32;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Random number of the run.
    pub run: u64,
    /// Number of the sender in the run.
    pub producer: u32,
    /// Number of the message of that sender.
    pub sequence: u64,
    /// Time at which it should have been sent, µs since 1970.
    pub intended_us: u64,
    /// Number of its ordering key.
    pub key: Option<u32>,
}

impl Header {
    fn write(&self, out: &mut BytesMut) {
        out.put_u32(MAGIC);
        out.put_u64(self.run);
        out.put_u32(self.producer);
        out.put_u64(self.sequence);
        out.put_u64(self.intended_us);
        out.put_u32(self.key.unwrap_or(NO_KEY));
    }

    /// Reads the header of a body; `None` when the message is not of this tool.
    pub fn read(body: &[u8]) -> Option<Header> {
        let header: &[u8; HEADER_SIZE] = body.first_chunk()?;
        let (magic, rest) = header.split_first_chunk::<4>()?;
        let (run, rest) = rest.split_first_chunk::<8>()?;
        let (producer, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (intended, rest) = rest.split_first_chunk::<8>()?;
        let key = u32::from_be_bytes(*rest.first_chunk()?);
        let header = Header {
            run: u64::from_be_bytes(*run),
            producer: u32::from_be_bytes(*producer),
            sequence: u64::from_be_bytes(*sequence),
            intended_us: u64::from_be_bytes(*intended),
            key: (key != NO_KEY).then_some(key),
        };
        (u32::from_be_bytes(*magic) == MAGIC && header.sequence <= SEQUENCE_MAX).then_some(header)
    }
}

/// Makes the bodies of one sender. The memory of a body is used again once nobody holds it.
#[derive(Debug)]
pub struct Bodies {
    sizes: Sizes,
    random: Random,
    filler: Bytes,
    buffer: BytesMut,
}

impl Bodies {
    /// Bodies of these sizes; `filler` is as long as the largest, and shared.
    pub fn new(sizes: Sizes, filler: Bytes, seed: u64) -> Bodies {
        Bodies { sizes, random: Random::new(seed), filler, buffer: BytesMut::new() }
    }

    /// The next body.
    pub fn make(&mut self, header: &Header) -> Bytes {
        let size = self.sizes.pick(self.random.number());
        self.buffer.reserve(size);
        header.write(&mut self.buffer);
        self.buffer.extend_from_slice(&self.filler[..size - HEADER_SIZE]);
        self.buffer.split().freeze()
    }
}

/// Bytes that don't compress, for bodies of these sizes.
pub fn filler(sizes: &Sizes) -> Bytes {
    let mut random = Random::new(1);
    let size = sizes.largest();
    let mut filler = Vec::with_capacity(size + 8);
    while filler.len() < size {
        filler.extend_from_slice(&random.number().to_ne_bytes());
    }
    filler.truncate(size);
    Bytes::from(filler)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_what_was_written_and_has_its_size() {
        let sizes = Sizes::Uniform(36, 100);
        let mut bodies = Bodies::new(sizes.clone(), filler(&sizes), 3);
        for sequence in 0..100 {
            let key = (sequence % 2 == 0).then_some(9);
            let header = Header { run: 7, producer: 2, sequence, intended_us: 55, key };
            let body = bodies.make(&header);
            assert!((36..=100).contains(&body.len()));
            assert_eq!(Header::read(&body), Some(header));
        }
    }

    #[test]
    fn the_memory_of_a_body_is_used_again() {
        let sizes = Sizes::Fixed(1024);
        let mut bodies = Bodies::new(sizes.clone(), filler(&sizes), 3);
        let header = Header { run: 7, producer: 2, sequence: 0, intended_us: 55, key: None };
        let first = bodies.make(&header);
        let place = first.as_ptr();
        drop(first);
        assert_eq!(bodies.make(&header).as_ptr(), place);
    }

    #[test]
    fn what_others_sent_is_no_header() {
        assert_eq!(Header::read(b""), None);
        assert_eq!(Header::read(&[0; 100]), None);
        let sizes = Sizes::Fixed(36);
        let header = Header { run: 7, producer: 2, sequence: SEQUENCE_MAX + 1, intended_us: 55, key: None };
        assert_eq!(Header::read(&Bodies::new(sizes.clone(), filler(&sizes), 3).make(&header)), None);
    }
}
