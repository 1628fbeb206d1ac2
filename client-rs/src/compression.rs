//! The three codecs of message bodies. Source: RocketMQ 5.3 ZlibCompressor, Lz4Compressor (frame format), ZstdCompressor.

use std::io::{Read, Write};

use bytes::Bytes;
use flotilla_remoting::message::{Compression, SysFlag};

use crate::error::{ClientError, Result};
use crate::limits::DECOMPRESSED_SIZE_MAX;

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// zlib, which every release of every official client reads; level 0 to 9.
    Zlib(u32),
    /// LZ4 frames, 5.0 and later.
    Lz4,
    /// zstd, 5.0 and later; level 1 to 22.
    Zstd(i32),
}

impl Codec {
    /// Bits of the message's `sysFlag` that announce a body compressed by this codec.
    pub fn flag_bits(self) -> i32 {
        let kind = match self {
            Codec::Lz4 => 1,
            Codec::Zstd(_) => 2,
            Codec::Zlib(_) => 3,
        };
        SysFlag::COMPRESSED | kind << 8
    }

    /// The body, compressed. CPU time only: some 100 MB/s for zlib, several times that for the others.
    ///
    /// # Errors
    /// A level that the codec does not have.
    pub fn compress(self, body: &[u8]) -> Result<Bytes> {
        let failed = |error: std::io::Error| ClientError::Invalid(format!("compression: {error}"));
        let compressed = match self {
            Codec::Zlib(level) => {
                let level = flate2::Compression::new(level.min(9));
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::with_capacity(body.len() / 2), level);
                encoder.write_all(body).and_then(|()| encoder.finish()).map_err(failed)?
            }
            Codec::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::with_capacity(body.len() / 2));
                encoder.write_all(body).map_err(failed)?;
                encoder.finish().map_err(|error| ClientError::Invalid(format!("compression: {error}")))?
            }
            Codec::Zstd(level) => zstd::bulk::compress(body, level).map_err(failed)?,
        };
        Ok(compressed.into())
    }
}

/// The body as the producer gave it.
///
/// # Errors
/// The bytes are no such stream, the codec has no name, or the body would exceed 64 MiB.
pub(crate) fn decompress(body: &[u8], compression: Compression) -> std::result::Result<Bytes, String> {
    let read = |reader: &mut dyn Read| -> std::io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(body.len() * 3);
        reader.take(DECOMPRESSED_SIZE_MAX as u64 + 1).read_to_end(&mut out)?;
        Ok(out)
    };
    let out = match compression {
        Compression::Zlib => read(&mut flate2::read::ZlibDecoder::new(body)),
        Compression::Lz4 => read(&mut lz4_flex::frame::FrameDecoder::new(body)),
        Compression::Zstd => {
            zstd::stream::read::Decoder::new(body).and_then(|mut decoder| read(&mut decoder))
        }
        Compression::Unknown(kind) => return Err(format!("compression {kind} has no name")),
    };
    let out = out.map_err(|error| error.to_string())?;
    if out.len() > DECOMPRESSED_SIZE_MAX {
        return Err(format!("body exceeds {DECOMPRESSED_SIZE_MAX} bytes"));
    }
    Ok(out.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_gives_back_what_it_got_and_announces_itself() {
        let body: Vec<u8> = (0..40_000_u32).flat_map(|n| (n / 100).to_be_bytes()).collect();
        for codec in [Codec::Zlib(5), Codec::Lz4, Codec::Zstd(3)] {
            let compressed = codec.compress(&body).unwrap();
            assert!(compressed.len() < body.len(), "{codec:?}");
            let announced = SysFlag(codec.flag_bits()).compression().unwrap();
            assert_eq!(decompress(&compressed, announced).unwrap(), body, "{codec:?}");
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for compression in [Compression::Zlib, Compression::Lz4, Compression::Zstd, Compression::Unknown(7)] {
            assert!(decompress(b"nonsense", compression).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn a_bomb_does_not_explode() {
        let bomb = Codec::Zstd(3).compress(&vec![0; DECOMPRESSED_SIZE_MAX + 1]).unwrap();
        assert!(bomb.len() < 100_000);
        assert!(decompress(&bomb, Compression::Zstd).unwrap_err().contains("exceeds"));
    }
}
