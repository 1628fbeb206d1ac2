//! The wall clock: the one place of a node that reads it.
//!
//! Everything else asks here, so that a test can move the time of a whole node: `FLOTILLA_CLOCK_OFFSET_FILE` names a text
//! file with a signed number of milliseconds that is added to the system's clock. A file that is not there adds nothing. It is looked
//! at again by whoever asks for the time, at most every [`LOOK_INTERVAL`], so a jump is seen within that by a node that asks. A
//! content that is no number (a file about to be written) leaves the offset as it was. Monotonic clocks, and the times
//! that log lines carry, are not moved.
//!
//! It is in every build, so that what is tested is what is shipped: unset, it costs one look at a variable of the process.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

/// Environment variable that names the file.
pub const OFFSET_FILE: &str = "FLOTILLA_CLOCK_OFFSET_FILE";

/// Time between two looks at the file.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The time of day, milliseconds since the Unix epoch; may jump.
pub fn now_ms() -> u64 {
    static OFFSET: OnceLock<Option<OffsetFile>> = OnceLock::new();
    let offset_ms = OFFSET.get_or_init(OffsetFile::of_environment).as_ref().map_or(0, OffsetFile::offset_ms);
    system_ms().saturating_add_signed(offset_ms)
}

#[allow(clippy::disallowed_methods, reason = "the one place")]
fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The file, and what it said when it was looked at.
#[derive(Debug)]
struct OffsetFile {
    path: PathBuf,
    start: Instant,
    /// When it is due for a look, ms from `start`.
    next_look_ms: AtomicU64,
    offset_ms: AtomicI64,
}

impl OffsetFile {
    fn of_environment() -> Option<OffsetFile> {
        let path = std::env::var_os(OFFSET_FILE).filter(|path| !path.is_empty())?;
        let file = OffsetFile::new(path.into());
        warn!(path = %file.path.display(), "the wall clock is moved by the number in a file: this is a test");
        Some(file)
    }

    fn new(path: PathBuf) -> OffsetFile {
        OffsetFile {
            path,
            start: Instant::now(),
            next_look_ms: AtomicU64::new(0),
            offset_ms: AtomicI64::new(0),
        }
    }

    fn offset_ms(&self) -> i64 {
        let now_ms = self.start.elapsed().as_millis() as u64;
        let due_ms = self.next_look_ms.load(Ordering::Relaxed);
        let next_ms = now_ms + LOOK_INTERVAL.as_millis() as u64;
        let order = Ordering::Relaxed;
        if now_ms >= due_ms && self.next_look_ms.compare_exchange(due_ms, next_ms, order, order).is_ok() {
            self.look();
        }
        self.offset_ms.load(Ordering::Relaxed)
    }

    fn look(&self) {
        let offset_ms = match std::fs::read_to_string(&self.path) {
            Ok(text) => text.trim().parse().ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(0),
            Err(_) => None,
        };
        let Some(offset_ms) = offset_ms else { return };
        if self.offset_ms.swap(offset_ms, Ordering::Relaxed) != offset_ms {
            info!(offset_ms, "the wall clock was moved");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_offset_is_what_the_file_said_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offset");
        let file = OffsetFile::new(path.clone());
        let steps = [
            (None, 0),
            (Some("-90000\n"), -90_000),
            (Some(""), -90_000),
            (Some("+ 5"), -90_000),
            (Some("+5"), 5),
        ];
        for (text, offset_ms) in steps {
            text.inspect(|text| std::fs::write(&path, text).unwrap());
            file.next_look_ms.store(0, Ordering::Relaxed);
            assert_eq!(file.offset_ms(), offset_ms, "{text:?}");
        }
        std::fs::write(&path, "7").unwrap();
        file.next_look_ms.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(file.offset_ms(), 5, "between two looks the file may say what it likes");
        std::fs::remove_file(&path).unwrap();
        file.next_look_ms.store(0, Ordering::Relaxed);
        assert_eq!(file.offset_ms(), 0);
    }
}
