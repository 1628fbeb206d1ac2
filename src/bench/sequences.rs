//! A set of sequence numbers, one bit each: a million messages take 125 kB.

/// Sequence numbers of one sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    words: Vec<u64>,
    count: u64,
}

impl Sequences {
    /// Puts one in; false when it was there already.
    pub fn insert(&mut self, sequence: u64) -> bool {
        let (at, bit) = place(sequence);
        if at >= self.words.len() {
            self.words.resize((at + 1).max(self.words.len() * 2), 0);
        }
        let new = self.words[at] & bit == 0;
        self.words[at] |= bit;
        self.count += u64::from(new);
        new
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds those of another set; gives how many were in both.
    pub fn merge(&mut self, other: &Sequences) -> u64 {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        let mut both = 0;
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            both += u64::from((*mine & theirs).count_ones());
            *mine |= theirs;
        }
        self.count += other.count - both;
        both
    }

    /// How many of these are not in `other`.
    pub fn missing_from(&self, other: &Sequences) -> u64 {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter().zip(theirs).map(|(mine, theirs)| u64::from((mine & !theirs).count_ones())).sum()
    }
}

fn place(sequence: u64) -> (usize, u64) {
    ((sequence / 64) as usize, 1 << (sequence % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[u64]) -> Sequences {
        let mut set = Sequences::default();
        numbers.iter().for_each(|number| {
            set.insert(*number);
        });
        set
    }

    proptest! {
        #[test]
        fn prop_it_counts_as_a_plain_set(
            mine in prop::collection::vec(0u64..500, 0..100),
            theirs in prop::collection::vec(0u64..500, 0..100),
        ) {
            let (a, b) = (BTreeSet::from_iter(mine.clone()), BTreeSet::from_iter(theirs.clone()));
            let (mut mine, theirs) = (of(&mine), of(&theirs));
            prop_assert_eq!(mine.count(), a.len() as u64);
            prop_assert_eq!(mine.missing_from(&theirs), a.difference(&b).count() as u64);
            prop_assert_eq!(mine.merge(&theirs), a.intersection(&b).count() as u64);
            prop_assert_eq!(mine.count(), a.union(&b).count() as u64);
            prop_assert_eq!(theirs.missing_from(&mine), 0);
        }
    }
}
