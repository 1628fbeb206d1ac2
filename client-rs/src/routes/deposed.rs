//! Addresses that led and do not any more, as far as routes tell: what is still outstanding there need not be waited for.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::topic_route::TopicRoute;

/// How long it is remembered: longer than most requests wait.
const MEMORY: Duration = Duration::from_secs(60);

/// Deposed leaders by address.
#[derive(Debug, Default)]
pub(super) struct Deposed {
    table: Mutex<HashMap<String, Loss>>,
}

/// When an address ceased to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fall {
    /// When a route told it first, of the broker name that it lost last.
    pub(crate) since: Instant,
    /// When one did last: requests by routes that were not refreshed yet went there until then.
    pub(crate) last: Instant,
}

/// What an address has lost.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    pub(super) fall: Fall,
    /// The broker names that it led.
    pub(super) broker_names: BTreeSet<String>,
}

impl Deposed {
    /// Takes the first route of a topic, which has nothing to be compared with: whom it names leads.
    pub(super) fn begin(&self, route: &TopicRoute) {
        let mut table = self.table.lock();
        if table.is_empty() {
            return;
        }
        for name in route.brokers().keys() {
            if let Some(loss) = route.leader(name).and_then(|leader| table.get_mut(leader)) {
                loss.broker_names.remove(name);
            }
        }
        table.retain(|_, loss| !loss.broker_names.is_empty());
    }

    /// Compares two routes of a topic; gives the addresses that have just lost a broker name to another.
    pub(super) fn note(&self, old: &TopicRoute, new: &TopicRoute) -> Vec<String> {
        let mut news = Vec::new();
        let mut table = self.table.lock();
        for name in old.brokers().keys() {
            // Without a successor there is nobody to turn to.
            let (Some(before), Some(now)) = (old.leader(name), new.leader(name)) else { continue };
            if before == now {
                continue;
            }
            table.retain(|_, loss| loss.is_recent());
            if let Some(loss) = table.get_mut(now) {
                loss.broker_names.remove(name);
            }
            let told = Instant::now();
            let fresh = || Loss { fall: Fall { since: told, last: told }, broker_names: BTreeSet::new() };
            let loss = table.entry(before.to_owned()).or_insert_with(fresh);
            loss.fall.last = told;
            if loss.broker_names.insert(name.clone()) {
                // What it had of this name has its own grace.
                loss.fall.since = told;
                news.push(before.to_owned());
            }
        }
        table.retain(|_, loss| !loss.broker_names.is_empty());
        news
    }

    /// What an address has lost, if anything.
    pub(super) fn loss(&self, address: &str) -> Option<Loss> {
        self.table.lock().get(address).filter(|loss| loss.is_recent()).cloned()
    }
}

impl Loss {
    fn is_recent(&self) -> bool {
        self.fall.last.elapsed() < MEMORY
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flotilla_remoting::bodies::{BrokerData, TopicRouteData};

    use super::*;

    fn route(leaders: &[(&str, &str)]) -> TopicRoute {
        let broker = |(name, leader): &(&str, &str)| BrokerData {
            broker_name: (*name).to_owned(),
            broker_addrs: [(0, (*leader).to_owned())].into(),
            ..BrokerData::default()
        };
        let broker_datas = leaders.iter().map(broker).collect();
        TopicRoute::new("t", TopicRouteData { broker_datas, ..TopicRouteData::default() })
    }

    #[tokio::test]
    async fn a_leader_is_deposed_by_another_and_only_while_it_stays_so() {
        let deposed = Deposed::default();
        let (first, second) = (route(&[("b", "x:1"), ("c", "x:1")]), route(&[("b", "y:1"), ("c", "x:1")]));
        assert_eq!(deposed.note(&first, &second), ["x:1"]);
        assert_eq!(deposed.note(&first, &second), [""; 0], "it is known already");
        assert_eq!(deposed.loss("x:1").map(|loss| loss.broker_names), Some(["b".to_owned()].into()));
        assert!(deposed.loss("y:1").is_none());
        assert_eq!(deposed.note(&second, &first), ["y:1"]);
        assert!(deposed.loss("x:1").is_none(), "it leads again");
        deposed.begin(&second);
        assert!(deposed.loss("y:1").is_none(), "and so does this one, as another topic's route knows");
    }

    #[tokio::test]
    async fn a_fall_begins_again_with_each_name_and_lasts_until_no_route_names_the_address() {
        let deposed = Deposed::default();
        let first = route(&[("b", "x:1"), ("c", "x:1")]);
        let (second, third) = (route(&[("b", "y:1"), ("c", "x:1")]), route(&[("b", "y:1"), ("c", "y:1")]));
        let fall = || deposed.loss("x:1").map(|loss| loss.fall).unwrap();
        assert_eq!(deposed.note(&first, &second), ["x:1"]);
        let before = fall();
        assert_eq!(deposed.note(&first, &second), [""; 0]);
        assert_eq!(fall().since, before.since, "nothing new was lost");
        assert!(fall().last > before.last, "but another topic's route named it until now");
        assert_eq!(deposed.note(&second, &third), ["x:1"]);
        assert!(fall().since > before.since, "another name, another fall");
    }

    #[tokio::test]
    async fn nobody_is_deposed_without_a_successor() {
        let deposed = Deposed::default();
        assert_eq!(deposed.note(&route(&[("b", "x:1")]), &route(&[])), [""; 0]);
    }
}
