//! Tests of the state machine as a whole, through its public face.
#![allow(clippy::unwrap_used)]

mod admin_rules;
mod codec;
mod delay;
mod locks;
mod messages;
mod properties;
mod rules;
mod scenarios;
mod support;
mod tail;
