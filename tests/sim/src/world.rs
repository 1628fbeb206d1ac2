//! The world of one run: hosts, network, judge, and the time that passes for all of them.

use std::time::Duration;

use flotilla_raft_store::raft::Role;
use flotilla_raft_store::vfs::{Loss, MemVfs};
use flotilla_raft_store::{FlushMode, LogOptions};

use crate::consumers::Consumers;
use crate::faults::drawn_loss;
use crate::host::{Around, DIR, Host, Running, Stepped};
use crate::invariants::durability::{Autopsy, check_majority};
use crate::invariants::{leader_completeness, one_lease};
use crate::judge::SharedJudge;
use crate::mutants::Mutant;
use crate::names::Names;
use crate::net::{Heard, Wires};
use crate::plan::Plan;
use crate::random::Random;
use crate::workload::{Habits, consumers};
use crate::{say, surface};

/// Why a replica says it has stopped that was asked to.
const STOPPED_IN_ORDER: &str = "the replica was stopped";
/// Between two looks at all logs.
const LOOK_EVERY_MS: u64 = 50;
/// Between two looks at who is connected.
const LOOK_AT_CONSUMERS_EVERY_MS: u64 = 20;
/// Between two looks at all disks.
const AUTOPSY_EVERY_MS: u64 = 2_500;

/// The world.
pub struct World {
    /// What the seed decided.
    pub plan: Plan,
    /// The hosts, by number.
    pub hosts: Vec<Host>,
    /// What connects them.
    pub wires: Wires,
    /// Name servers, and what connects the hosts with them.
    pub names: Names,
    /// Those who consume.
    pub consumers: Consumers,
    /// Who judges.
    pub judge: SharedJudge,
    /// How clients behave.
    pub habits: Habits,
    random: Random,
    /// Decides how replicas take leave of name servers.
    leave_taking: Random,
    now_ms: u64,
    /// Hosts whose replica was asked to stop, and when they start again.
    leaving: Vec<(usize, u64)>,
    /// Processes started.
    pub starts: u64,
    mutant: Option<Mutant>,
}

impl World {
    /// All hosts on, nothing formed yet. What concerns name servers is drawn from a stream of its own.
    pub fn new(
        plan: Plan,
        mut random: Random,
        mut random_of_names: Random,
        judge: SharedJudge,
        mutant: Option<Mutant>,
    ) -> World {
        let wires = Wires::new(plan.hosts, plan.delay_ms, random.fork());
        let habits = Habits {
            pause_ms_max: plan.pause_ms_max,
            body_size_max: plan.body_size_max,
            write_ms_max: plan.write_ms_max,
            keep_bytes: plan.keep_bytes,
            asking: std::sync::Arc::new(parking_lot::Mutex::new(true)),
            consumers: consumers(),
        };
        let hosts = (0..plan.hosts).map(Host::new).collect();
        let names = Names::new(&plan, judge.clone(), random_of_names.fork());
        let first = plan.hosts + plan.name_servers;
        let places = first..first + plan.consumers;
        let consumers = Consumers::new(places, plan.hosts, random_of_names.fork());
        let mut world = World {
            plan,
            hosts,
            wires,
            names,
            consumers,
            judge,
            habits,
            random,
            leave_taking: random_of_names.fork(),
            now_ms: 0,
            leaving: Vec::new(),
            starts: 0,
            mutant,
        };
        for host in 0..world.hosts.len() {
            world.start(host);
        }
        world
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The first violation so far.
    pub fn violation(&self) -> Option<String> {
        self.judge.lock().violation.clone()
    }

    /// One that leads now, by its own account.
    pub fn leader(&self) -> Option<usize> {
        let part = |host: &Host| host.running().map(|running| running.part());
        let leaders = self.hosts.iter().filter_map(|host| Some((host.index, part(host)?)));
        let leaders = leaders.filter(|(_, (role, ..))| *role == Role::Leader);
        leaders.max_by_key(|(_, (_, term, _))| *term).map(|(host, _)| host)
    }

    fn start(&mut self, host: usize) {
        say!("start n{host}");
        self.starts += 1;
        {
            let mut judge = self.judge.lock();
            judge.elections.started(host);
            judge.logs.started(host);
            judge.leaders.follows(host);
        }
        let random = self.random.fork();
        let around = Around {
            wires: &self.wires,
            names: &self.names,
            judge: &self.judge,
            habits: &self.habits,
            mutant: self.mutant,
        };
        self.hosts[host].start(self.plan.options_of(host), around, random);
    }

    /// Lets one millisecond pass.
    pub fn step(&mut self) {
        self.now_ms += 1;
        let now_ms = self.now_ms;
        surface::set_now_ms(now_ms);
        self.wires.advance(now_ms);
        self.names.wires.advance(now_ms);
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        self.random.shuffle(&mut order);
        for host in order {
            match self.hosts[host].step(now_ms) {
                Stepped::Fine => {}
                Stepped::PowerLost => {
                    say!("power lost n{host}");
                    let loss = drawn_loss(&mut self.random);
                    let until_ms = now_ms + self.random.between(1, 3000);
                    self.lose_power(host, loss, until_ms);
                }
                Stepped::Failed(reason) => self.failed(host, &reason),
            }
        }
        self.listen_in();
        self.watch();
        let stirred = self.names.wires.take_stirred();
        self.names.step(now_ms, &stirred);
        self.consumers.step(&self.names.wires, now_ms, &stirred);
        if now_ms.is_multiple_of(LOOK_AT_CONSUMERS_EVERY_MS) {
            self.look_at_consumers();
        }
        if now_ms.is_multiple_of(LOOK_EVERY_MS) {
            self.look_at_logs();
        }
        if now_ms.is_multiple_of(AUTOPSY_EVERY_MS) {
            self.look_at_disks();
        }
        let due: Vec<usize> = self
            .hosts
            .iter()
            .filter(|host| !host.is_up() && host.down_until_ms.is_none_or(|until_ms| until_ms <= now_ms))
            .map(|host| host.index)
            .collect();
        for host in due {
            self.start(host);
        }
    }

    /// A replica that has stopped: because it was asked to, or because something is wrong.
    fn failed(&mut self, host: usize, reason: &str) {
        say!("stopped n{host}: {reason}");
        match self.leaving.iter().position(|(leaving, _)| *leaving == host) {
            Some(at) => {
                let (_, until_ms) = self.leaving.swap_remove(at);
                if reason != STOPPED_IN_ORDER && !self.hosts[host].is_excused(reason) {
                    self.judge.lock().check(Err(format!(
                        "orderly stop: n{host} has stopped for another reason: {reason}"
                    )));
                }
                self.unplug(host, false);
                let left = self.hosts[host].leave();
                self.hosts[host].down_until_ms = Some(until_ms);
                if self.hosts[host].disk.is_off() {
                    // An armed power loss met the last write.
                    let loss = drawn_loss(&mut self.random);
                    self.hosts[host].lose_power(loss);
                } else if left.as_ref().is_err_and(|what| self.hosts[host].is_excused(what)) {
                    self.hosts[host].kill();
                } else {
                    self.judge.lock().check(left.map_err(|what| format!("orderly stop: n{host}: {what}")));
                }
                // The same disk goes on; what was drawn for it ends here.
                self.hosts[host].forget_disk_faults();
                self.autopsy(host);
            }
            None if self.hosts[host].is_excused(reason) => {
                let until_ms = self.now_ms + self.random.between(1, 2000);
                self.kill(host, until_ms);
            }
            None => {
                self.judge.lock().check(Err(format!("stopped by itself: n{host}: {reason}")));
            }
        }
    }

    /// Kills a process.
    pub fn kill(&mut self, host: usize, until_ms: u64) {
        if !self.hosts[host].is_up() {
            return;
        }
        say!("kill n{host}");
        self.leaving.retain(|(leaving, _)| *leaving != host);
        self.unplug(host, false);
        self.hosts[host].kill();
        self.hosts[host].down_until_ms = Some(until_ms);
        self.autopsy(host);
    }

    /// Takes a machine's power.
    pub fn lose_power(&mut self, host: usize, loss: Loss, until_ms: u64) {
        if !self.hosts[host].is_up() {
            return;
        }
        say!("power n{host} {loss:?}");
        self.leaving.retain(|(leaving, _)| *leaving != host);
        self.unplug(host, true);
        self.hosts[host].lose_power(loss);
        self.hosts[host].down_until_ms = Some(until_ms);
        self.autopsy(host);
    }

    /// A host's process is gone from both networks.
    fn unplug(&self, host: usize, power_lost: bool) {
        self.wires.process_ended(host, power_lost);
        self.names.wires.process_ended(host, power_lost);
    }

    /// True when every host runs and has its log whole: then one of them may lose what it has not synced.
    pub fn is_whole(&self) -> bool {
        self.hosts.iter().all(|host| {
            host.running().is_some_and(|running| {
                let status = running.status();
                status.waiting_for.is_none() && status.last_log.is_some()
            })
        })
    }

    /// Asks a replica to stop in order. Half of them say goodbye to the name servers before.
    pub fn ask_to_stop(&mut self, host: usize, until_ms: u64) {
        if self.hosts[host].running().is_none() || self.leaving.iter().any(|(leaving, _)| *leaving == host) {
            return;
        }
        let patience_ms = self.leave_taking.between(0, 2_000);
        let says_goodbye = self.leave_taking.percent(50);
        self.hosts[host].ask_to_stop(says_goodbye.then(|| Duration::from_millis(patience_ms)));
        self.leaving.push((host, until_ms));
    }

    /// All that is wrong with hosts ends.
    pub fn end_faults(&mut self) {
        let now_ms = self.now_ms;
        for host in &mut self.hosts {
            host.stopped_until_ms = None;
            host.wall_shift_ms = 0;
            host.down_until_ms = host.down_until_ms.map(|until_ms| until_ms.min(now_ms));
            host.stall_disk_until(0);
            host.disarm();
            host.disk.set_capacity(None);
        }
        for (_, until_ms) in &mut self.leaving {
            *until_ms = now_ms;
        }
        self.names.end_faults(now_ms);
        self.consumers.settle(&self.names.wires, now_ms);
    }

    fn log_options(&self) -> LogOptions {
        let mut options = LogOptions::new("simulated", "group");
        options.segment_size = self.plan.segment_size;
        options.flush = self.plan.flush;
        options.reserve_bytes = options.reserve_bytes.min(options.segment_size / 4);
        options
    }

    /// Looks at the disk of a host that has just lost its process.
    fn autopsy(&self, host: usize) {
        let mut judge = self.judge.lock();
        let options = self.log_options();
        let disk = &self.hosts[host].disk;
        match Autopsy::open(disk, Loss::Nothing, DIR.as_ref(), &options, &judge.reference) {
            Ok(Some(autopsy)) => {
                say!("autopsy n{host} {:?} {:?}", autopsy.reader().last(), autopsy.vote);
                if self.plan.flush == FlushMode::Sync {
                    let verdict = judge.votes.recovered(host, autopsy.vote);
                    judge.check(verdict);
                    let holds = |index, term| autopsy.holds(index, term);
                    let verdict = judge.acknowledgements.recovered(host, &judge.committed, holds);
                    judge.check(verdict);
                }
            }
            Ok(None) => {}
            Err(what) => judge.check(Err(format!("durability: n{host}: {what}"))),
        }
    }

    fn listen_in(&self) {
        let mut judge = self.judge.lock();
        for heard in self.wires.take_heard() {
            match heard {
                Heard::Granted { host, term, candidate } => {
                    say!("vote n{host} term {term} for {candidate:x}");
                    let verdict = judge.votes.granted(host, term, candidate);
                    judge.check(verdict);
                }
                Heard::Acknowledged { host, term, index } => judge.acknowledgements.sent(host, term, index),
                Heard::Unreadable { host } => {
                    let what = format!("overhearing: n{host} answers in a layout that is not known here");
                    judge.check(Err(what));
                }
            }
        }
    }

    /// Looks at who leads.
    fn watch(&mut self) {
        let mut leased = Vec::new();
        let mut judge = self.judge.lock();
        for host in &mut self.hosts {
            let index = host.index;
            let looks = host.stopped_until_ms.is_none();
            let Some(running) = host.running_mut() else { continue };
            let (role, term, lease_valid) = running.part();
            if role == Role::Leader {
                let verdict = judge.leaders.leads(index, term, &running.replica.log());
                judge.check(verdict);
                if looks && lease_valid {
                    leased.push((index, term));
                }
            } else {
                judge.leaders.follows(index);
            }
            let Some(part) = running.new_leadership() else { continue };
            say!("n{index} {} term {} leader {:?}", part.role.name(), part.term, part.leader);
            let verdict = judge.elections.in_term(index, part.term);
            judge.check(verdict);
            if part.role != Role::Leader {
                continue;
            }
            judge.route_terms.elected(part.term, index);
            judge.consumer_lists.elected(part.term, self.now_ms);
            match judge.elections.leads(running.replica.node_id(), part.term) {
                Ok(true) => {
                    let log = running.replica.log();
                    let purged = log.purged().map(|id| id.index);
                    let verdict = leader_completeness::check(&judge.committed, part.term, purged, |index| {
                        log.log_id(index)
                    });
                    judge.check(verdict);
                }
                Ok(false) => {}
                Err(what) => judge.check(Err(what)),
            }
        }
        judge.check(one_lease::check(&leased));
    }

    fn look_at_consumers(&self) {
        let mut judge = self.judge.lock();
        for host in &self.hosts {
            let consumers = host.running().map(Running::consumers).unwrap_or_default();
            judge.consumer_lists.holds(host.index, &consumers, self.now_ms);
        }
    }

    /// Looks at what the logs have got.
    pub fn look_at_logs(&mut self) {
        let mut judge = self.judge.lock();
        let committed = judge.committed.count();
        for host in &self.hosts {
            if let Some(running) = host.running() {
                let verdict = judge.logs.look(host.index, &running.replica.log(), committed);
                judge.check(verdict);
            }
        }
    }

    /// Looks at all disks as if the power went everywhere now.
    pub fn look_at_disks(&mut self) {
        if self.plan.flush != FlushMode::Sync {
            return;
        }
        let disks: Vec<MemVfs> = self.hosts.iter().map(|host| host.disk.clone()).collect();
        let options = self.log_options();
        let mut judge = self.judge.lock();
        let verdict = check_majority(&judge, &disks, DIR.as_ref(), &options);
        judge.check(verdict);
    }
}
