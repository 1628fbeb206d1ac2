//! What was acked and what arrived: counts lost and duplicate messages and violations of order. Pure.
//!
//! A sender has one message in flight at a time and numbers its messages, so what it sends to one queue, or with one key,
//! must be received in the order of its numbers. A message that arrives again is a duplicate and says nothing of order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use flotilla_client::MessageQueue;

use super::body::Header;
use super::sequences::Sequences;

/// Senders that one consumer keeps apart; what others sent is counted as received, and nothing more.
const SENDERS_MAX: usize = 65_536;
/// Queues that one consumer keeps apart; beyond, order is not looked at.
const QUEUES_MAX: usize = 65_536;

/// What senders were told: the acked sequence numbers, by the number of the sender.
#[derive(Debug, Default)]
pub struct Acked {
    senders: HashMap<u32, Sequences>,
}

impl Acked {
    /// An ack.
    pub fn insert(&mut self, producer: u32, sequence: u64) {
        self.senders.entry(producer).or_default().insert(sequence);
    }

    /// Adds those of another thread, which has other senders.
    pub fn merge(&mut self, other: Acked) {
        for (producer, sequences) in other.senders {
            self.senders.entry(producer).or_default().merge(&sequences);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.senders.values().map(Sequences::count).sum()
    }

    /// How many of them `received` lacks.
    pub fn lost(&self, run: u64, received: &Received) -> u64 {
        let lost = |(producer, acked): (&u32, &Sequences)| match received.senders.get(&(run, *producer)) {
            Some(sender) => acked.missing_from(&sender.sequences),
            None => acked.count(),
        };
        self.senders.iter().map(lost).sum()
    }
}

/// What one consumer received, or several of a group after [`Received::merge`].
#[derive(Debug, Default)]
pub struct Received {
    senders: HashMap<(u64, u32), Sender>,
    queues: HashMap<MessageQueue, u32>,
    distinct: u64,
    duplicates: u64,
    out_of_order: u64,
}

#[derive(Debug, Default)]
struct Sender {
    sequences: Sequences,
    /// Highest number so far by queue or key.
    last: HashMap<Lane, u64>,
}

/// Within what a sender's messages stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Queue(u32),
    Key(u32),
}

/// A queue as a number; `None` beyond the bound.
pub type QueueIndex = Option<u32>;

impl Received {
    /// Number of a queue, for [`Received::message`]: looked up once for many messages.
    pub fn queue(&mut self, queue: &MessageQueue) -> QueueIndex {
        if let Some(index) = self.queues.get(queue) {
            return Some(*index);
        }
        let index = u32::try_from(self.queues.len()).ok().filter(|_| self.queues.len() < QUEUES_MAX)?;
        self.queues.insert(queue.clone(), index);
        Some(index)
    }

    /// A message arrived; false when it had been received before.
    pub fn message(&mut self, queue: QueueIndex, header: &Header) -> bool {
        let full = self.senders.len() >= SENDERS_MAX;
        let sender = match self.senders.entry((header.run, header.producer)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if !full => new.insert(Sender::default()),
            Entry::Vacant(_) => {
                self.distinct += 1;
                return true;
            }
        };
        if !sender.sequences.insert(header.sequence) {
            self.duplicates += 1;
            return false;
        }
        self.distinct += 1;
        let lane = header.key.map(Lane::Key).or(queue.map(Lane::Queue));
        if let Some(lane) = lane {
            match sender.last.entry(lane) {
                Entry::Occupied(last) if *last.get() > header.sequence => self.out_of_order += 1,
                Entry::Occupied(mut last) => *last.get_mut() = header.sequence,
                Entry::Vacant(new) => {
                    new.insert(header.sequence);
                }
            }
        }
        true
    }

    /// A message arrived that is not of this tool.
    pub fn foreign(&mut self) {
        self.distinct += 1;
    }

    /// Adds what another consumer of the group received; order between two consumers is not looked at.
    pub fn merge(&mut self, other: Received) {
        let mut both = 0;
        for (name, theirs) in other.senders {
            both += self.senders.entry(name).or_default().sequences.merge(&theirs.sequences);
        }
        self.distinct += other.distinct - both;
        self.duplicates += other.duplicates + both;
        self.out_of_order += other.out_of_order;
    }

    /// Messages without those that came again.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Messages that came again.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Messages that came after one that was sent later, by sender and queue or key.
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(producer: u32, sequence: u64) -> Header {
        Header { run: 1, producer, sequence, intended_us: 0, key: None }
    }

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { topic: "t".to_owned(), broker_name: "b".to_owned(), queue_id }
    }

    #[test]
    fn each_queue_has_its_own_order() {
        let mut received = Received::default();
        let (zero, one) = (received.queue(&queue(0)), received.queue(&queue(1)));
        assert_ne!(zero, one);
        assert_eq!(received.queue(&queue(0)), zero);
        for (queue, sequence) in [(zero, 0), (zero, 3), (one, 1), (one, 2), (zero, 2), (zero, 4)] {
            received.message(queue, &header(0, sequence));
        }
        assert_eq!((received.out_of_order(), received.duplicates()), (0, 1), "2 came again");
        received.message(zero, &header(0, 5));
        received.message(zero, &header(0, 7));
        received.message(zero, &header(0, 6));
        assert_eq!(received.out_of_order(), 1);
    }

    #[test]
    fn a_key_has_one_order_over_all_queues() {
        let mut received = Received::default();
        let (zero, one) = (received.queue(&queue(0)), received.queue(&queue(1)));
        let keyed = |sequence, key| Header { key: Some(key), ..header(0, sequence) };
        received.message(zero, &keyed(5, 1));
        received.message(one, &keyed(4, 1));
        received.message(one, &keyed(3, 2));
        assert_eq!(received.out_of_order(), 1);
    }

    #[test]
    fn runs_and_senders_are_kept_apart() {
        let mut received = Received::default();
        let mut acked = Acked::default();
        acked.insert(0, 0);
        acked.insert(1, 0);
        received.message(Some(0), &Header { run: 2, ..header(0, 0) });
        assert_eq!(acked.lost(1, &received), 2);
        received.message(Some(0), &header(1, 0));
        assert_eq!(acked.lost(1, &received), 1);
        assert_eq!(received.duplicates(), 0);
    }

    proptest! {
        /// Takes what was sent in order, then plants losses, duplicates and one late message a sender.
        #[test]
        fn prop_planted_faults_are_counted_exactly(
            counts in prop::collection::vec(10u64..200, 1..6),
            lost in prop::collection::btree_set((0usize..6, 0u64..200), 0..10),
            mut again in prop::collection::vec((0usize..6, 0u64..200), 0..10),
            late in prop::collection::btree_map(0usize..6, 0u64..190, 0..6),
            split in 1usize..4,
        ) {
            let mut acked = Acked::default();
            let mut consumers: Vec<Received> = (0..split).map(|_| Received::default()).collect();
            let exists = |sender: &usize, sequence: u64| counts.get(*sender).is_some_and(|count| sequence < *count);
            let is_lost = |sender: usize, sequence: u64| lost.contains(&(sender, sequence));
            let mut out_of_order = 0;
            for (sender, count) in counts.iter().enumerate() {
                let consumer = &mut consumers[sender % split];
                let mut order: Vec<u64> = (0..*count).filter(|sequence| !is_lost(sender, *sequence)).collect();
                // One message changes places with all behind it: it comes last.
                if let Some(at) = late.get(&sender).and_then(|late| order.iter().position(|s| s == late))
                    && at + 1 < order.len()
                {
                    let moved = order.remove(at);
                    order.push(moved);
                    out_of_order += 1;
                }
                (0..*count).for_each(|sequence| acked.insert(sender as u32, sequence));
                for sequence in order {
                    prop_assert!(consumer.message(Some(0), &header(sender as u32, sequence)));
                }
            }
            let mut duplicates = 0;
            // A consumer that gets for the first time what another one had can't know better than that order counts.
            again.sort_unstable();
            for (sender, sequence) in &again {
                if exists(sender, *sequence) && !is_lost(*sender, *sequence) {
                    // Half of them at another consumer, as after a rebalance.
                    let at = (sender + *sequence as usize % 2) % split;
                    consumers[at].message(Some(0), &header(*sender as u32, *sequence));
                    duplicates += 1;
                }
            }
            let mut all = Received::default();
            consumers.into_iter().for_each(|consumer| all.merge(consumer));
            let planted = lost.iter().filter(|(sender, sequence)| exists(sender, *sequence)).count() as u64;
            prop_assert_eq!(acked.lost(1, &all), planted);
            prop_assert_eq!(all.duplicates(), duplicates);
            prop_assert_eq!(all.out_of_order(), out_of_order);
            prop_assert_eq!(all.distinct(), acked.count() - planted);
        }
    }
}
