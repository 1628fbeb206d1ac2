//! Forming a group, once.
//!
//! A blank node (no log, no vote) looks at the configured peers. Only when all of them are there and blank, the one of
//! the lowest index asks each to promise, durably, one *token*: the group and the full ids of all nodes. When all have
//! promised it writes the first entry, a membership made of the token and nothing else, and campaigns; the others
//! accept its calls because of their promise. Afterwards a start needs nobody.
//!
//! Crash histories: before all have promised nothing has happened, and a blank node may promise another token. After
//! that the writer of the first entry is no longer blank when it returns, and the others still hold its token. A node
//! that loses its disk in between has another id, is in no token and no membership, and waits.
//!
//! [`token`] is what is promised, [`dialogue`] what is asked and answered, [`desk`] answers, [`former`] asks.

mod desk;
mod dialogue;
mod former;
mod token;

pub(crate) use desk::Desk;
pub(crate) use former::Former;
pub(crate) use token::Token;
