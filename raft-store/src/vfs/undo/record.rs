//! Records of the undo journal.
//!
//! A frame, little endian: size of what follows the checksum (4), CRC-32C of that (4), number (8), kind (1), and the fields in the
//! order of [`Note`]'s; strings and bytes with their length (4) before them. Numbers grow by one.

use std::path::PathBuf;

use bytes::{Buf, BufMut};

use super::super::memory_state::NameChange;
use crate::record::crc32c;

/// Bytes before what the checksum covers.
const FRAME_HEAD: usize = 8;

/// What stood where a write is about to go, as far as the file reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Old {
    Zeros(u64),
    Bytes(Vec<u8>),
}

/// One thing that the journal tells, before it is done or after it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// `size` bytes at `offset` are about to change; the file had `file_size` bytes.
    Bytes { file: u64, offset: u64, size: u64, file_size: u64, old: Old },
    /// The file is about to be made `size` bytes long, if it is shorter.
    Size { file: u64, size: u64, file_size: u64 },
    /// What was noted of a file up to a number is on the disk.
    FileSynced { file: u64, upto: u64 },
    /// Names of a folder are about to change; `before` says what each of them meant.
    Names { dir: PathBuf, change: NameChange, before: Vec<(String, Option<u64>)> },
    /// What was noted of a folder's names up to a number is on the disk.
    DirSynced { dir: PathBuf, upto: u64 },
    /// The change of this number was refused and has not happened.
    Undone { number: u64 },
}

impl Old {
    pub(super) fn of(bytes: Vec<u8>) -> Old {
        if bytes.iter().all(|byte| *byte == 0) { Old::Zeros(bytes.len() as u64) } else { Old::Bytes(bytes) }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Old::Zeros(size) => vec![0; *size as usize],
            Old::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// The frame of a note.
pub(super) fn encode(number: u64, note: &Note) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEAD];
    frame.put_u64_le(number);
    match note {
        Note::Bytes { file, offset, size, file_size, old } => {
            frame.put_u8(1);
            [*file, *offset, *size, *file_size].iter().for_each(|field| frame.put_u64_le(*field));
            match old {
                Old::Zeros(size) => {
                    frame.put_u8(0);
                    frame.put_u64_le(*size);
                }
                Old::Bytes(bytes) => {
                    frame.put_u8(1);
                    put_bytes(&mut frame, bytes);
                }
            }
        }
        Note::Size { file, size, file_size } => {
            frame.put_u8(2);
            [*file, *size, *file_size].iter().for_each(|field| frame.put_u64_le(*field));
        }
        Note::FileSynced { file, upto } => {
            frame.put_u8(3);
            [*file, *upto].iter().for_each(|field| frame.put_u64_le(*field));
        }
        Note::Names { dir, change, before } => {
            frame.put_u8(4);
            put_bytes(&mut frame, dir.as_os_str().as_encoded_bytes());
            put_change(&mut frame, change);
            frame.put_u32_le(before.len() as u32);
            for (name, file) in before {
                put_bytes(&mut frame, name.as_bytes());
                frame.put_u8(u8::from(file.is_some()));
                frame.put_u64_le(file.unwrap_or(0));
            }
        }
        Note::DirSynced { dir, upto } => {
            frame.put_u8(5);
            put_bytes(&mut frame, dir.as_os_str().as_encoded_bytes());
            frame.put_u64_le(*upto);
        }
        Note::Undone { number } => {
            frame.put_u8(6);
            frame.put_u64_le(*number);
        }
    }
    let (size, crc) = ((frame.len() - FRAME_HEAD) as u32, crc32c(&frame[FRAME_HEAD..]));
    frame[..4].copy_from_slice(&size.to_le_bytes());
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// The first note of `bytes` with its number and the bytes that it takes; `None` where the journal ends, in the middle of a
/// frame too.
pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Note, usize)> {
    let mut head = bytes;
    let (size, crc) = (head.try_get_u32_le().ok()? as usize, head.try_get_u32_le().ok()?);
    let mut body = head.get(..size)?;
    if crc32c(body) != crc {
        return None;
    }
    let body = &mut body;
    let number = body.try_get_u64_le().ok()?;
    let note = match body.try_get_u8().ok()? {
        1 => {
            let [file, offset, size, file_size] = numbers(body)?;
            let old = match body.try_get_u8().ok()? {
                0 => Old::Zeros(body.try_get_u64_le().ok()?),
                _ => Old::Bytes(get_bytes(body)?),
            };
            Note::Bytes { file, offset, size, file_size, old }
        }
        2 => {
            let [file, size, file_size] = numbers(body)?;
            Note::Size { file, size, file_size }
        }
        3 => {
            let [file, upto] = numbers(body)?;
            Note::FileSynced { file, upto }
        }
        4 => {
            let (dir, change) = (get_path(body)?, get_change(body)?);
            let mut before = Vec::new();
            for _ in 0..body.try_get_u32_le().ok()? {
                let (name, some) = (get_text(body)?, body.try_get_u8().ok()?);
                let file = body.try_get_u64_le().ok()?;
                before.push((name, (some == 1).then_some(file)));
            }
            Note::Names { dir, change, before }
        }
        5 => Note::DirSynced { dir: get_path(body)?, upto: body.try_get_u64_le().ok()? },
        6 => Note::Undone { number: body.try_get_u64_le().ok()? },
        _ => return None,
    };
    Some((number, note, FRAME_HEAD + size))
}

fn put_change(frame: &mut Vec<u8>, change: &NameChange) {
    let (kind, first, second, file) = match change {
        NameChange::Put { name, file } => (0, name.as_str(), "", *file),
        NameChange::Remove { name } => (1, name.as_str(), "", 0),
        NameChange::Rename { from, to, file } => (2, from.as_str(), to.as_str(), *file),
    };
    frame.put_u8(kind);
    put_bytes(frame, first.as_bytes());
    put_bytes(frame, second.as_bytes());
    frame.put_u64_le(file);
}

fn get_change(body: &mut &[u8]) -> Option<NameChange> {
    let kind = body.try_get_u8().ok()?;
    let (first, second, file) = (get_text(body)?, get_text(body)?, body.try_get_u64_le().ok()?);
    Some(match kind {
        0 => NameChange::Put { name: first, file },
        1 => NameChange::Remove { name: first },
        _ => NameChange::Rename { from: first, to: second, file },
    })
}

fn put_bytes(frame: &mut Vec<u8>, bytes: &[u8]) {
    frame.put_u32_le(bytes.len() as u32);
    frame.put_slice(bytes);
}

fn get_bytes(body: &mut &[u8]) -> Option<Vec<u8>> {
    let size = body.try_get_u32_le().ok()? as usize;
    let bytes = body.get(..size)?.to_vec();
    body.advance(size);
    Some(bytes)
}

fn get_text(body: &mut &[u8]) -> Option<String> {
    String::from_utf8(get_bytes(body)?).ok()
}

fn get_path(body: &mut &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(get_bytes(body)?).into())
}

fn numbers<const N: usize>(body: &mut &[u8]) -> Option<[u64; N]> {
    let mut fields = [0; N];
    for field in &mut fields {
        *field = body.try_get_u64_le().ok()?;
    }
    Some(fields)
}
