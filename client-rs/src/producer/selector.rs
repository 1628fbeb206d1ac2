//! From a key to a queue.
//!
//! The hash is Java's `String.hashCode`, and the index is computed as RocketMQ's SelectMessageQueueByHash does over queues in
//! the same order (broker name, number): producers in Java and of this crate put the messages of a key into the same queue.
//! When the number of write queues changes, most keys move: messages of a key sent before may then be consumed after those
//! sent later. Change it while nothing is sent and everything is consumed, or fix it by an order configuration.
//! Source: RocketMQ 5.3 SelectMessageQueueByHash, MQClientInstance.topicRouteData2TopicPublishInfo.

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
pub(super) fn hash(key: &str) -> i32 {
    key.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Number of the queue among `count`, which must not be 0: the remainder as Java computes it, without its sign.
pub(super) fn index(hash: i32, count: usize) -> usize {
    (i64::from(hash) % count as i64).unsigned_abs() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_java_sends_them() {
        // `key.hashCode()` under Java 17.
        for (key, expected) in [("", 0), ("a", 97), ("order-17", 1_234_255_109), ("ключ", 33_309_882)] {
            assert_eq!(hash(key), expected, "{key}");
        }
        // Math.abs(Integer.MIN_VALUE % 7), Math.abs(-5 % 4).
        assert_eq!(index(i32::MIN, 7), 2);
        assert_eq!(index(-5, 4), 1);
        assert_eq!(index(5, 4), 1);
    }
}
