//! Writes a history line by line.

use std::io::{self, Write};

use super::{Act, Kind, Op, Process};

/// Gives each line its index and writes it. Who records from many tasks puts it behind a lock and reads the clock under
/// that lock, so that the order of the lines is the order of the times.
pub struct Writer<W> {
    output: W,
    next_index: u64,
    last_time: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(output: W) -> Self {
        Writer { output, next_index: 0, last_time: 0 }
    }

    /// Appends one line and returns its index. `time` is in nanoseconds since the run began.
    ///
    /// # Errors
    /// The output refused; the line may be written in part, so the history ends here.
    ///
    /// # Panics
    /// `time` is before that of the line before.
    pub fn append(
        &mut self,
        time: u64,
        process: Process,
        kind: Kind,
        act: Act,
        error: Option<String>,
    ) -> io::Result<u64> {
        let last = self.last_time;
        assert!(time >= last, "the clock of a history never falls: {last} then {time}");
        let index = self.next_index;
        serde_json::to_writer(&mut self.output, &Op { index, time, process, kind, act, error })?;
        self.output.write_all(b"\n")?;
        self.next_index += 1;
        self.last_time = time;
        Ok(index)
    }

    /// # Errors
    /// The output refused.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Number of lines written.
    pub fn op_count(&self) -> u64 {
        self.next_index
    }

    pub fn into_inner(self) -> W {
        self.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Fault, Reader, Seen};

    /// One act of every kind, with and without what may be absent.
    fn acts() -> Vec<Act> {
        let seen = Seen { queue: 1, offset: 2, id: Some(3), key: Some("k".into()), redelivered: 1 };
        let foreign = Seen { queue: 1, offset: 3, id: None, key: None, redelivered: 0 };
        let (topic, group) = (|| "t \"ü\"".to_owned(), || "g".to_owned());
        let fault = Fault {
            fault: "kill-leader".into(),
            number: 1,
            nodes: vec![0, 2],
            begins: true,
            detail: "x".into(),
        };
        vec![
            Act::Send {
                topic: topic(),
                id: u64::MAX,
                key: None,
                queue: None,
                offset: None,
                copies_max: None,
            },
            Act::Send {
                topic: topic(),
                id: 1,
                key: Some("k".into()),
                queue: Some(2),
                offset: Some(3),
                copies_max: Some(3),
            },
            Act::Pull { topic: topic(), queue: 1, from: 2, max: None, seen: vec![], node: None },
            Act::Pull {
                topic: topic(),
                queue: 1,
                from: 2,
                max: Some(4),
                seen: vec![seen.clone(), foreign],
                node: Some(2),
            },
            Act::Consume { group: group(), topic: topic(), seen },
            Act::CommitOffset { group: group(), topic: topic(), queue: 1, offset: 9 },
            Act::ReadOffset { group: group(), topic: topic(), queue: 1, offset: None },
            Act::ReadOffset { group: group(), topic: topic(), queue: 1, offset: Some(9) },
            Act::SetTopic { topic: topic(), queues: 8 },
            Act::DeleteTopic { topic: topic() },
            Act::ReadTopic { topic: topic(), queues: Some(8) },
            Act::ReadTopic { topic: topic(), queues: None },
            Act::Drained { topic: topic() },
            Act::Fault(fault),
            Act::Inspect { what: "log verify".into(), found: "crc\n".into() },
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut writer = Writer::new(Vec::new());
        let mut told = Vec::new();
        for (place, act) in (0u64..).zip(acts()) {
            let process = if place % 2 == 0 { Process::Client(7) } else { Process::NEMESIS };
            let error = (place % 3 == 0).then(|| "timed out".to_owned());
            let kind = [Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info][place as usize % 4];
            let op = Op { index: place, time: place / 2, process, kind, act, error };
            let Op { time, process, kind, act, error, .. } = op.clone();
            assert_eq!(writer.append(time, process, kind, act, error).expect("memory takes all"), place);
            told.push(op);
        }
        assert_eq!(writer.op_count(), told.len() as u64);
        let bytes = writer.into_inner();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), told.len());
        let read: Result<Vec<Op>, _> = Reader::new(&bytes[..]).collect();
        assert_eq!(read.expect("own lines"), told);
    }

    #[test]
    #[should_panic(expected = "never falls")]
    fn time_that_falls_is_refused() {
        let mut writer = Writer::new(Vec::new());
        for time in [2, 1] {
            let act = Act::Drained { topic: "t".into() };
            writer.append(time, Process::NEMESIS, Kind::Info, act, None).expect("memory takes all");
        }
    }
}
