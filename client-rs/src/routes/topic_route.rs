//! A route as clients use it: queues to write and to read, and who serves them.
//! Source: RocketMQ 5.3 MQClientInstance.topicRouteData2TopicPublishInfo, topicRouteData2TopicSubscribeInfo.

use std::collections::BTreeMap;

use flotilla_remoting::bodies::{BrokerData, MessageQueue, TopicRouteData};

/// Permission bits of a queue.
const WRITE: i32 = 2;
const READ: i32 = 4;

/// Broker id of the replica that takes writes.
pub const LEADER: i64 = 0;

/// Route of a topic at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicRoute {
    write_queues: Vec<MessageQueue>,
    read_queues: Vec<MessageQueue>,
    brokers: BTreeMap<String, BrokerData>,
    ordered: bool,
}

impl TopicRoute {
    /// Takes a name server's answer apart.
    pub fn new(topic: &str, data: TopicRouteData) -> TopicRoute {
        let brokers: BTreeMap<String, BrokerData> =
            data.broker_datas.into_iter().map(|broker| (broker.broker_name.clone(), broker)).collect();
        let mut queue_datas = data.queue_datas;
        queue_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        let queues = |broker_name: &str, count: i32| {
            let broker_name = broker_name.to_owned();
            let topic = topic.to_owned();
            (0..count).map(move |queue_id| MessageQueue {
                broker_name: broker_name.clone(),
                queue_id,
                topic: topic.clone(),
            })
        };
        let order = data.order_topic_conf.filter(|conf| !conf.is_empty());
        let mut write_queues = Vec::new();
        if let Some(conf) = &order {
            for part in conf.split(';') {
                let Some((broker_name, count)) = part.split_once(':') else { continue };
                write_queues.extend(queues(broker_name, count.trim().parse().unwrap_or(0)));
            }
        } else {
            // A group without a leader takes no writes at Apache's; Flotilla's name server always names one.
            let writable = queue_datas.iter().filter(|queue| queue.perm & WRITE != 0).filter(|queue| {
                brokers
                    .get(&queue.broker_name)
                    .is_some_and(|broker| broker.broker_addrs.contains_key(&LEADER))
            });
            for queue in writable {
                write_queues.extend(queues(&queue.broker_name, queue.write_queue_nums));
            }
        }
        let mut read_queues = Vec::new();
        for queue in queue_datas.iter().filter(|queue| queue.perm & READ != 0) {
            read_queues.extend(queues(&queue.broker_name, queue.read_queue_nums));
        }
        read_queues.sort();
        TopicRoute { write_queues, read_queues, brokers, ordered: order.is_some() }
    }

    /// A route for a topic that does not exist yet, from that of the topic whose settings it will be created with.
    pub(crate) fn from_template(topic: &str, mut template: TopicRouteData, queue_count: i32) -> TopicRoute {
        for queue in &mut template.queue_datas {
            queue.write_queue_nums = queue.write_queue_nums.min(queue_count);
            queue.read_queue_nums = queue.write_queue_nums;
        }
        template.order_topic_conf = None;
        TopicRoute::new(topic, template)
    }

    /// Queues that take messages, by broker name and number.
    pub fn write_queues(&self) -> &[MessageQueue] {
        &self.write_queues
    }

    /// Queues that give messages, sorted as clients share them out.
    pub fn read_queues(&self) -> &[MessageQueue] {
        &self.read_queues
    }

    /// Replicas by broker name.
    pub fn brokers(&self) -> &BTreeMap<String, BrokerData> {
        &self.brokers
    }

    /// Claims that the number of queues is fixed by an order configuration.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Address of the replica that takes writes.
    pub fn leader(&self, broker_name: &str) -> Option<&str> {
        self.replica(broker_name, LEADER)
    }

    /// Address of a replica.
    pub fn replica(&self, broker_name: &str, broker_id: i64) -> Option<&str> {
        self.brokers.get(broker_name)?.broker_addrs.get(&broker_id).map(String::as_str)
    }

    /// Address of the leader, else of any replica: all of Flotilla's take any request.
    pub fn leader_or_any(&self, broker_name: &str) -> Option<&str> {
        // The leader's id is the smallest.
        self.brokers.get(broker_name)?.broker_addrs.values().next().map(String::as_str)
    }

    /// Claims that this address takes the writes of some broker name.
    pub(crate) fn is_led_by(&self, address: &str) -> bool {
        self.brokers.values().any(|broker| broker.broker_addrs.get(&LEADER).is_some_and(|at| at == address))
    }

    /// Every address of the route.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.brokers.values().flat_map(|broker| broker.broker_addrs.values()).map(String::as_str)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flotilla_remoting::bodies::QueueData;

    fn broker(name: &str, ids: &[i64]) -> BrokerData {
        BrokerData {
            broker_name: name.into(),
            broker_addrs: ids.iter().map(|id| (*id, format!("{name}:{id}"))).collect(),
            ..BrokerData::default()
        }
    }

    fn queue(name: &str, perm: i32, read: i32, write: i32) -> QueueData {
        QueueData {
            broker_name: name.into(),
            perm,
            read_queue_nums: read,
            write_queue_nums: write,
            topic_sys_flag: 0,
        }
    }

    fn data() -> TopicRouteData {
        TopicRouteData {
            broker_datas: vec![broker("b", &[1, 2]), broker("a", &[0, 1]), broker("c", &[0])],
            queue_datas: vec![queue("c", 4, 1, 1), queue("b", 6, 2, 2), queue("a", 6, 3, 2)],
            ..TopicRouteData::default()
        }
    }

    fn names(queues: &[MessageQueue]) -> Vec<String> {
        queues.iter().map(|queue| format!("{}{}", queue.broker_name, queue.queue_id)).collect()
    }

    #[test]
    fn queues_follow_permissions_and_leaders() {
        let route = TopicRoute::new("t", data());
        assert_eq!(names(route.write_queues()), ["a0", "a1"], "b has no leader, c takes no writes");
        assert_eq!(names(route.read_queues()), ["a0", "a1", "a2", "b0", "b1", "c0"]);
        assert_eq!(route.leader("a"), Some("a:0"));
        assert_eq!(route.leader("b"), None);
        assert_eq!(route.leader_or_any("b"), Some("b:1"));
        assert_eq!(route.replica("b", 2), Some("b:2"));
    }

    #[test]
    fn an_order_configuration_alone_makes_the_queues() {
        let route =
            TopicRoute::new("t", TopicRouteData { order_topic_conf: Some("b:2;a:1".into()), ..data() });
        assert!(route.is_ordered());
        assert_eq!(names(route.write_queues()), ["b0", "b1", "a0"]);
    }

    #[test]
    fn a_template_gives_at_most_the_queues_asked_for() {
        let route = TopicRoute::from_template("new", data(), 1);
        assert_eq!(names(route.write_queues()), ["a0"]);
        assert_eq!(route.write_queues()[0].topic, "new");
    }
}
