//! Reads a history line by line, holding one line at a time.

use std::io::{BufRead, Read};

use super::{HistoryError, Op};

/// Longest line that is read, in bytes. An answer to a read of a thousand messages takes about 100 KiB.
pub const LINE_SIZE_MAX: usize = 8 << 20;

/// The operations of a history, in order. Stops for good at the first line that is wrong.
///
/// Promises of the lines it gives: `index` is dense from 0, `time` never falls.
pub struct Reader<R> {
    input: R,
    buffer: Vec<u8>,
    /// Lines read so far; the number of the line at hand, as an editor counts.
    line: u64,
    next_index: u64,
    last_time: u64,
    stopped: bool,
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Self {
        Reader { input, buffer: Vec::new(), line: 0, next_index: 0, last_time: 0, stopped: false }
    }

    fn next_op(&mut self) -> Result<Option<Op>, HistoryError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let bound = LINE_SIZE_MAX as u64 + 1;
        let read = self.input.by_ref().take(bound).read_until(b'\n', &mut self.buffer);
        if read.map_err(|cause| HistoryError::Read { line, cause })? == 0 {
            return Ok(None);
        }
        if self.buffer.len() > LINE_SIZE_MAX {
            return Err(HistoryError::at(line, format!("longer than {LINE_SIZE_MAX} bytes")));
        }
        let whole = self.buffer.ends_with(b"\n");
        let op: Op = serde_json::from_slice(&self.buffer).map_err(|error| {
            let torn = if whole { "" } else { " (the last line is torn: was the run cut short?)" };
            HistoryError::at(line, format!("no operation: {error}{torn}"))
        })?;
        self.place(&op)?;
        Ok(Some(op))
    }

    /// Holds the line to its place.
    fn place(&mut self, op: &Op) -> Result<(), HistoryError> {
        if op.index != self.next_index {
            let reason = format!("has the index {}, {} is due", op.index, self.next_index);
            return Err(HistoryError::at(self.line, reason));
        }
        if op.time < self.last_time {
            let reason = format!("time falls from {} to {}", self.last_time, op.time);
            return Err(HistoryError::at(self.line, reason));
        }
        self.next_index += 1;
        self.last_time = op.time;
        Ok(())
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Op, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        let next = self.next_op();
        self.stopped = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Act, Kind, Process};

    fn refusal(text: &str) -> String {
        let last = Reader::new(text.as_bytes()).last().expect("a line");
        last.expect_err("the last line is wrong").to_string()
    }

    const FIRST: &str =
        r#"{"index":0,"time":5,"process":1,"type":"invoke","f":"send","value":{"topic":"t","id":3}}"#;

    #[test]
    fn a_line_is_read_with_absent_fields() {
        let op = Reader::new(FIRST.as_bytes()).next().expect("a line").expect("an operation");
        assert_eq!((op.index, op.time, op.process, op.kind), (0, 5, Process::Client(1), Kind::Invoke));
        assert_eq!(
            op.act,
            Act::Send { topic: "t".into(), id: 3, key: None, queue: None, offset: None, copies_max: None }
        );
    }

    #[test]
    fn bad_lines_are_refused_with_their_number() {
        let second = FIRST.replace("\"index\":0", "\"index\":1");
        assert!(refusal(&format!("{FIRST}\n{{}}\n")).starts_with("line 2: no operation"));
        assert!(refusal(&format!("{FIRST}\n{FIRST}\n")).contains("line 2: has the index 0, 1 is due"));
        let early = second.replace("\"time\":5", "\"time\":4");
        assert!(refusal(&format!("{FIRST}\n{early}\n")).contains("line 2: time falls from 5 to 4"));
        assert!(refusal(&format!("{FIRST}\n{}", &second[..30])).contains("torn"));
        let stranger = FIRST.replace("\"send\"", "\"sing\"");
        assert!(refusal(&stranger).starts_with("line 1: no operation"));
        assert!(refusal(&FIRST.replace("\"process\":1", "\"process\":-2")).starts_with("line 1"));
    }

    #[test]
    fn nothing_is_read_after_a_wrong_line() {
        let text = format!("nonsense\n{FIRST}\n");
        assert_eq!(Reader::new(text.as_bytes()).count(), 1);
    }

    #[test]
    fn a_line_without_end_is_refused_in_bounded_memory() {
        let endless = std::io::BufReader::new(std::io::repeat(b' '));
        let mut reader = Reader::new(endless);
        let refused = reader.next().expect("a line").expect_err("too long");
        assert!(refused.to_string().contains("longer than"));
        assert!(reader.buffer.capacity() < 4 * LINE_SIZE_MAX);
    }
}
