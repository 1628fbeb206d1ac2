//! What the clients did and what they were told: one operation a line, in the order in which things happened.

mod op;

pub use op::{Act, Fault, Kind, Op, Process, Seen};
