//! Tests of the log as a whole, on the in-memory disk unless they are about real files.

#![allow(clippy::unwrap_used)]

mod basics;
mod boundary;
mod chain;
mod crash;
mod driven;
mod failures;
mod histories;
mod inspect;
mod mapping;
mod random;
mod stamping;
mod version;
mod world;
