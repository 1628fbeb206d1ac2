//! What was read after the writes had ended and the faults were healed.

use std::collections::HashMap;

use crate::history::{Act, History};

use super::scope::Scope;

/// The final reads of one queue, taken together.
#[derive(Default)]
pub(super) struct FinalRead {
    /// Stretches of offsets that some answer covers (end exclusive), sorted and apart from each other.
    spans: Vec<(u64, u64)>,
    /// The farthest end that an answer told (exclusive).
    pub max: Option<u64>,
    /// What lies where, and the line that shows it. Where answers differ, the last one.
    pub held: HashMap<u64, Held>,
    /// The last answer.
    pub line: u64,
}

/// What a place holds at last.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub id: Option<u64>,
    pub line: u64,
}

impl FinalRead {
    /// The line that shows the offset, or the last answer where none does.
    pub(super) fn line_of(&self, offset: u64) -> u64 {
        self.held.get(&offset).map_or(self.line, |held| held.line)
    }

    /// An answer covers the offset: what it does not hold there is not there.
    pub(super) fn covers(&self, offset: u64) -> bool {
        let after = self.spans.partition_point(|span| span.0 <= offset);
        after > 0 && offset < self.spans[after - 1].1
    }

    /// The queue was read from its beginning to the end that was told.
    pub(super) fn is_whole(&self) -> bool {
        match (self.max, &self.spans[..]) {
            (Some(0), _) => true,
            (Some(max), [(0, end)]) => *end >= max,
            _ => false,
        }
    }

    fn merge_spans(&mut self) {
        self.spans.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for span in self.spans.drain(..) {
            match merged.last_mut() {
                Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
                _ => merged.push(span),
            }
        }
        self.spans = merged;
    }
}

/// The final reads of all topics that were drained, by topic and queue.
pub(super) struct FinalReads<'a> {
    queues: HashMap<(&'a str, u32), FinalRead>,
}

impl<'a> FinalReads<'a> {
    pub(super) fn of(history: &'a History, scope: &Scope<'a>) -> Self {
        let mut queues: HashMap<(&str, u32), FinalRead> = HashMap::new();
        for call in history.calls() {
            let Some(end) = call.done() else { continue };
            let Act::Pull { topic, queue, from, max, seen, .. } = &end.act else { continue };
            if scope.drained(topic).is_none_or(|drained| call.begin.index < drained) {
                continue;
            }
            let read = queues.entry((topic, *queue)).or_default();
            read.max = read.max.max(*max);
            read.line = end.index;
            if let Some(last) = seen.last() {
                read.spans.push((*from, last.offset.saturating_add(1)));
            }
            read.held.extend(seen.iter().map(|seen| (seen.offset, Held { id: seen.id, line: end.index })));
        }
        queues.values_mut().for_each(FinalRead::merge_spans);
        FinalReads { queues }
    }

    pub(super) fn queue(&self, topic: &'a str, queue: u32) -> Option<&FinalRead> {
        self.queues.get(&(topic, queue))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&(&'a str, u32), &FinalRead)> {
        self.queues.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_joined_where_they_touch() {
        let mut read =
            FinalRead { spans: vec![(5, 7), (0, 3), (3, 4)], max: Some(7), ..FinalRead::default() };
        read.merge_spans();
        assert_eq!(read.spans, [(0, 4), (5, 7)]);
        let covered: Vec<u64> = (0..9).filter(|offset| read.covers(*offset)).collect();
        assert_eq!(covered, [0, 1, 2, 3, 5, 6]);
        assert!(!read.is_whole());
        read.spans.push((4, 5));
        read.merge_spans();
        assert!(read.is_whole());
        assert!(!FinalRead { max: None, ..read }.is_whole());
        assert!(FinalRead { max: Some(0), ..FinalRead::default() }.is_whole());
    }
}
