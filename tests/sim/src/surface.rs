//! What the process is told of time and chance while a simulation runs in it.
//!
//! The standard library and others ask the C library for the clock and for entropy; the program answers in its place (see
//! `main.rs`) with what stands here. So `Instant::now`, `SystemTime::now`, the order of hash maps, tokio's choice between
//! ready branches and every generator that seeds itself become a function of the seed, and the code under test needs no
//! clock or generator of ours. Only one simulation runs in a process, once: some counters behind that entropy are the
//! process's own.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::random::mix;

static ACTIVE: AtomicBool = AtomicBool::new(false);
static NOW_MS: AtomicU64 = AtomicU64::new(0);
/// How far the wall clock of the host that runs now is off.
static WALL_SHIFT_MS: AtomicI64 = AtomicI64::new(0);
static ENTROPY: AtomicU64 = AtomicU64::new(0);

/// The wall clock at the beginning of every simulation, milliseconds since 1970: 2026-01-01.
const WALL_START_MS: i64 = 1_767_225_600_000;
/// The monotonic clock then: nobody may count on it to be small.
const MONOTONIC_START_MS: u64 = 1_000_000;

/// The clock asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// Wall clock, since 1970.
    Wall,
    /// Never goes back.
    Monotonic,
}

/// From here on this process sees simulated time and chance.
///
/// # Panics
/// The program does not answer in the C library's place, or a simulation has run here before.
pub fn begin(seed: u64) {
    assert!(!ACTIVE.swap(true, Ordering::SeqCst), "one process runs one simulation");
    ENTROPY.store(mix(seed ^ 0x5EED), Ordering::SeqCst);
    set_now_ms(0);
    let (before, wall) = (Instant::now(), SystemTime::now());
    set_now_ms(5);
    let simulated = before.elapsed().as_millis() == 5
        && wall.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_millis() as i64 == WALL_START_MS);
    assert!(simulated, "simulations run in the program flotilla-sim, which answers for the clock");
    set_now_ms(0);
}

/// Moves both clocks, milliseconds since the simulation's beginning.
pub fn set_now_ms(now_ms: u64) {
    NOW_MS.store(now_ms, Ordering::SeqCst);
}

/// Milliseconds since the simulation's beginning.
pub fn now_ms() -> u64 {
    NOW_MS.load(Ordering::SeqCst)
}

/// Sets how far the wall clock is off for what runs next.
pub fn set_wall_shift_ms(shift_ms: i64) {
    WALL_SHIFT_MS.store(shift_ms, Ordering::SeqCst);
}

/// Answer for a clock, in milliseconds; `None` when no simulation runs.
pub fn clock_ms(kind: ClockKind) -> Option<i64> {
    if !ACTIVE.load(Ordering::SeqCst) {
        return None;
    }
    let now_ms = NOW_MS.load(Ordering::SeqCst);
    Some(match kind {
        ClockKind::Wall => WALL_START_MS + now_ms as i64 + WALL_SHIFT_MS.load(Ordering::SeqCst),
        ClockKind::Monotonic => (MONOTONIC_START_MS + now_ms) as i64,
    })
}

/// Fills a buffer that asks for entropy; false when no simulation runs.
pub fn fill(buffer: &mut [u8]) -> bool {
    if !ACTIVE.load(Ordering::SeqCst) {
        return false;
    }
    for chunk in buffer.chunks_mut(8) {
        let next = mix(ENTROPY.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst));
        chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
    }
    true
}
