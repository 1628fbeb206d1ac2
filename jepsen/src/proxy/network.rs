//! All links of a cluster, and what is done to them by who talks to whom.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;

use super::link::Link;
use super::rules::{Rules, Way};

/// Ports that are tried for a link.
const PORT_ATTEMPTS: usize = 16;

/// One end of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A broker, by number.
    Node(usize),
    /// A name server, by number.
    NameServer(usize),
    /// All clients.
    Clients,
}

/// What is done to the network by one fault. Several may be in force at once; each counts on its own.
#[derive(Clone, Debug, Default)]
pub struct Disturbance {
    /// Who is not heard by whom.
    pub cuts: Vec<(End, End)>,
    /// How slow the way from one end to another is.
    pub slow: Vec<((End, End), Way)>,
    /// Age at which connections between two ends are reset at the latest, whoever opened them.
    pub resets: Vec<((End, End), Duration)>,
    /// Callers whose calls are refused, and by whom.
    pub refused: Vec<(End, End)>,
}

impl Disturbance {
    /// Neither of the two hears the other.
    pub fn part(&mut self, one: End, other: End) {
        self.cuts.extend([(one, other), (other, one)]);
    }

    fn apply(&self, caller: End, called: End, rules: &mut Rules) {
        for (from, to, way) in [(caller, called, &mut rules.forward), (called, caller, &mut rules.backward)] {
            way.cut |= self.cuts.contains(&(from, to));
            for (_, slow) in self.slow.iter().filter(|(ends, _)| *ends == (from, to)) {
                way.delay = way.delay.max(slow.delay);
                way.jitter = way.jitter.max(slow.jitter);
                way.rate = match (way.rate, slow.rate) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
        }
        rules.refuse |= self.refused.contains(&(caller, called));
        for (ends, age) in &self.resets {
            if *ends == (caller, called) || *ends == (called, caller) {
                rules.reset_within = Some(rules.reset_within.map_or(*age, |known| known.min(*age)));
            }
        }
    }
}

/// Links by caller and called, and the disturbances in force.
#[derive(Debug)]
pub struct Network {
    links: BTreeMap<(End, End), Link>,
    disturbances: Mutex<BTreeMap<u32, Disturbance>>,
    seed: u64,
}

impl Network {
    /// No links yet; `seed` decides about jitter and the age of connections.
    pub fn new(seed: u64) -> Network {
        Network { links: BTreeMap::new(), disturbances: Mutex::default(), seed }
    }

    /// Adds a link that listens at `listen` (port 0: any); gives the address for the caller.
    ///
    /// # Errors
    /// The port can't be opened.
    pub async fn add(
        &mut self,
        caller: End,
        called: End,
        listen: (Ipv4Addr, u16),
        target: SocketAddr,
    ) -> anyhow::Result<SocketAddr> {
        let seed = self.seed.wrapping_add(self.links.len() as u64);
        // A link is closed until its target runs, so the system may give its port away once more.
        for _ in 0..PORT_ATTEMPTS {
            let link = Link::open(SocketAddr::from(listen), target, seed).await?;
            let address = link.address();
            if self.links.values().all(|other| other.address() != address) {
                self.links.insert((caller, called), link);
                return Ok(address);
            }
        }
        bail!("no port at {} that no other link has", listen.0)
    }

    /// Address that a caller is told for one called.
    ///
    /// # Errors
    /// There is no such link.
    pub fn address(&self, caller: End, called: End) -> anyhow::Result<SocketAddr> {
        let link = self.links.get(&(caller, called));
        Ok(link.with_context(|| format!("no link from {caller:?} to {called:?}"))?.address())
    }

    /// Puts a disturbance in force under a number that is not in use.
    pub fn disturb(&self, number: u32, disturbance: Disturbance) {
        let mut disturbances = self.disturbances.lock();
        disturbances.insert(number, disturbance);
        self.apply(&disturbances);
    }

    /// Ends a disturbance; others stay in force.
    pub fn settle(&self, number: u32) {
        let mut disturbances = self.disturbances.lock();
        disturbances.remove(&number);
        self.apply(&disturbances);
    }

    /// Ends all disturbances. A process that is down stays so.
    pub fn heal(&self) {
        let mut disturbances = self.disturbances.lock();
        disturbances.clear();
        self.apply(&disturbances);
    }

    fn apply(&self, disturbances: &BTreeMap<u32, Disturbance>) {
        for ((caller, called), link) in &self.links {
            let mut rules = Rules::default();
            for disturbance in disturbances.values() {
                disturbance.apply(*caller, *called, &mut rules);
            }
            link.set(rules);
        }
    }

    /// The process at an end has ended: whoever calls it is refused.
    pub fn ended(&self, end: End) {
        for link in self.called(end) {
            link.target_ended();
        }
    }

    /// The process at an end was started: calls are taken as soon as it listens.
    pub fn starts(&self, end: End) {
        for link in self.called(end) {
            link.target_starts();
        }
    }

    fn called(&self, end: End) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |((_, called), _)| *called == end).map(|(_, link)| link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_two_links_have_one_port_even_while_they_are_closed() {
        let mut network = Network::new(1);
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let any = (Ipv4Addr::LOCALHOST, 0);
        let first = network.add(End::Clients, End::Node(0), any, target).await.expect("a port");
        // Its port is free again as soon as the link has closed; the one that asks for it must not get it.
        let same = (Ipv4Addr::LOCALHOST, first.port());
        let second = network.add(End::Clients, End::Node(1), same, target).await;
        assert!(second.is_err(), "{first} twice");
        let third = network.add(End::Clients, End::Node(1), any, target).await.expect("another port");
        assert_ne!(third, first);
    }
}
