//! What was read after the writes had ended and the faults were healed.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Act, History, Seen};

use super::scope::Scope;

/// The final reads of one queue by one witness, taken together.
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
    answers: u64,
    /// The last read had no answer, so that there may be more than was read.
    broke_off: bool,
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

    /// The end that was told, where the reads went on to their end and passed something over.
    pub(super) fn passed_over(&self) -> Option<u64> {
        self.max.filter(|_| !self.broke_off && !self.is_whole())
    }

    /// The first offset that no answer covers.
    pub(super) fn first_uncovered(&self) -> u64 {
        self.spans.first().map_or(0, |(from, end)| if *from == 0 { *end } else { 0 })
    }

    fn add(&mut self, from: u64, max: Option<u64>, seen: &[Seen], line: u64) {
        self.max = self.max.max(max);
        self.line = line;
        self.answers += 1;
        if let Some(last) = seen.last() {
            self.spans.push((from, last.offset.saturating_add(1)));
        }
        self.held.extend(seen.iter().map(|seen| (seen.offset, Held { id: seen.id, line })));
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

/// The final reads of all topics that were drained. Each replica that was asked by name speaks for itself, and so does
/// whoever answers clients (`None`).
pub(super) struct FinalReads<'a> {
    witnesses: BTreeMap<Option<u32>, Witness<'a>>,
}

/// Who told something of a queue, and what.
pub(super) type Told<'w> = (Option<u32>, &'w FinalRead);

/// What one replica told at last, by topic and queue.
#[derive(Default)]
pub(super) struct Witness<'a> {
    queues: HashMap<(&'a str, u32), FinalRead>,
}

impl<'a> FinalReads<'a> {
    pub(super) fn of(history: &'a History, scope: &Scope<'a>) -> Self {
        let mut witnesses: BTreeMap<Option<u32>, Witness<'_>> = BTreeMap::new();
        for call in history.calls() {
            let Act::Pull { topic, queue, node, .. } = &call.begin.act else { continue };
            if scope.drained(topic).is_none_or(|drained| call.begin.index < drained) {
                continue;
            }
            let known = witnesses.entry(*node).or_default().queues.entry((topic, *queue)).or_default();
            known.broke_off = call.done().is_none();
            if let Some(end) = call.done()
                && let Act::Pull { from, max, seen, .. } = &end.act
            {
                known.add(*from, *max, seen, end.index);
            }
        }
        for witness in witnesses.values_mut() {
            witness.queues.retain(|_, read| read.answers > 0);
            witness.queues.values_mut().for_each(FinalRead::merge_spans);
        }
        FinalReads { witnesses }
    }

    /// What each witness told of a queue, of those that told something.
    pub(super) fn queue(&self, topic: &'a str, queue: u32) -> impl Iterator<Item = &FinalRead> {
        self.witnesses.values().filter_map(move |witness| witness.queue(topic, queue))
    }

    /// Those that told something of a topic.
    pub(super) fn witnesses(&self, topic: &'a str) -> impl Iterator<Item = (Option<u32>, &Witness<'a>)> {
        let told = move |witness: &Witness<'a>| witness.topic(topic).next().is_some();
        self.witnesses
            .iter()
            .filter(move |(_, witness)| told(witness))
            .map(|(node, witness)| (*node, witness))
    }

    /// By topic and queue: what each witness told, the lowest node first.
    pub(super) fn by_queue(&self) -> BTreeMap<(&'a str, u32), Vec<Told<'_>>> {
        let mut queues: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (node, witness) in &self.witnesses {
            for (queue, read) in &witness.queues {
                queues.entry(*queue).or_default().push((*node, read));
            }
        }
        queues
    }
}

impl<'a> Witness<'a> {
    pub(super) fn queue(&self, topic: &'a str, queue: u32) -> Option<&FinalRead> {
        self.queues.get(&(topic, queue))
    }

    pub(super) fn topic(&self, topic: &'a str) -> impl Iterator<Item = &FinalRead> {
        self.queues.iter().filter(move |((of, _), _)| *of == topic).map(|(_, read)| read)
    }
}

/// Who told something, for a text.
pub(super) fn told_by(node: Option<u32>) -> String {
    node.map_or_else(|| "whoever answers clients".to_owned(), |node| format!("node {node}"))
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
