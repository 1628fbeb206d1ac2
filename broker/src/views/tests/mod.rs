//! The views against a plain model of every queue, over a log in memory and files on disk.
#![allow(clippy::unwrap_used)]

mod damage;
mod format;
mod histories;
mod node;
mod threads;
