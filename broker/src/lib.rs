//! A broker node: server, dispatch, handlers, group, views, admin.
//!
//! [`node`] puts it together. A client's frame enters at [`dispatch::service`], finds its row in [`dispatch::table`], is
//! answered by one of [`handlers`], and goes into the log through [`group`]. What leads and what follows differs in
//! [`leader`] and [`peers`] only.
#![forbid(unsafe_code)]

pub mod admin;
mod admin_source;
mod call;
mod changes;
pub mod config;
pub mod dispatch;
mod group;
mod handlers;
mod leader;
mod limits;
mod log_segments;
mod long_poll;
pub mod membership;
pub mod metrics;
mod news;
mod node;
pub mod party;
mod peers;
mod pulled;
pub mod registration;
mod retention;
mod series;
mod sessions;
mod settings_watch;
mod stats;
mod stop;
#[cfg(test)]
mod test_message;
pub mod views;
mod wall_clock;
mod wire_group;

pub use node::{Broker, BrokerHandle, BrokerOptions};
pub use retention::Disk;
pub use retention::disk::DiskProbe;
