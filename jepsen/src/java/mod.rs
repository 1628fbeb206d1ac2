//! Sends by the official Java client: a small program of ours around the unmodified library, which the harness tells each
//! send and which tells how it ended.
//!
//! | file         | subject                                                       |
//! |--------------|---------------------------------------------------------------|
//! | `install.rs` | the library's jars, by Maven once, and our program, by javac     |
//! | `line.rs`    | what the program writes, and what that means for a history       |
//! | `program.rs` | the program as a child process                                   |
//!
//! The harness records that a send begins before the program is told of it, and how it ended after the program told: so
//! each operation lies between its two times, as the history demands, and both clocks are the harness's own. The way
//! through the two pipes is part of the time, some tens of microseconds.
//!
//! The library tries again by itself, up to twice, also when a request may have been done. A hook of the library counts its
//! requests, so that a history tells how often each send may have been stored.

mod install;
mod line;
mod program;

pub use install::{Java, LIBRARY_VERSION};
pub use line::{Attempt, Ended, Failure, Outcome, Ready, Stored};
pub use program::Program;
