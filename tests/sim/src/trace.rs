//! What happened, line by line, and one number for all of it. Two runs of a seed must agree on the number.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::surface::now_ms;

thread_local! {
    static TRACE: RefCell<Trace> = const { RefCell::new(Trace { hash: FNV_START, sink: None, text: String::new() }) };
}

const FNV_START: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;

struct Trace {
    hash: u64,
    sink: Option<BufWriter<File>>,
    text: String,
}

/// A number for bytes; not for adversaries.
pub fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_START, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
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
        for byte in text.as_bytes() {
            trace.hash = (trace.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
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
