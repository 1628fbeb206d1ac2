//! Black-box evidence: workloads run against real processes while faults are injected, every operation goes into a
//! history, and checkers judge the history alone.
//!
//! Arrows: `history` knows nothing of the rest; `checker` and `report` read histories only; `cluster`, `nemesis` and
//! `workload` write them, and `java` sends for a workload; `command` wires them for the command line. The product is touched through its client library, its processes and the network, never
//! through its code.
#![forbid(unsafe_code)]

pub mod checker;
pub mod cluster;
pub mod command;
pub mod history;
pub mod java;
pub mod judge;
pub mod nemesis;
pub mod outages;
pub mod proxy;
pub mod recorder;
pub mod report;
pub mod run;
pub mod simulation;
pub mod suite;
pub mod workload;
