//! Is there an order of the operations on one register that explains what the reads said?
//!
//! The search of Wing and Gong with the memory of Lowe, in Lowe's just-in-time form (G. Lowe, "Testing for
//! linearizability", 2017, section 4): it goes along the history and keeps every configuration (value of the register,
//! operations under way that have taken effect). An operation takes effect at the latest when it ends, or when one that
//! must follow it ends. Five cuts keep the set small, and none changes the answer:
//! - a read under way that fits the value takes effect at once: it changes nothing, so waiting gains nothing;
//! - a write of unknown outcome whose value is never read later is left out: it need not happen, and without it no read
//!   lacks its value;
//! - such a write is forgotten once the last read of its value has ended;
//! - of such writes of one value the first that is left is used, since they can stand for each other;
//! - of two configurations that differ only in which writes of unknown outcome were used, the one that used fewer stands
//!   for both.

use std::collections::HashMap;

/// What an operation does. `None` is the register without a value, which is how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Write(Option<u64>),
    Read(Option<u64>),
}

/// An operation that took effect between its beginning and its end. Times are places in the history: no two are equal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub step: Step,
    pub began: u64,
    /// `None`: it may take effect at any time after `began`, or never. Only for writes: such a read says nothing.
    pub ended: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Linearizable,
    /// The read, by its place in the list, that no order explains, and values that the register may have had (some of
    /// them).
    Impossible {
        read: usize,
        possible: Vec<Option<u64>>,
    },
    /// The bound on work was met, or too many operations were under way at once.
    TooMuch,
}

/// Values told in [`Answer::Impossible`].
const POSSIBLE_MAX: usize = 8;

/// Operations under way at once: known ones, and writes of unknown outcome, each.
const UNDER_WAY_MAX: usize = 128;

type Mask = u128;

/// The register and which of the known operations under way have taken effect.
type State = (Option<u64>, Mask);

/// For each state, the sets of writes of unknown outcome with which it can be reached; none holds another one.
#[derive(Default)]
struct Frontier {
    states: HashMap<State, Vec<Mask>>,
}

impl Frontier {
    /// Returns whether it is new, and not worse than what is known.
    fn insert(&mut self, state: State, used: Mask) -> bool {
        let known = self.states.entry(state).or_default();
        if known.iter().any(|known| known & used == *known) {
            return false;
        }
        known.retain(|known| used & known != used);
        known.push(used);
        true
    }

    fn iter(&self) -> impl Iterator<Item = (State, Mask)> {
        self.states.iter().flat_map(|(state, sets)| sets.iter().map(|used| (*state, *used)))
    }

    fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    fn map(&self, change: impl Fn(State, Mask) -> (State, Mask)) -> Frontier {
        let mut changed = Frontier::default();
        for (state, used) in self.iter() {
            let (state, used) = change(state, used);
            changed.insert(state, used);
        }
        changed
    }
}

/// Decides, expanding at most `work_max` configurations.
pub(super) fn check(operations: &[Operation], work_max: u64) -> Answer {
    let mut search = Search::new(operations, work_max);
    for (_, event) in events(operations) {
        let answer = match event {
            Event::Begin(one) => search.begin(one),
            Event::End(one) => search.end(one),
            Event::Forget(one) => search.forget(one),
        };
        if let Err(answer) = answer {
            return answer;
        }
    }
    Answer::Linearizable
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Begin(usize),
    End(usize),
    /// A write of unknown outcome is of no use any more. Comes after the end at the same time.
    Forget(usize),
}

/// Along the history. Writes of unknown outcome that nobody reads are not among them.
fn events(operations: &[Operation]) -> Vec<(u64, Event)> {
    let mut last_read: HashMap<Option<u64>, u64> = HashMap::new();
    for operation in operations {
        if let (Step::Read(value), Some(ended)) = (operation.step, operation.ended) {
            let last = last_read.entry(value).or_default();
            *last = (*last).max(ended);
        }
    }
    let mut events = Vec::with_capacity(2 * operations.len());
    for (place, operation) in operations.iter().enumerate() {
        match (operation.step, operation.ended) {
            (_, Some(ended)) => {
                events.push((operation.began, Event::Begin(place)));
                events.push((ended, Event::End(place)));
            }
            (Step::Write(value), None) => {
                if let Some(last) = last_read.get(&value).filter(|last| **last > operation.began) {
                    events.push((operation.began, Event::Begin(place)));
                    events.push((*last, Event::Forget(place)));
                }
            }
            (Step::Read(_), None) => {}
        }
    }
    events.sort_unstable();
    events
}

struct Search<'a> {
    operations: &'a [Operation],
    frontier: Frontier,
    /// Operations under way, each with its bit.
    known: Slots,
    open: Slots,
    work_left: u64,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation], work_max: u64) -> Self {
        let mut frontier = Frontier::default();
        frontier.insert((None, 0), 0);
        Search { operations, frontier, known: Slots::default(), open: Slots::default(), work_left: work_max }
    }

    fn begin(&mut self, one: usize) -> Result<(), Answer> {
        let operation = self.operations[one];
        let slots = if operation.ended.is_some() { &mut self.known } else { &mut self.open };
        let bit = slots.take(one).ok_or(Answer::TooMuch)?;
        if let Step::Read(value) = operation.step {
            self.frontier = self.frontier.map(|(state, done), used| {
                let done = if state == value { done | bit } else { done };
                ((state, done), used)
            });
        }
        Ok(())
    }

    fn end(&mut self, one: usize) -> Result<(), Answer> {
        let bit = self.known.bit(one);
        let mut after = Frontier::default();
        let mut seen = Frontier::default();
        let mut stack: Vec<(State, Mask)> = self.frontier.iter().collect();
        while let Some((state, used)) = stack.pop() {
            let (value, done) = state;
            if done & bit != 0 {
                after.insert((value, done & !bit), used);
                continue;
            }
            if !seen.insert(state, used) {
                continue;
            }
            self.work_left = self.work_left.checked_sub(1).ok_or(Answer::TooMuch)?;
            for (other, other_bit) in self.known.iter().filter(|(_, other)| done & other == 0) {
                if let Step::Write(value) = self.operations[other].step {
                    stack.push((self.settled(value, done | other_bit), used));
                }
            }
            let left = |(_, bit): &(usize, Mask)| used & bit == 0;
            for (place, (other, other_bit)) in self.open.iter().enumerate().filter(|(_, open)| left(open)) {
                let step = self.operations[other].step;
                let first = !self
                    .open
                    .iter()
                    .take(place)
                    .any(|open| left(&open) && self.operations[open.0].step == step);
                if let (Step::Write(value), true) = (step, first) {
                    stack.push((self.settled(value, done), used | other_bit));
                }
            }
        }
        if after.is_empty() {
            let mut possible: Vec<Option<u64>> = seen.states.keys().map(|(value, _)| *value).collect();
            possible.sort_unstable();
            possible.dedup();
            possible.truncate(POSSIBLE_MAX);
            return Err(Answer::Impossible { read: one, possible });
        }
        self.known.give_back(one);
        self.frontier = after;
        Ok(())
    }

    fn forget(&mut self, one: usize) -> Result<(), Answer> {
        let bit = self.open.bit(one);
        self.open.give_back(one);
        self.frontier = self.frontier.map(|state, used| (state, used & !bit));
        Ok(())
    }

    /// The register holds `value` now: reads under way that fit take effect.
    fn settled(&self, value: Option<u64>, done: Mask) -> State {
        let fits = |one: usize| self.operations[one].step == Step::Read(value);
        let reads = self.known.iter().filter(|(one, _)| fits(*one)).fold(0, |mask, (_, bit)| mask | bit);
        (value, done | reads)
    }
}

/// Operations under way, each with a bit of its own while it is.
#[derive(Default)]
struct Slots {
    taken: Mask,
    /// Operation and bit.
    list: Vec<(usize, Mask)>,
}

impl Slots {
    fn take(&mut self, one: usize) -> Option<Mask> {
        let free = (!self.taken).trailing_zeros() as usize;
        if free >= UNDER_WAY_MAX {
            return None;
        }
        let bit = 1 << free;
        self.taken |= bit;
        self.list.push((one, bit));
        Some(bit)
    }

    fn bit(&self, one: usize) -> Mask {
        self.list.iter().find(|(other, _)| *other == one).map_or(0, |(_, bit)| *bit)
    }

    fn give_back(&mut self, one: usize) {
        self.taken &= !self.bit(one);
        self.list.retain(|(other, _)| *other != one);
    }

    fn iter(&self) -> impl Iterator<Item = (usize, Mask)> {
        self.list.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORK_MAX: u64 = 1_000_000;

    fn write(value: u64, began: u64, ended: Option<u64>) -> Operation {
        Operation { step: Step::Write(Some(value)), began, ended }
    }

    fn read(value: Option<u64>, began: u64, ended: u64) -> Operation {
        Operation { step: Step::Read(value), began, ended: Some(ended) }
    }

    /// Tries every order, with every choice of the writes of unknown outcome. The definition, spelt out.
    fn any_order_explains(operations: &[Operation], value: Option<u64>) -> bool {
        if operations.iter().all(|operation| operation.ended.is_none()) {
            return true;
        }
        (0..operations.len()).any(|place| {
            let first = operations[place];
            let follows_another =
                operations.iter().any(|other| other.ended.is_some_and(|ended| ended < first.began));
            let mut rest = operations.to_vec();
            rest.remove(place);
            !follows_another
                && match first.step {
                    Step::Write(written) => any_order_explains(&rest, written),
                    Step::Read(read) => read == value && any_order_explains(&rest, value),
                }
        })
    }

    fn history() -> impl Strategy<Value = Vec<Operation>> {
        let operation = (0..3u64, 0..4u8);
        (1..8usize)
            .prop_flat_map(move |count| {
                let times: Vec<u64> = (0..2 * count as u64).collect();
                (prop::collection::vec(operation.clone(), count), Just(times).prop_shuffle())
            })
            .prop_map(|(operations, times)| {
                let place = |(&(value, kind), times): (&(u64, u8), &[u64])| {
                    let (began, ended) = (times[0].min(times[1]), times[0].max(times[1]));
                    let value = (value > 0).then_some(value);
                    match kind {
                        0 | 1 => Operation { step: Step::Read(value), began, ended: Some(ended) },
                        2 => Operation { step: Step::Write(value), began, ended: Some(ended) },
                        _ => Operation { step: Step::Write(value), began, ended: None },
                    }
                };
                operations.iter().zip(times.chunks(2)).map(place).collect()
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn prop_it_agrees_with_trying_every_order(operations in history()) {
            let answer = check(&operations, WORK_MAX);
            prop_assert_ne!(&answer, &Answer::TooMuch);
            prop_assert_eq!(answer == Answer::Linearizable, any_order_explains(&operations, None), "{:?}", answer);
        }
    }

    #[test]
    fn both_answers_are_frequent_among_the_random_histories() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let sample = 500;
        let right = (0..sample)
            .filter(|_| {
                let operations = history().new_tree(&mut runner).expect("a history").current();
                any_order_explains(&operations, None)
            })
            .count();
        assert!((sample / 5..sample * 4 / 5).contains(&right), "{right} of {sample}");
    }

    #[test]
    fn a_read_after_a_write_must_see_it() {
        let stale = [write(1, 0, Some(1)), write(2, 2, Some(3)), read(Some(1), 4, 5)];
        assert_eq!(check(&stale, WORK_MAX), Answer::Impossible { read: 2, possible: vec![Some(2)] });
        let concurrent = [write(1, 0, Some(1)), write(2, 2, Some(5)), read(Some(1), 3, 4)];
        assert_eq!(check(&concurrent, WORK_MAX), Answer::Linearizable);
    }

    #[test]
    fn reads_do_not_go_back_while_a_write_is_under_way() {
        let back = [write(1, 0, Some(1)), write(2, 2, Some(9)), read(Some(2), 3, 4), read(Some(1), 5, 6)];
        assert!(matches!(check(&back, WORK_MAX), Answer::Impossible { read: 3, .. }));
    }

    #[test]
    fn a_write_of_unknown_outcome_happens_once_at_most_and_late_if_need_be() {
        let late = [write(1, 0, None), write(2, 1, Some(2)), read(Some(2), 3, 4), read(Some(1), 5, 6)];
        assert_eq!(check(&late, WORK_MAX), Answer::Linearizable);
        let twice = [
            write(1, 0, None),
            read(Some(1), 1, 2),
            write(2, 3, Some(4)),
            read(Some(2), 5, 6),
            read(Some(1), 7, 8),
        ];
        assert!(matches!(check(&twice, WORK_MAX), Answer::Impossible { read: 4, .. }));
    }

    #[test]
    fn many_unknown_writes_over_a_long_history_stay_cheap() {
        let mut operations = Vec::new();
        for round in 0..20_000u64 {
            let at = round * 10;
            let ended = (round % 10 != 0).then_some(at + 2);
            operations.push(write(round, at, ended));
            let seen = if round % 10 == 0 && round % 20 != 0 { round - 1 } else { round };
            operations.push(read(Some(seen), at + 3, at + 4));
        }
        assert_eq!(check(&operations, WORK_MAX), Answer::Linearizable);
    }

    #[test]
    fn many_unknown_writes_of_few_values_stay_cheap() {
        let mut operations = Vec::new();
        for round in 0..100u64 {
            let at = round * 10;
            operations.push(write(round % 3, at, None));
            // Every second time the open write is seen, after a known one that covers it.
            operations.push(write(9, at + 1, Some(at + 2)));
            let seen = if round % 2 == 0 { round % 3 } else { 9 };
            operations.push(read(Some(seen), at + 3, at + 4));
        }
        assert_eq!(check(&operations, WORK_MAX), Answer::Linearizable);
    }

    #[test]
    fn work_past_the_bound_is_no_answer() {
        // Writes of the same few values, all under way, read back and forth.
        let mut operations: Vec<Operation> =
            (0..40).map(|one| write(one % 5, one, Some(1_000 + one))).collect();
        operations.extend((0..40).map(|one| read(Some(one * 3 % 5), 100 + 2 * one, 101 + 2 * one)));
        assert_eq!(check(&operations, 1_000), Answer::TooMuch);
        let crowd: Vec<Operation> = (0..200).map(|one| write(1, one, Some(1_000 + one))).collect();
        assert_eq!(check(&crowd, WORK_MAX), Answer::TooMuch);
    }
}
