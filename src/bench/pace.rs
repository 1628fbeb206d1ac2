//! Open loop: messages leave at a fixed total rate, whatever the answers do. Each has an intended time, and its latency is
//! measured from there: a server that stands still for a second owes a second to all that should have been sent meanwhile.
//!
//! A timer releases what is due at most every [`GRAIN_US`], so that a high rate does not wake the thread for each message;
//! what waits for the timer counts as latency, half of it on average.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;

use super::clock::Clock;

/// Shortest time between two releases, µs.
const GRAIN_US: u64 = 200;

/// When the messages of one thread should be sent.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    begin_us: u64,
    interval_us: f64,
}

impl Schedule {
    /// `rate` messages a second from `begin_us` on.
    pub fn new(begin_us: u64, rate: f64) -> Schedule {
        Schedule { begin_us, interval_us: 1e6 / rate }
    }

    /// Intended time of the message with this number, from 0.
    pub fn intended_us(&self, number: u64) -> u64 {
        self.begin_us + (number as f64 * self.interval_us) as u64
    }

    /// How many messages should have been sent at a time.
    pub fn due(&self, now_us: u64) -> u64 {
        let Some(elapsed) = now_us.checked_sub(self.begin_us) else { return 0 };
        let mut due = (elapsed as f64 / self.interval_us) as u64;
        // Division and multiplication may round to different sides.
        while self.intended_us(due) <= now_us {
            due += 1;
        }
        due
    }
}

/// Hands intended times to the senders of one thread.
#[derive(Debug)]
pub struct Pace {
    schedule: Schedule,
    permits: Semaphore,
    /// Messages that were due so far.
    released: Cell<u64>,
    /// Number of the next message that a sender takes.
    next: Cell<u64>,
}

impl Pace {
    /// Releases nothing yet; see [`Pace::run`].
    pub fn new(schedule: Schedule) -> Rc<Pace> {
        Rc::new(Pace { schedule, permits: Semaphore::new(0), released: Cell::new(0), next: Cell::new(0) })
    }

    /// Waits until a message is due and gives its intended time; `None` once the run is over. Safe to drop.
    pub async fn next(&self) -> Option<u64> {
        self.permits.acquire().await.ok()?.forget();
        let number = self.next.get();
        self.next.set(number + 1);
        Some(self.schedule.intended_us(number))
    }

    /// Messages that are due and that no sender has taken.
    pub fn behind(&self) -> u64 {
        self.released.get() - self.next.get()
    }

    /// Their intended times, µs since 1970.
    pub fn unsent(&self) -> impl Iterator<Item = u64> {
        let next = self.next.get();
        (next..next + self.behind()).map(|number| self.schedule.intended_us(number))
    }

    /// Releases messages until the time that `end_us` gives: it may change meanwhile.
    ///
    /// # Errors
    /// The system has no timer.
    pub async fn run(&self, clock: Clock, end_us: impl Fn() -> u64) -> io::Result<()> {
        let timer = Timer::new()?;
        loop {
            // Read once a turn: another thread may bring it forward in the middle of one.
            let (now_us, end_us) = (clock.now_us(), end_us());
            // The end itself is not of the run any more.
            let released = self.released.get();
            let due = self.schedule.due(now_us.min(end_us - 1)).max(released);
            self.permits.add_permits(usize::try_from(due - released).unwrap_or(0));
            self.released.set(due);
            if now_us >= end_us {
                break;
            }
            let wake_us = self.schedule.intended_us(due).max(now_us + GRAIN_US).min(end_us);
            // An end that comes sooner is seen within a tenth of a second.
            timer.sleep(Duration::from_micros((wake_us - now_us).min(100_000))).await?;
        }
        // Senders that waited take what was released last.
        tokio::task::yield_now().await;
        self.permits.close();
        Ok(())
    }
}

/// A timer of the system: exact to some microseconds, where the one of the run-time counts in milliseconds. To the run-time
/// it is the reading end of a pipe: something that becomes readable.
struct Timer(Receiver);

impl Timer {
    fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = File::from(timerfd_create(TimerfdClockId::Monotonic, flags)?);
        Ok(Timer(Receiver::from_file_unchecked(timer)?))
    }

    async fn sleep(&self, pause: Duration) -> io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would stop it.
        let nanos = i64::from(pause.subsec_nanos().max(1));
        let seconds = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
        let once = Itimerspec { it_interval: zero, it_value: Timespec { tv_sec: seconds, tv_nsec: nanos } };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        loop {
            self.0.readable().await?;
            let mut expired = [0; 8];
            match self.0.try_read(&mut expired) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(drop),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_what_is_due_is_what_has_been_intended(rate in 1.0f64..1e6, now in 0u64..10_000_000) {
            let schedule = Schedule::new(1_000, rate);
            let due = schedule.due(now);
            prop_assert!(due == 0 || schedule.intended_us(due - 1) <= now);
            prop_assert!(schedule.intended_us(due) > now);
        }
    }

    #[tokio::test]
    async fn a_late_sender_gets_the_intended_times_all_the_same() {
        let clock = Clock::start();
        // Everything is late already.
        let begin_us = clock.now_us() - 1_000_000;
        let pace = Pace::new(Schedule::new(begin_us, 1_000.0));
        let take = async {
            let mut intended = Vec::new();
            for _ in 0..3 {
                intended.push(pace.next().await.unwrap() - begin_us);
            }
            intended
        };
        let (done, intended) = tokio::join!(pace.run(clock, || begin_us + 1_100_000), take);
        done.unwrap();
        assert_eq!(intended, [0, 1_000, 2_000]);
        assert_eq!(pace.behind(), 1_100 - 3, "due before the end, and not sent");
        assert_eq!(pace.unsent().next(), Some(begin_us + 3_000), "each has its intended time");
        assert_eq!(pace.next().await, None);
    }

    #[tokio::test]
    async fn an_end_that_moves_within_a_turn_is_no_mistake() {
        let clock = Clock::start();
        let begin_us = clock.now_us();
        let pace = Pace::new(Schedule::new(begin_us, 10.0));
        let reads = Cell::new(0);
        let end_us = || {
            reads.set(reads.get() + 1);
            if reads.get() < 3 { begin_us + 60_000_000 } else { begin_us + 1 }
        };
        pace.run(clock, end_us).await.unwrap();
        assert_eq!(pace.next().await, None);
    }
}
