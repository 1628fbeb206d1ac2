//! What push and pull consumers share.
//!
//! | file            | subject                                                            |
//! |-----------------|--------------------------------------------------------------------|
//! | `allocate/`     | who of a group gets which queue, pure                              |
//! | `expression.rs` | which messages of a topic are wanted                               |
//! | `options.rs`    | where a group without an offset starts, and who gets a message     |

pub mod allocate;
mod expression;
mod options;

pub use expression::Expression;
pub use options::{ConsumeFrom, Model};
