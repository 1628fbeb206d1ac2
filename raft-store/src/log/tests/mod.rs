//! Tests of the log as a whole, on the in-memory disk unless they are about real files.

#![allow(clippy::unwrap_used)]

mod basics;
mod crash;
mod inspect;

mod random;
mod world;
