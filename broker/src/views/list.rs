//! Units in memory, encoded as in a file: grows at the end, shrinks at the front, never moves what it holds.
//!
//! Chunks of a fixed number of units make growth free of large copies on the thread that applies the log; the first chunk grows
//! step by step, so that a queue with three messages costs no more than them.

use std::collections::VecDeque;

use super::unit::{UNIT_SIZE, Unit, decode_all};

/// Units of a full chunk: 40 KiB.
const CHUNK_UNITS: usize = 2048;

#[derive(Debug, Default)]
pub(super) struct UnitList {
    /// All but the last are full.
    chunks: VecDeque<Vec<u8>>,
    /// Units at the front of the first chunk that are gone.
    gone: usize,
    len: usize,
}

impl UnitList {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn push(&mut self, unit: Unit) {
        const FULL: usize = CHUNK_UNITS * UNIT_SIZE;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < FULL => chunk.extend_from_slice(&unit.encode()),
            last => {
                // A queue that filled a chunk will fill more.
                let mut chunk = Vec::with_capacity(if last.is_some() { FULL } else { UNIT_SIZE });
                chunk.extend_from_slice(&unit.encode());
                self.chunks.push_back(chunk);
            }
        }
        self.len += 1;
    }

    fn unit(&self, index: usize) -> Unit {
        let at = self.gone + index;
        let (units, _) = self.chunks[at / CHUNK_UNITS].as_chunks::<UNIT_SIZE>();
        Unit::decode(&units[at % CHUNK_UNITS])
    }

    /// The encoded units from `index` on that lie in one piece, at most `count`; empty at the end.
    pub(super) fn piece(&self, index: usize, count: usize) -> &[u8] {
        let count = count.min(self.len.saturating_sub(index));
        if count == 0 {
            return &[];
        }
        let at = self.gone + index;
        let chunk = &self.chunks[at / CHUNK_UNITS];
        let start = at % CHUNK_UNITS;
        let end = (start + count).min(chunk.len() / UNIT_SIZE);
        &chunk[start * UNIT_SIZE..end * UNIT_SIZE]
    }

    /// Appends at most `count` units from `index` on.
    pub(super) fn copy(&self, mut index: usize, mut count: usize, out: &mut Vec<Unit>) {
        loop {
            let piece = self.piece(index, count);
            if piece.is_empty() {
                return;
            }
            decode_all(piece, out);
            index += piece.len() / UNIT_SIZE;
            count -= piece.len() / UNIT_SIZE;
        }
    }

    /// How many units at the front lie below a log position.
    pub(super) fn count_below(&self, position: u64) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.unit(middle).physical_offset.cast_unsigned() < position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Removes units from the front.
    pub(super) fn drop_front(&mut self, count: usize) {
        assert!(count <= self.len, "{count} units are dropped of {}", self.len);
        self.len -= count;
        self.gone += count;
        while self.gone >= CHUNK_UNITS {
            self.chunks.pop_front();
            self.gone -= CHUNK_UNITS;
        }
        if self.len == 0 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(number: usize) -> Unit {
        Unit { physical_offset: number as i64 * 10, size: 7, tags_code: -(number as i64) }
    }

    /// Against a plain vector, over pushes and drops that meet every chunk edge.
    #[test]
    fn the_list_is_a_vector_that_forgets_its_front() {
        let mut list = UnitList::default();
        let mut plain: Vec<Unit> = Vec::new();
        let mut number = 0;
        for (pushes, drops) in [
            (1, 0),
            (CHUNK_UNITS - 1, 1),
            (1, CHUNK_UNITS - 1),
            (3 * CHUNK_UNITS + 5, 2),
            (0, CHUNK_UNITS),
            (9, 7),
        ] {
            for _ in 0..pushes {
                list.push(unit(number));
                plain.push(unit(number));
                number += 1;
            }
            list.drop_front(drops);
            plain.drain(..drops);
            assert_eq!(list.len(), plain.len());
            for (start, count) in
                [(0, 10), (0, plain.len()), (plain.len() / 2, CHUNK_UNITS + 1), (plain.len(), 4)]
            {
                let mut copied = Vec::new();
                list.copy(start, count, &mut copied);
                assert_eq!(copied, plain[start..(start + count).min(plain.len())]);
            }
            for position in [0, 5, 10, number as u64 * 5, number as u64 * 10] {
                let below = plain.iter().filter(|unit| (unit.physical_offset as u64) < position).count();
                assert_eq!(list.count_below(position), below, "{position}");
            }
        }
        list.drop_front(list.len());
        assert_eq!((list.len(), list.piece(0, 5).len(), list.chunks.len()), (0, 0, 0));
    }
}
