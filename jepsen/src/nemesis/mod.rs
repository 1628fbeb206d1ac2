//! Breaks a cluster while clients work: faults by name, alone or several at once, on a schedule that a seed decides.
//!
//! | file           | subject                                                         |
//! |----------------|-----------------------------------------------------------------|
//! | `schedule.rs`  | when which fault begins and ends                                  |
//! | `faults.rs`    | beginning and ending one fault                                    |
//! | `partition.rs` | who hears whom                                                    |
//! | `links.rs`     | links that are slow, narrow or short-lived                        |
//! | `damage.rs`    | what may happen to files of a node that was killed                |
//!
//! The seed decides the order of faults, their times, and every choice among nodes. What the cluster does with its own
//! clocks it does not decide: a run is repeated by its seed, not replayed.
//!
//! Not here yet, and what they need: full and failing disks, flipped bits and wiped disks (each a case of `faults.rs` with
//! an [`Undo`](faults) of its own), changes of membership (a product that has them).

mod damage;
mod faults;
mod links;
mod partition;
mod schedule;

use std::fmt;

use clap::ValueEnum;

use crate::cluster::Ability;

pub use schedule::{Plan, Tally};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Nemesis {
    /// kill -9 of one broker
    KillOne,
    /// kill -9 of the leader
    KillLeader,
    /// kill -9 of a majority at once
    KillMajority,
    /// kill -9 of all brokers at once
    KillAll,
    /// SIGSTOP of the leader, later SIGCONT
    PauseLeader,
    /// SIGSTOP of one broker, later SIGCONT
    PauseOne,
    /// SIGSTOP of a majority, later SIGCONT
    PauseMajority,
    /// The leader and its peers don't hear each other
    IsolateLeader,
    /// A minority without the leader and the others don't hear each other
    IsolateMinority,
    /// Two halves that don't hear each other
    Halves,
    /// Two halves, and one broker that hears both
    Bridge,
    /// Each broker hears a majority, no two the same one
    Ring,
    /// The leader is not heard by its peers, or does not hear them
    OneWay,
    /// Messages between brokers take up to some 300 ms
    Slow,
    /// Links of one broker carry few bytes a second
    Throttle,
    /// Connections are reset again and again
    Resets,
    /// Leadership is moved on request
    Transfer,
    /// What the leader tells name servers arrives seconds late, and leadership moves meanwhile
    LateRegistration,
    /// One name server is killed and started again
    NameServer,
    /// All name servers are killed and started again
    NameServers,
    /// SIGTERM to the leader, later started again
    StopLeader,
    /// Each broker in turn is stopped by SIGTERM and started again
    RollingRestart,
    /// kill -9 of one broker, and garbage behind the last record of its log
    TornTail,
    /// kill -9 of one broker, and damage to its view files
    DamagedViews,
    /// kill -9 of one broker, and view files that are gone
    DeletedViews,
    /// Clocks of some brokers jump, forwards or back
    Clock,
    /// kill -9 of one broker, and all that it had not synced is gone
    PowerLoss,
    /// kill -9 of all brokers at once, and all that they had not synced is gone
    PowerLossAll,
}

impl Nemesis {
    /// Claims that links must be slowed down or reset, not only cut.
    pub fn needs_proxies(self) -> bool {
        matches!(self, Nemesis::Slow | Nemesis::Throttle | Nemesis::Resets | Nemesis::LateRegistration)
    }

    /// What the product must be able to do.
    pub fn needs(self) -> Option<Ability> {
        match self {
            Nemesis::Transfer | Nemesis::LateRegistration => Some(Ability::Transfer),
            Nemesis::TornTail => Some(Ability::Log),
            Nemesis::DamagedViews | Nemesis::DeletedViews => Some(Ability::Views),
            Nemesis::Clock => Some(Ability::Clock),
            Nemesis::PowerLoss | Nemesis::PowerLossAll => Some(Ability::PowerLoss),
            Nemesis::KillOne
            | Nemesis::KillLeader
            | Nemesis::KillMajority
            | Nemesis::KillAll
            | Nemesis::PauseLeader
            | Nemesis::PauseOne
            | Nemesis::PauseMajority
            | Nemesis::IsolateLeader
            | Nemesis::IsolateMinority
            | Nemesis::Halves
            | Nemesis::Bridge
            | Nemesis::Ring
            | Nemesis::OneWay
            | Nemesis::Slow
            | Nemesis::Throttle
            | Nemesis::Resets
            | Nemesis::NameServer
            | Nemesis::NameServers
            | Nemesis::StopLeader
            | Nemesis::RollingRestart => None,
        }
    }
}

impl fmt::Display for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("?", |value| value.get_name()))
    }
}
