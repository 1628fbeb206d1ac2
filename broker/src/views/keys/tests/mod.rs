#![allow(clippy::unwrap_used)]

mod damage;
mod format;
mod histories;
mod node;
mod queries;
mod threads;
