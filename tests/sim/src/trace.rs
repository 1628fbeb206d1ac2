//! What happened, line by line, and one number for all of it. Two runs of a seed must agree on the number.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::surface::now_ms;

thread_local! {
    static TRACE: RefCell<Trace> = const { RefCell::new(Trace { hash: START, sink: None, text: String::new() }) };
}

const START: u64 = 0xCBF2_9CE4_8422_2325;
/// Odd, so that no two words come to the same.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

struct Trace {
    hash: u64,
    sink: Option<BufWriter<File>>,
    text: String,
}

/// A number for bytes; not for adversaries.
pub fn hash_of(bytes: &[u8]) -> u64 {
    hash_on(START ^ bytes.len() as u64, bytes)
}

/// Goes on from a number, a word at a time.
fn hash_on(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let take = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(FACTOR);
        mixed ^ (mixed >> 29)
    };
    let hash = words.iter().fold(hash, |hash, word| take(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| take(hash, u64::from(*byte)))
}

/// Writes the lines to a file, too.
///
/// # Errors
/// The file can't be made.
pub fn write_to(path: &Path) -> std::io::Result<()> {
    let file = File::create(path)?;
    TRACE.with_borrow_mut(|trace| trace.sink = Some(BufWriter::new(file)));
    Ok(())
}

/// Adds a line with the present moment.
pub fn say(line: fmt::Arguments<'_>) {
    TRACE.with_borrow_mut(|trace| {
        use fmt::Write as _;
        let mut text = std::mem::take(&mut trace.text);
        text.clear();
        // Writing to a string never fails.
        writeln!(text, "{:>7} {line}", now_ms()).ok();
        trace.hash = hash_on(trace.hash, text.as_bytes());
        if let Some(sink) = &mut trace.sink {
            sink.write_all(text.as_bytes()).ok();
        }
        trace.text = text;
    });
}

/// The number of everything said so far.
pub fn finish() -> u64 {
    TRACE.with_borrow_mut(|trace| {
        if let Some(sink) = &mut trace.sink {
            sink.flush().ok();
        }
        trace.hash
    })
}

/// Says a line as `format!` would write it.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::trace::say(format_args!($($argument)*)) };
}
