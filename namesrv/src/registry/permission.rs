//! Write permission of a whole broker name, taken and given back by operators.

use super::Registry;
use super::topics::PERM_WRITE;

/// Read and write. Source: RocketMQ 5.3 RouteInfoManager.operateWritePermOfBroker, which sets this for every topic.
const PERM_READ_WRITE: i32 = 6;

impl Registry {
    /// Takes the write permission from a broker name until `add_write_permission`, whatever it registers meanwhile. Gives the
    /// number of its topics; 0 when it is unknown.
    pub fn wipe_write_permission(&mut self, broker_name: &str) -> i32 {
        if !self.groups.contains_key(broker_name) {
            return 0;
        }
        self.wiped.insert(broker_name.to_owned());
        self.clear_write_bits(broker_name)
    }

    /// Gives the write permission back. Gives the number of topics of the broker name.
    pub fn add_write_permission(&mut self, broker_name: &str) -> i32 {
        self.wiped.remove(broker_name);
        self.change_perm(broker_name, |_| PERM_READ_WRITE)
    }

    pub(super) fn clear_write_bits(&mut self, broker_name: &str) -> i32 {
        self.change_perm(broker_name, |perm| perm & !PERM_WRITE)
    }

    fn change_perm(&mut self, broker_name: &str, change: impl Fn(i32) -> i32) -> i32 {
        let mut count = 0;
        for brokers in self.topics.values_mut() {
            if let Some(queues) = brokers.get_mut(broker_name) {
                count += 1;
                let perm = change(queues.perm);
                self.changed |= queues.perm != perm;
                queues.perm = perm;
            }
        }
        count
    }
}
