//! A map by name that is cheap to clone: a fixed number of shards, each shared until it is written to.
//!
//! A clone costs one reference count per shard. After a clone the first write to a shard copies the shard's table of references,
//! and the first write to a value copies that value; everything else stays shared. Readers of the clone see the moment of the
//! clone for ever.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// Hashes alike in every process. Order of iteration never reaches a result; this only keeps runs repeatable.
pub type FixedHasher = BuildHasherDefault<DefaultHasher>;

const SHARD_BITS: u32 = 6;
const SHARD_COUNT: usize = 1 << SHARD_BITS;

type Shard<V> = Arc<HashMap<Arc<str>, Arc<V>, FixedHasher>>;

#[derive(Debug)]
pub(crate) struct Sharded<V> {
    shards: Box<[Shard<V>]>,
    len: usize,
}

impl<V> Clone for Sharded<V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), len: self.len }
    }
}

impl<V> Default for Sharded<V> {
    fn default() -> Self {
        Self { shards: (0..SHARD_COUNT).map(|_| Shard::<V>::default()).collect(), len: 0 }
    }
}

impl<V> Sharded<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.shards[shard_of(name)].get(name).map(Arc::as_ref)
    }

    /// Names and values in order of the names.
    pub(crate) fn sorted(&self) -> Vec<(&Arc<str>, &V)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by(|left, right| left.0.cmp(right.0));
        all
    }

    /// In no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(name, value)| (name, value.as_ref())))
    }
}

impl<V: Clone> Sharded<V> {
    #[inline]
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        let shard = &mut self.shards[shard_of(name)];
        // A miss must not copy a shared shard.
        if Arc::get_mut(shard).is_none() && !shard.contains_key(name) {
            return None;
        }
        Arc::make_mut(shard).get_mut(name).map(Arc::make_mut)
    }

    /// The value of a name, made when there is none.
    pub(crate) fn get_or_insert_with(&mut self, name: &str, make: impl FnOnce(&Arc<str>) -> V) -> &mut V {
        let shard = Arc::make_mut(&mut self.shards[shard_of(name)]);
        if !shard.contains_key(name) {
            let name: Arc<str> = Arc::from(name);
            let value = Arc::new(make(&name));
            shard.insert(name, value);
            self.len += 1;
        }
        Arc::make_mut(shard.get_mut(name).expect("inserted just above"))
    }

    pub(crate) fn insert(&mut self, name: Arc<str>, value: V) {
        let shard = Arc::make_mut(&mut self.shards[shard_of(&name)]);
        if shard.insert(name, Arc::new(value)).is_none() {
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let shard = &mut self.shards[shard_of(name)];
        if !shard.contains_key(name) {
            return false;
        }
        Arc::make_mut(shard).remove(name);
        self.len -= 1;
        true
    }
}

/// Names mostly differ at their end, so the last eight bytes and the length spread them well enough.
#[inline]
fn shard_of(name: &str) -> usize {
    let bytes = name.as_bytes();
    let last = bytes.len().saturating_sub(8);
    let mut word = [0; 8];
    word[..bytes.len() - last].copy_from_slice(&bytes[last..]);
    let mixed = (u64::from_le_bytes(word) ^ bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - SHARD_BITS)) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_clone_keeps_its_moment() {
        let mut map = Sharded::<u32>::default();
        for number in 0..200 {
            map.insert(Arc::from(format!("topic-{number}")), number);
        }
        let clone = map.clone();
        *map.get_mut("topic-7").unwrap() = 700;
        map.remove("topic-8");
        map.get_or_insert_with("new", |_| 1);
        assert_eq!(
            (clone.get("topic-7"), clone.get("topic-8"), clone.get("new")),
            (Some(&7), Some(&8), None)
        );
        assert_eq!((map.get("topic-7"), map.get("topic-8"), map.get("new")), (Some(&700), None, Some(&1)));
        assert_eq!((clone.len(), map.len()), (200, 200));
    }

    #[test]
    fn a_write_copies_one_shard_and_one_value() {
        let mut map = Sharded::<u32>::default();
        for number in 0..1000 {
            map.insert(Arc::from(format!("topic-{number}")), number);
        }
        let clone = map.clone();
        *map.get_mut("topic-500").unwrap() = 0;
        let shared =
            map.shards.iter().zip(&clone.shards).filter(|(left, right)| Arc::ptr_eq(left, right)).count();
        assert_eq!(shared, SHARD_COUNT - 1);
        let same = clone.iter().filter(|(name, value)| std::ptr::eq(*value, map.get(name).unwrap())).count();
        assert_eq!(same, 999);
    }

    #[test]
    fn numbered_names_spread_over_the_shards() {
        let mut counts = [0_usize; SHARD_COUNT];
        for number in 0..6400 {
            counts[shard_of(&format!("order-events-{number:05}"))] += 1;
        }
        assert!(counts.iter().all(|count| (20..300).contains(count)), "{counts:?}");
    }
}
