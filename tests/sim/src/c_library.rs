//! Answers in the C library's place for the clock and for entropy.
//!
//! The linker prefers the program's own symbols to those of a shared library, so the standard library's calls arrive here.
//! While no simulation runs in the process, the operating system is asked.

use std::ffi::{c_int, c_uint, c_void};

use flotilla_sim::surface::{self, ClockKind};

/// `clock_gettime(2)`.
///
/// # Safety
/// `time` points to memory for a `timespec`, as the C library demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let kind = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(ClockKind::Wall),
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME => {
            Some(ClockKind::Monotonic)
        }
        _ => None,
    };
    match kind.and_then(surface::clock_ms) {
        Some(ms) => {
            let value =
                libc::timespec { tv_sec: ms.div_euclid(1000), tv_nsec: ms.rem_euclid(1000) * 1_000_000 };
            // SAFETY: the caller promises room for it.
            unsafe { time.write(value) };
            0
        }
        // SAFETY: the arguments are handed on as they came.
        None => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int },
    }
}

/// `getrandom(2)`.
///
/// # Safety
/// `buffer` points to `size` writable bytes, as the C library demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, size: usize, flags: c_uint) -> isize {
    if size > 0 {
        // SAFETY: the caller promises so many writable bytes; they are written before they are read.
        let bytes = unsafe {
            buffer.cast::<u8>().write_bytes(0, size);
            std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size)
        };
        if surface::fill(bytes) {
            return size as isize;
        }
    }
    // SAFETY: the arguments are handed on as they came.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, size, flags) as isize }
}

/// Lets the allocator keep what is freed: disks in memory take and give back whole segments all the time, and each of them would
/// be asked of the operating system and zeroed by it.
pub fn keep_memory() {
    // One arena: that of a second thread gives memory back whatever the other settings say.
    let settings = [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, 1 << 30),
        (libc::M_TRIM_THRESHOLD, 1 << 30),
        (libc::M_TOP_PAD, 16 << 20),
    ];
    for (setting, value) in settings {
        // SAFETY: takes two numbers and changes settings of the allocator. A refusal costs time only.
        unsafe { libc::mallopt(setting, value) };
    }
}
