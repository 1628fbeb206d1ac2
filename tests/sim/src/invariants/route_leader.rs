//! A route never lacks a leader entry (FAILOVER rules 3 and 7 in docs/failover-rules.md; invariant 6 of `ARCHITECTURE.md`): what a
//! name server gives names a broker 0 for the group, be it a stand-in; the one that is entered, where one is; once it has given
//! routes in its life it is ready for good, and goes on giving this one as long as it knows a replica of the group.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_namesrv::Told;
use flotilla_remoting::bodies::{self, TopicRouteData};

/// What a name server knows and says at one moment.
#[derive(Debug)]
pub struct Look {
    /// What a client that asks for the topic is told.
    pub told: Told,
    /// Addresses of the group by broker id, as they are entered.
    pub entered: BTreeMap<i64, String>,
}

/// What name servers have given in their lives.
#[derive(Debug, Default)]
pub struct RouteLeader {
    ready: BTreeSet<usize>,
    given: BTreeSet<usize>,
}

impl RouteLeader {
    /// A name server starts and knows nothing.
    pub fn started(&mut self, place: usize) {
        self.ready.remove(&place);
        self.given.remove(&place);
    }

    /// Looks at what a name server says of the group with this name.
    ///
    /// # Errors
    /// The route lacks broker 0, or another one than is entered, or there is none.
    pub fn look(&mut self, place: usize, broker_name: &str, look: &Look) -> Result<(), String> {
        let wrong = |what: String| Err(format!("route leader: name server n{place} {what}"));
        let entered = &look.entered;
        match &look.told {
            Told::NotReady if self.ready.contains(&place) => wrong("is not ready any more".into()),
            Told::NotReady => Ok(()),
            Told::Unknown => {
                self.ready.insert(place);
                if entered.is_empty() {
                    // All replicas have gone, and with them what it has given.
                    self.given.remove(&place);
                }
                match self.given.contains(&place) {
                    true => wrong(format!("gives no route any more and has entered {entered:?}")),
                    false => Ok(()),
                }
            }
            Told::Route(route) => {
                self.ready.insert(place);
                self.given.insert(place);
                let shown = match brokers(route, broker_name) {
                    Ok(shown) => shown,
                    Err(what) => return wrong(what),
                };
                match (shown.get(&0), entered.get(&0)) {
                    (None, _) => wrong(format!("gives a route without broker 0: {shown:?}")),
                    (Some(shown), Some(leader)) if shown != leader => {
                        wrong(format!("gives {shown} as broker 0 and has entered {leader}"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The addresses of a group in a route.
///
/// # Errors
/// The route can't be read, or the group is not in it.
pub fn brokers(route: &[u8], broker_name: &str) -> Result<BTreeMap<i64, String>, String> {
    let route: TopicRouteData = bodies::decode(route).map_err(|error| format!("gives no route: {error}"))?;
    let data = route.broker_datas.into_iter().find(|data| data.broker_name == broker_name);
    data.map(|data| data.broker_addrs).ok_or_else(|| format!("gives a route without {broker_name}"))
}

#[cfg(test)]
mod tests {
    use flotilla_remoting::bodies::{BrokerData, RouteForm};

    use super::*;

    fn addresses(ids: &[i64]) -> BTreeMap<i64, String> {
        ids.iter().map(|id| (*id, format!("n{id}"))).collect()
    }

    fn route(ids: &[i64], entered: &[i64]) -> Look {
        let data = BrokerData {
            broker_addrs: addresses(ids),
            broker_name: "B".into(),
            cluster: "C".into(),
            enable_acting_master: false,
            zone_name: None,
        };
        let route = TopicRouteData { broker_datas: vec![data], ..TopicRouteData::default() };
        Look { told: Told::Route(route.encode(RouteForm::Standard)), entered: addresses(entered) }
    }

    fn without(told: Told, entered: &[i64]) -> Look {
        Look { told, entered: addresses(entered) }
    }

    #[test]
    fn a_route_without_broker_0_is_seen_and_a_stand_in_passes() {
        let mut leaders = RouteLeader::default();
        assert!(leaders.look(3, "B", &route(&[0, 2], &[0, 2])).is_ok());
        assert!(leaders.look(3, "B", &route(&[0, 2], &[1, 2])).is_ok(), "n0 stands in");
        assert!(leaders.look(3, "B", &route(&[1, 2], &[1, 2])).is_err());
        let mut outdated = route(&[0, 2], &[0, 2]);
        outdated.entered.insert(0, "n5".into());
        assert!(leaders.look(3, "B", &outdated).is_err(), "n5 has taken over");
        assert!(leaders.look(3, "A", &route(&[0], &[0])).is_err(), "another group's");
    }

    #[test]
    fn a_route_that_was_given_is_given_as_long_as_a_replica_is_known() {
        let mut leaders = RouteLeader::default();
        assert!(leaders.look(3, "B", &without(Told::NotReady, &[1])).is_ok());
        assert!(leaders.look(3, "B", &without(Told::Unknown, &[1])).is_ok(), "the topic is not made yet");
        assert!(leaders.look(3, "B", &route(&[0], &[0])).is_ok());
        assert!(leaders.look(3, "B", &without(Told::Unknown, &[1])).is_err());
        assert!(leaders.look(3, "B", &without(Told::NotReady, &[0])).is_err());
        assert!(leaders.look(3, "B", &without(Told::Unknown, &[])).is_ok(), "nobody is left");
        leaders.started(3);
        assert!(leaders.look(3, "B", &without(Told::NotReady, &[])).is_ok());
    }
}
