//! What the integration suites share: real processes of the `flotilla` binary, a client of their own, a load with its
//! history, and waiting for conditions.
//!
//! | file         | subject                                                                              |
//! |--------------|--------------------------------------------------------------------------------------|
//! | `wait.rs`    | [`run`]: one scenario at a time, bounded in time; [`eventually`]: wait for a condition |
//! | `process.rs` | a child process: signals, log, its end whatever happens to the test                   |
//! | `cluster.rs` | name server and three brokers on free ports in a temporary folder                     |
//! | `settings.rs`| their ports and properties files                                                      |
//! | `admin.rs`   | the HTTP administration of a node                                                     |
//! | `client.rs`  | a remoting client: route, send, pull, heartbeat, offsets                              |
//! | `beat.rs`    | heartbeats of consumers and producers                                                 |
//! | `exchange.rs`| what it sends and gets                                                                |
//! | `stored.rs`  | messages as a pull gives them                                                         |
//! | `forgetful.rs`| a server that acks and keeps nothing                                                |
//! | `load.rs`    | producers under way, and what each attempt came to                                    |
//! | `history.rs` | the checks of acked attempts against what the group holds                             |
//! | `reader.rs`  | a consumer that reads along and notes each answer that would move it back             |
//!
//! | environment             | effect                                                          |
//! |-------------------------|-----------------------------------------------------------------|
//! | `FLOTILLA_BINARY`       | another binary than the one that cargo has built                |
//! | `FLOTILLA_SOAK_MINUTES` | length of the soak, 20 s without it                             |
//! | `FLOTILLA_KILLS`        | kills of the leader in each test of the kind, 2 without it      |
//!
//! Promises: no process outlives its test, nothing waits without a deadline, and a failure prints the folder and the
//! last lines of each process. No pause stands for a condition: what is waited for is always looked at.
#![allow(dead_code, unused_imports, reason = "each suite uses its part")]

pub mod admin;
pub mod beat;
pub mod client;
pub mod cluster;
pub mod exchange;
pub mod forgetful;
pub mod history;
pub mod load;
pub mod process;
pub mod reader;
pub mod settings;
pub mod stored;
pub mod wait;

pub use client::Client;
pub use cluster::Cluster;
pub use exchange::{Failure, Message, Pull, Pulled};
pub use history::History;
pub use load::{Load, Plan, Towards};
pub use reader::Reader;
pub use wait::{eventually, run};
