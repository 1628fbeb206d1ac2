//! Makes faults of name servers and of the ways to them and to consumers happen, and ends them. They are drawn apart from those of the group.

use crate::faults::{Wound, Wounds};
use crate::names::Names;
use crate::plan::Plan;
use crate::random::Random;
use crate::say;

/// What can happen, and how often against the others.
const WEIGHTS: [(Kind, u64); 8] = [
    (Kind::Kill, 3),
    (Kind::PowerLoss, 1),
    (Kind::All, 1),
    (Kind::Pause, 3),
    (Kind::Cut, 4),
    (Kind::OneWay, 3),
    (Kind::Slow, 8),
    (Kind::Reset, 3),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A name server's process is killed.
    Kill,
    /// A name server's machine goes silently.
    PowerLoss,
    /// All name servers are killed.
    All,
    /// A name server's process is stopped (SIGSTOP) for a while; what arrives waits for it.
    Pause,
    /// A replica and a name server or a consumer hear nothing of each other.
    Cut,
    /// Nothing passes from one to the other.
    OneWay,
    /// A replica's way to one becomes slow.
    Slow,
    /// The connections between a replica and one are reset.
    Reset,
}

/// Draws faults for name servers.
pub struct NameFaults {
    random: Random,
    next_ms: u64,
    every_ms: (u64, u64),
    wounds: Wounds,
}

impl NameFaults {
    /// The first one comes after the group has had time to form.
    pub fn new(mut random: Random) -> Self {
        let every_ms = random.one_of(&[(100, 800), (300, 3000), (2000, 8000)]);
        Self { random, next_ms: 1500, every_ms, wounds: Wounds::default() }
    }

    /// Does what is due.
    pub fn step(&mut self, plan: &Plan, names: &mut Names, now_ms: u64) {
        self.heal(plan, names, |until_ms| until_ms <= now_ms);
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + self.random.between(self.every_ms.0, self.every_ms.1);
            let weights = WEIGHTS.map(|(_, weight)| weight);
            let (kind, _) = WEIGHTS[self.random.weighted(&weights)];
            self.strike(plan, names, now_ms, kind);
        }
    }

    /// Ends all faults of the network.
    pub fn heal_all(&mut self, plan: &Plan, names: &mut Names) {
        self.heal(plan, names, |_| true);
    }

    fn heal(&mut self, plan: &Plan, names: &Names, over: impl Fn(u64) -> bool) {
        for (from, to) in self.wounds.end(over) {
            self.tend(plan, names, from, to);
        }
    }

    fn wound(&mut self, plan: &Plan, names: &Names, (from, to): (usize, usize), until_ms: u64, wound: Wound) {
        self.wounds.add(until_ms, from, to, wound);
        self.tend(plan, names, from, to);
    }

    fn tend(&self, plan: &Plan, names: &Names, from: usize, to: usize) {
        let link = self.wounds.link(from, to, plan.delay_ms);
        say!("link n{from}>n{to} {link:?}");
        names.wires.set_link(from, to, link);
    }

    fn strike(&mut self, plan: &Plan, names: &mut Names, now_ms: u64, kind: Kind) {
        let host = self.random.below(plan.hosts as u64) as usize;
        let server = self.random.below(names.servers.len() as u64) as usize;
        let place = names.servers[server].place;
        // Ways to consumers suffer like those to name servers.
        let far = plan.hosts as u64 + self.random.below((plan.name_servers + plan.consumers) as u64);
        let far = far as usize;
        let lasts_ms = match self.random.below(10) {
            0..=4 => self.random.between(1, 500),
            5..=8 => self.random.between(500, 4000),
            _ => self.random.between(4000, 12_000),
        };
        let until_ms = now_ms + lasts_ms;
        say!("fault of names {kind:?} n{host} n{place} n{far} {lasts_ms}");
        match kind {
            Kind::Kill => names.end(server, false, until_ms),
            Kind::PowerLoss => names.end(server, true, until_ms),
            Kind::All => {
                for server in 0..names.servers.len() {
                    names.end(server, false, now_ms + self.random.between(1, 1500));
                }
            }
            Kind::Pause => names.servers[server].stopped_until_ms = Some(until_ms),
            Kind::Cut => {
                self.wound(plan, names, (host, far), until_ms, Wound::Cut);
                self.wound(plan, names, (far, host), until_ms, Wound::Cut);
            }
            Kind::OneWay => {
                let way = if self.random.percent(50) { (host, far) } else { (far, host) };
                self.wound(plan, names, way, until_ms, Wound::Cut);
            }
            Kind::Slow => {
                let delay_ms = (10, self.random.one_of(&[100, 800, 2500]));
                self.wound(plan, names, (host, far), until_ms, Wound::Slow { delay_ms });
            }
            Kind::Reset => names.wires.reset_between(host, far),
        }
    }
}
