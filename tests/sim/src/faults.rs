//! Makes faults happen, and ends them.

use std::collections::BTreeSet;

use flotilla_raft_store::FlushMode;
use flotilla_raft_store::vfs::{Fault as DiskFault, Loss};

use crate::net::Link;
use crate::plan::{FAULTS, Fault};
use crate::random::Random;
use crate::say;
use crate::world::World;

/// What is wrong with one direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wound {
    /// Nothing passes.
    Cut,
    /// Everything takes its time.
    Slow {
        /// Shortest and longest.
        delay_ms: (u64, u64),
    },
}

/// Wounds of links, each with its end. Those of one link may overlap: it is as well as what is left of them lets it be.
#[derive(Debug, Default)]
pub struct Wounds(Vec<(u64, usize, usize, Wound)>);

impl Wounds {
    /// One more, until then.
    pub fn add(&mut self, until_ms: u64, from: usize, to: usize, wound: Wound) {
        self.0.push((until_ms, from, to, wound));
    }

    /// Removes those that are over; gives their links.
    pub fn end(&mut self, over: impl Fn(u64) -> bool) -> BTreeSet<(usize, usize)> {
        let ended = self.0.extract_if(.., |(until_ms, ..)| over(*until_ms));
        ended.map(|(_, from, to, _)| (from, to)).collect()
    }

    /// The link as they leave it; of several delays the newest counts.
    pub fn link(&self, from: usize, to: usize, delay_ms: (u64, u64)) -> Link {
        let own = self.0.iter().filter(|(_, one, other, _)| (*one, *other) == (from, to));
        own.fold(Link { cut: false, delay_ms }, |link, (.., wound)| match *wound {
            Wound::Cut => Link { cut: true, ..link },
            Wound::Slow { delay_ms } => Link { delay_ms, ..link },
        })
    }
}

/// Draws faults for a world.
pub struct Faults {
    random: Random,
    next_ms: u64,
    wounds: Wounds,
    /// Full disks, and until when.
    full: Vec<(u64, usize)>,
}

impl Faults {
    /// The first one comes after the group has had time to form.
    pub fn new(random: Random) -> Self {
        Self { random, next_ms: 1500, wounds: Wounds::default(), full: Vec::new() }
    }

    /// Does what is due.
    pub fn step(&mut self, world: &mut World) {
        let now_ms = world.now_ms();
        self.heal(world, |until_ms| until_ms <= now_ms);
        if now_ms >= self.next_ms {
            let (low, high) = world.plan.fault_every_ms;
            self.next_ms = now_ms + self.random.between(low, high);
            let fault = FAULTS[self.random.weighted(&world.plan.weights)];
            self.strike(world, fault);
        }
    }

    /// Ends all faults of the network.
    pub fn heal_all(&mut self, world: &mut World) {
        self.heal(world, |_| true);
    }

    fn heal(&mut self, world: &mut World, over: impl Fn(u64) -> bool) {
        let ended: Vec<(u64, usize)> = self.full.extract_if(.., |(until_ms, _)| over(*until_ms)).collect();
        for (_, host) in ended {
            if self.full.iter().all(|(_, full)| *full != host) {
                say!("room n{host}");
                world.hosts[host].disk.set_capacity(None);
            }
        }
        for (from, to) in self.wounds.end(over) {
            self.tend(world, from, to);
        }
    }

    fn wound(&mut self, world: &World, from: usize, to: usize, until_ms: u64, wound: Wound) {
        self.wounds.add(until_ms, from, to, wound);
        self.tend(world, from, to);
    }

    /// Makes a link what its wounds leave of it.
    fn tend(&self, world: &World, from: usize, to: usize) {
        let link = self.wounds.link(from, to, world.plan.delay_ms);
        say!("link n{from}>n{to} {link:?}");
        world.wires.set_link(from, to, link);
        // What replicas say of consumers goes the same ways.
        world.names.wires.set_link(from, to, link);
    }

    fn cut(&mut self, world: &World, from: usize, to: usize, until_ms: u64) {
        self.wound(world, from, to, until_ms, Wound::Cut);
    }

    /// The machine loses power at one of its next file operations.
    fn arm_power_loss(&mut self, world: &World, host: usize, within: u64) {
        let disk = &world.hosts[host].disk;
        let operation = disk.operations() + self.random.below(within);
        disk.arm(DiskFault::PowerOff { operation });
    }

    fn strike(&mut self, world: &mut World, fault: Fault) {
        let hosts = world.plan.hosts;
        let victim = self.random.below(hosts as u64) as usize;
        let other = (victim + 1 + self.random.below(hosts as u64 - 1) as usize) % hosts;
        let lasts_ms = match self.random.below(10) {
            0..=4 => self.random.between(1, 300),
            5..=8 => self.random.between(300, 3000),
            _ => self.random.between(3000, 9000),
        };
        let until_ms = world.now_ms() + lasts_ms;
        say!("fault {fault:?} n{victim} n{other} {lasts_ms}");
        match fault {
            Fault::Kill => world.kill(victim, until_ms),
            Fault::KillLeader => {
                let leader = world.leader().unwrap_or(victim);
                world.kill(leader, until_ms);
            }
            Fault::PowerLoss if world.plan.flush == FlushMode::Async && !world.is_whole() => {}
            Fault::PowerLoss => {
                let loss = drawn_loss(&mut self.random);
                world.lose_power(victim, loss, until_ms);
            }
            Fault::PowerLossAhead => {
                let within = self.random.one_of(&[4, 12, 60]);
                self.arm_power_loss(world, victim, within);
            }
            Fault::DiskError => {
                let count = self.random.below(60);
                world.hosts[victim].fail_operation_after(count);
            }
            Fault::FullDisk => {
                let disk = &world.hosts[victim].disk;
                let room = self.random.below(world.plan.segment_size);
                disk.set_capacity(Some(disk.used() + room));
                self.full.push((until_ms, victim));
            }
            Fault::ShortWrite => {
                let disk = &world.hosts[victim].disk;
                let operation = disk.operations() + self.random.below(60);
                disk.arm(DiskFault::ShortWrite { operation });
            }
            Fault::Blackout => {
                // Now, or in the middle of what each disk does next.
                let ahead = self.random.percent(50);
                for host in 0..hosts {
                    if ahead {
                        self.arm_power_loss(world, host, 6);
                        continue;
                    }
                    let loss = drawn_loss(&mut self.random);
                    let until_ms = until_ms.min(world.now_ms() + 2000) + self.random.below(500);
                    world.lose_power(host, loss, until_ms);
                }
            }
            Fault::Absence => {
                let until_ms = world.now_ms() + self.random.between(4_000, 12_000);
                world.kill(victim, until_ms);
            }
            Fault::Restart => world.ask_to_stop(victim, until_ms),
            Fault::Pause => world.hosts[victim].stopped_until_ms = Some(until_ms),
            Fault::Isolate => {
                for peer in (0..hosts).filter(|peer| *peer != victim) {
                    self.cut(world, victim, peer, until_ms);
                    self.cut(world, peer, victim, until_ms);
                }
            }
            Fault::Split => {
                self.cut(world, victim, other, until_ms);
                self.cut(world, other, victim, until_ms);
            }
            Fault::OneWay => {
                let all = self.random.percent(50);
                for peer in (0..hosts).filter(|peer| *peer != victim && (all || *peer == other)) {
                    self.cut(world, victim, peer, until_ms);
                }
            }
            Fault::SlowLink => {
                let delay_ms = (10, self.random.one_of(&[50, 200, 800]));
                self.wound(world, victim, other, until_ms, Wound::Slow { delay_ms });
            }
            Fault::Reset => world.wires.reset_between(victim, other),
            Fault::SlowDisk => world.hosts[victim].stall_disk_until(until_ms),
            Fault::ClockJump => {
                let far = self.random.one_of(&[50, 3_000, 120_000, 86_400_000]);
                let by = if self.random.percent(50) { far } else { -far };
                world.hosts[victim].wall_shift_ms += by;
            }
        }
    }
}

/// What a power loss leaves of a disk.
pub fn drawn_loss(random: &mut Random) -> Loss {
    match random.below(6) {
        0 => Loss::Everything,
        1 => Loss::KeepFirst,
        2 => Loss::KeepLast,
        _ => Loss::Random(random.number() >> 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_well_when_the_last_of_its_wounds_has_ended() {
        let (well, slow, slower) = ((0, 1), (10, 50), (10, 800));
        let mut wounds = Wounds(vec![
            (20, 0, 1, Wound::Cut),
            (90, 0, 1, Wound::Slow { delay_ms: slow }),
            (50, 0, 1, Wound::Cut),
            (40, 0, 1, Wound::Slow { delay_ms: slower }),
            (30, 1, 0, Wound::Cut),
        ]);
        let ended = [(20, (true, slower)), (40, (true, slow)), (50, (false, slow)), (90, (false, well))];
        for (now_ms, (cut, delay_ms)) in ended {
            assert!(wounds.end(|until_ms| until_ms <= now_ms).contains(&(0, 1)));
            assert_eq!(wounds.link(0, 1, well), Link { cut, delay_ms }, "after {now_ms} ms");
        }
        assert!(wounds.0.is_empty(), "the other direction has ended, too");
    }
}
