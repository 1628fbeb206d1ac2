//! What push and pull consumers share.
//!
//! | file             | subject                                                            |
//! |------------------|--------------------------------------------------------------------|
//! | `allocate/`      | who of a group gets which queue, pure                              |
//! | `balance.rs`     | keeps a consumer's queues what its group's strategy says           |
//! | `calls.rs`       | calls to brokers: offsets, members, locks                          |
//! | `expression.rs`  | which messages of a topic are wanted                               |
//! | `life.rs`        | from the start of a consumer to its farewell                       |
//! | `offsets.rs`     | where offsets are kept: at the broker or in a file                 |
//! | `offset_file.rs` | the file                                                           |
//! | `options.rs`     | where a group without an offset starts, and who gets a message     |
//! | `pulling.rs`     | one pull: whom to ask, and what the answer means                   |
//! | `running.rs`     | what an administrator is told of a consumer                        |
//! | `send_back.rs`   | failed messages, back to the broker                                |
//! | `settings.rs`    | what both kinds are told alike, and the setters                    |
//! | `stats.rs`       | figures by topic                                                   |
//! | `waiting.rs`     | waiting until something is so                                      |

pub mod allocate;
pub(crate) mod balance;
pub(crate) mod calls;
mod expression;
pub(crate) mod life;
mod offset_file;
pub(crate) mod offsets;
mod options;
pub(crate) mod pulling;
pub(crate) mod running;
mod send_back;
pub(crate) mod settings;
pub(crate) mod stats;
pub(crate) mod waiting;

pub use expression::Expression;
pub(crate) use expression::Subscription;
pub use options::{ConsumeFrom, Model};
