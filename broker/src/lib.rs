//! A broker node: server, dispatch, handlers, group, views, admin.
#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod metrics;
