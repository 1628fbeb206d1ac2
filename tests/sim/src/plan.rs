//! What a seed decides at the beginning: the group, its settings, the network's ways, and which faults how often.

use flotilla_raft_store::FlushMode;
use flotilla_raft_store::peers::Peer;
use flotilla_raft_store::raft::ReplicaOptions;

use crate::host::DIR;
use crate::random::Random;

/// Faults that can happen, in the order of [`Plan::weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One process is killed.
    Kill,
    /// The leader's process is killed.
    KillLeader,
    /// One machine loses power.
    PowerLoss,
    /// One machine will lose power at one of its next file operations.
    PowerLossAhead,
    /// All machines lose power at once.
    Blackout,
    /// A replica is stopped in order and started again.
    Restart,
    /// A process is stopped (SIGSTOP) for a while.
    Pause,
    /// One host is cut off, both ways.
    Isolate,
    /// Two hosts hear nothing of each other.
    Split,
    /// Nothing passes in one direction.
    OneWay,
    /// A link becomes slow.
    SlowLink,
    /// All connections between two hosts are reset.
    Reset,
    /// A disk hangs.
    SlowDisk,
    /// A wall clock jumps.
    ClockJump,
    /// A file operation fails.
    DiskError,
    /// A write takes only half of its bytes and says so.
    ShortWrite,
    /// A disk is full for a while.
    FullDisk,
    /// A process is gone so long that the others let go of what it lacks.
    Absence,
}

/// All of them.
pub const FAULTS: [Fault; 18] = [
    Fault::Kill,
    Fault::KillLeader,
    Fault::PowerLoss,
    Fault::PowerLossAhead,
    Fault::Blackout,
    Fault::Restart,
    Fault::Pause,
    Fault::Isolate,
    Fault::Split,
    Fault::OneWay,
    Fault::SlowLink,
    Fault::Reset,
    Fault::SlowDisk,
    Fault::ClockJump,
    Fault::DiskError,
    Fault::ShortWrite,
    Fault::FullDisk,
    Fault::Absence,
];

/// What a seed decides.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Members of the group.
    pub hosts: usize,
    /// See [`ReplicaOptions`].
    pub segment_size: u64,
    /// See [`ReplicaOptions`].
    pub ring_bytes_max: usize,
    /// See [`ReplicaOptions`].
    pub append_bytes_max: usize,
    /// See [`ReplicaOptions`].
    pub in_flight_bytes_max: u64,
    /// See [`ReplicaOptions`].
    pub window: usize,
    /// When an append counts as done. Without syncs a machine loses power only while the others have everything, since
    /// acknowledged entries may go with it (LOG-RULES 12).
    pub flush: FlushMode,
    /// Delay of a link that is well.
    pub delay_ms: (u64, u64),
    /// Longest time that a disk takes for a group of writes.
    pub write_ms_max: u64,
    /// Longest pause of a client.
    pub pause_ms_max: u64,
    /// Longest body of a message.
    pub body_size_max: u64,
    /// Bytes of log kept when old entries are let go.
    pub keep_bytes: Option<u64>,
    /// How often each fault happens, against the others.
    pub weights: Vec<u64>,
    /// Shortest and longest time between two faults.
    pub fault_every_ms: (u64, u64),
    /// Name servers that replicas register at.
    pub name_servers: usize,
    /// Consumers that replicas hold connections of.
    pub consumers: usize,
    /// Time after which a registration is repeated.
    pub register_every_ms: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut Random) -> Plan {
        let hosts = if random.percent(70) { 3 } else { 5 };
        let flush = if random.percent(85) { FlushMode::Sync } else { FlushMode::Async };
        let mut weights: Vec<u64> =
            FAULTS.iter().map(|_| if random.percent(60) { random.between(1, 10) } else { 0 }).collect();
        if flush == FlushMode::Async {
            for fault in [Fault::PowerLossAhead, Fault::Blackout] {
                weights[fault as usize] = 0;
            }
        }
        // Something always happens.
        weights[Fault::KillLeader as usize] += 1;
        let segment_size = random.one_of(&[32 << 10, 64 << 10, 256 << 10]);
        let window = random.between(1, 4);
        let append_bytes_max = random.one_of(&[4 << 10, 64 << 10, 1 << 20]);
        // As many requests under way as with the usual settings: a group that needs a minute for what it has taken on would
        // not converge in time, and nothing would be wrong.
        let in_flight_bytes_max = (64 * append_bytes_max).clamp(256 << 10, 64 << 20);
        Plan {
            hosts,
            segment_size,
            ring_bytes_max: random.one_of(&[16 << 10, 128 << 10, 4 << 20]),
            append_bytes_max: append_bytes_max as usize,
            in_flight_bytes_max,
            window: window as usize,
            flush,
            delay_ms: random.one_of(&[(0, 1), (0, 3), (1, 10), (5, 20)]),
            write_ms_max: random.one_of(&[0, 2, 10, 40]),
            pause_ms_max: random.one_of(&[4, 20, 60]),
            body_size_max: random.one_of(&[40, 500, 3000]),
            keep_bytes: random.percent(60).then(|| segment_size * random.between(1, 4)),
            weights,
            fault_every_ms: random.one_of(&[(50, 400), (200, 1500), (1000, 5000)]),
            name_servers: random.one_of(&[1, 1, 1, 2, 3]),
            register_every_ms: random.one_of(&[10_000, 20_000]),
            consumers: random.between(2, 4) as usize,
        }
    }

    /// Settings of one replica.
    pub fn options_of(&self, index: usize) -> ReplicaOptions {
        let peers = (0..self.hosts as u16)
            .map(|index| Peer { index, host: format!("n{index}"), port: 40911 })
            .collect();
        let mut options = ReplicaOptions::new(DIR, "simulated", "group", peers, index as u16);
        options.segment_size = self.segment_size;
        options.ring_bytes_max = self.ring_bytes_max;
        options.append_bytes_max = self.append_bytes_max;
        options.window = self.window;
        options.in_flight_bytes_max = self.in_flight_bytes_max;
        options.flush = self.flush;
        options
    }
}
