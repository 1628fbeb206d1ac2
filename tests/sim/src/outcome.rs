//! What a run came to, as one line between processes.

use std::fmt;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::surface::now_ms;
use crate::trace;
use crate::world::World;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// A number for everything that happened; two runs of a seed must agree on it.
    pub trace: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Committed entries.
    pub entries: u64,
    /// Messages in them.
    pub messages: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Attempts acknowledged.
    pub acked: u64,
    /// Processes started.
    pub starts: u64,
    /// The first violation.
    pub violation: Option<String>,
}

impl Outcome {
    /// What has become of a world.
    pub fn of(seed: u64, world: &World) -> Outcome {
        let judge = world.judge.lock();
        Outcome {
            seed,
            trace: trace::finish(),
            virtual_ms: world.now_ms(),
            entries: judge.committed.count(),
            messages: judge.queue_offsets.messages(),
            terms: judge.elections.count() as u64,
            acked: judge.history.count("acked"),
            starts: world.starts,
            violation: judge.violation.clone(),
        }
    }

    /// A run that came to nothing.
    pub fn failed(seed: u64, what: String) -> Outcome {
        Outcome { seed, trace: trace::finish(), violation: Some(what), ..Outcome::default() }
    }

    /// The line.
    pub fn to_line(&self) -> String {
        let violation = self.violation.as_deref().unwrap_or("none").replace('\n', " ");
        format!(
            "outcome {} {:016x} {} {} {} {} {} {} {violation}\n",
            self.seed,
            self.trace,
            self.virtual_ms,
            self.entries,
            self.messages,
            self.terms,
            self.acked,
            self.starts
        )
    }

    /// Reads a line.
    pub fn parse(line: &str) -> Option<Outcome> {
        let mut words = line.trim_end().splitn(10, ' ');
        if words.next()? != "outcome" {
            return None;
        }
        let mut number = |radix| u64::from_str_radix(words.next()?, radix).ok();
        let (seed, trace) = (number(10)?, number(16)?);
        let (virtual_ms, entries, messages) = (number(10)?, number(10)?, number(10)?);
        let (terms, acked, starts) = (number(10)?, number(10)?, number(10)?);
        let violation = words.next().filter(|what| *what != "none").map(str::to_owned);
        Some(Outcome { seed, trace, virtual_ms, entries, messages, terms, acked, starts, violation })
    }
}

/// Stamps log lines with the simulation's time.
#[derive(Debug, Clone, Copy)]
pub struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:>7}", now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_it_was_written() {
        let fine = Outcome { seed: 7, trace: 0xFEED, entries: 3, starts: 2, ..Outcome::default() };
        let bad = Outcome { violation: Some("log matching: n1 has another".into()), ..fine.clone() };
        for outcome in [fine, bad] {
            assert_eq!(Outcome::parse(&outcome.to_line()), Some(outcome));
        }
        assert_eq!(Outcome::parse("thread panicked"), None);
    }
}
