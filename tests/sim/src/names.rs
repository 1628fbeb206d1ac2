//! The name servers of a run, the network to them, what goes wrong with both, and what they show.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_namesrv::Told;
use flotilla_namesrv::registry::Registry;

use crate::invariants::route_leader::{Look, brokers};
use crate::invariants::route_terms::Entered;
use crate::judge::SharedJudge;
use crate::name_server::{self, NameServer};
use crate::net::Wires;
use crate::plan::Plan;
use crate::random::Random;
use crate::registering::{BROKER_NAME, CLUSTER, Post};
use crate::say;

/// The topic whose route is looked at.
const TOPIC: &str = "orders";

/// Name servers and the way to them. The network has a place for each host, then one for each name server, then one for each consumer;
/// replicas speak of consumers over it, too.
pub struct Names {
    /// What connects hosts and name servers.
    pub wires: Wires,
    /// The name servers.
    pub servers: Vec<NameServer>,
    /// Where replicas register.
    pub post: Post,
    judge: SharedJudge,
    /// What each showed last.
    shown: Vec<Option<Look>>,
}

impl Names {
    /// As the plan wants them, all started.
    pub fn new(plan: &Plan, judge: SharedJudge, random: Random) -> Self {
        let places = plan.hosts..plan.hosts + plan.name_servers;
        let post = Post {
            name_servers: places.clone().map(name_server::address_of).collect(),
            interval_ms: plan.register_every_ms,
        };
        let wires = Wires::not_overheard(places.end + plan.consumers, plan.delay_ms, random);
        let servers: Vec<NameServer> = places.map(NameServer::new).collect();
        let shown = servers.iter().map(|_| None).collect();
        let mut names = Self { wires, servers, post, judge, shown };
        for index in 0..names.servers.len() {
            names.start(index);
        }
        names
    }

    fn start(&mut self, index: usize) {
        let place = self.servers[index].place;
        let mut judge = self.judge.lock();
        judge.route_terms.started(place);
        judge.route_leader.started(place);
        self.shown[index] = None;
        self.servers[index].start(&self.wires);
    }

    /// Ends a name server's process, or takes its machine's power.
    pub fn end(&mut self, index: usize, power_lost: bool, until_ms: u64) {
        let server = &mut self.servers[index];
        if server.running().is_some() {
            say!("end name server n{} {power_lost}", server.place);
            self.wires.process_ended(server.place, power_lost);
            server.end(until_ms);
        }
    }

    /// Moves the name servers on, and looks at those that have moved.
    pub fn step(&mut self, now_ms: u64, stirred: &BTreeSet<usize>) {
        for index in 0..self.servers.len() {
            let server = &mut self.servers[index];
            if server.step(now_ms, stirred.contains(&server.place)) {
                self.look(index);
            }
            let server = &self.servers[index];
            if server.running().is_none() && server.down_until_ms.is_none_or(|until_ms| until_ms <= now_ms) {
                self.start(index);
            }
        }
    }

    /// All that is wrong with them ends.
    pub fn end_faults(&mut self, now_ms: u64) {
        for server in &mut self.servers {
            server.stopped_until_ms = server.stopped_until_ms.map(|until_ms| until_ms.min(now_ms));
            server.down_until_ms = server.down_until_ms.map(|until_ms| until_ms.min(now_ms));
        }
    }

    fn look(&mut self, index: usize) {
        let server = &self.servers[index];
        let Some(unbound) = server.running() else { return };
        let place = server.place;
        let (entered, leader) =
            unbound.registry(|registry| (registry.members(CLUSTER, BROKER_NAME), leader_of(registry)));
        let look = Look { told: unbound.told(TOPIC), entered };
        let news = self.shown[index].as_ref().is_none_or(|before| differs(before, &look));
        let mut judge = self.judge.lock();
        if let Some(leader) = leader {
            let verdict = judge.route_terms.shows(place, leader);
            judge.check(verdict);
        }
        if !news {
            return;
        }
        say!("name server n{place} {} has {:?} {leader:?}", in_words(&look.told), look.entered);
        let verdict = judge.route_leader.look(place, BROKER_NAME, &look);
        judge.check(verdict);
        self.shown[index] = Some(look);
    }

    /// What a name server gives that is not the group as it is: `leader` leads it, and the hosts below `hosts` run.
    ///
    /// # Errors
    /// The first name server that gives something else, and what.
    pub fn settled(&self, leader: usize, hosts: usize) -> Result<(), String> {
        let id_of = |host: usize| if host == leader { 0 } else { host as i64 + 1 };
        let wanted: BTreeMap<i64, String> =
            (0..hosts).map(|host| (id_of(host), crate::registering::address_of(host))).collect();
        for server in &self.servers {
            let place = server.place;
            let Some(unbound) = server.running() else {
                return Err(format!("name server n{place} does not run"));
            };
            let given = match unbound.told(TOPIC) {
                Told::Route(route) => {
                    brokers(&route, BROKER_NAME).map_err(|what| format!("name server n{place} {what}"))?
                }
                told => return Err(format!("name server n{place} {}", in_words(&told))),
            };
            if given != wanted {
                return Err(format!("name server n{place} gives {given:?}, and the group is {wanted:?}"));
            }
        }
        Ok(())
    }
}

fn differs(before: &Look, now: &Look) -> bool {
    before.told != now.told || before.entered != now.entered
}

fn in_words(told: &Told) -> String {
    match told {
        Told::NotReady => "is not ready".into(),
        Told::Unknown => "gives no route".into(),
        Told::Route(route) => match brokers(route, BROKER_NAME) {
            Ok(brokers) => format!("gives {brokers:?}"),
            Err(what) => what,
        },
    }
}

/// Whom a name server has entered as broker 0.
fn leader_of(registry: &Registry) -> Option<Entered> {
    let members = registry.members(CLUSTER, BROKER_NAME);
    let address = members.get(&0)?;
    let host = address.strip_prefix('n')?.split(':').next()?.parse().ok()?;
    let state_version = registry.data_version(CLUSTER, address)?.state_version;
    Some(Entered { host, state_version })
}
