//! The name server: brokers register, clients ask for routes. Route state lives in memory only; the key-value table is the
//! one thing kept on disk.
//!
//! | module      | subject                                                                     |
//! |-------------|-----------------------------------------------------------------------------|
//! | `registry`  | who is registered and which topics they have; pure, time is an argument      |
//! | `warm_up`   | when routes may be given after a start; pure                                |
//! | `kv`        | key-value table and its file                                                |
//! | `config`    | settings as tools see and change them                                       |
//! | `handlers`  | one row per request code                                                    |
//! | `service`   | what happens on a connection, and the scan for silent brokers               |
//! | `server`    | listener, service, admin pages: started and stopped as one                  |
//! | `unbound`   | a name server without listener and files, for a simulation                  |
//!
//! Works with Flotilla's brokers and Apache's alike; what ours get beyond the protocol is told in `registry`. Facts come
//! from the protocol notes on the name server, found in RocketMQ 5.3.
//!
//! LIMIT: mappings of static topics are not kept, so clients see such topics as ordinary ones; NOTIFY_MIN_BROKER_ID_CHANGE
//! is never sent.

#![forbid(unsafe_code)]

pub mod limits;
pub mod ours;
pub mod registry;

mod admin;
mod config;
mod handlers;
mod kv;
mod metrics;
mod server;
mod service;
mod state;
mod unbound;
mod warm_up;

pub use config::names as setting_names;
pub use server::{NameServer, NameServerHandle, NameServerOptions, StartError};
pub use unbound::{Told, Unbound};
