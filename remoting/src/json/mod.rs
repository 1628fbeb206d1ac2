//! The JSON dialect of the Java library: reader and writer for serde types.
//!
//! Differences from standard JSON, all seen in official bodies (vectors of kind `json_body`):
//! - map keys may be bare integers (`{0:"a"}`) or raw objects (`{{"queueId":1}:5}`);
//! - an object that occurs twice is written as a link, `{"$ref":"$.path"}`;
//! - null members are left out, and absent and null mean the same.
//!
//! Reading needs no tree: values are built straight from the text, unknown members are stepped over, links are
//! followed by reading the target again. Errors carry the byte offset.
//!
//! LIMIT: a link to an enclosing object (`..`, `$`) would make an endless value and is an error.

mod budget;
mod compound;
mod error;
mod key;
mod members;
mod read;
mod reference;
pub(crate) mod scan;
mod write;

pub use error::JsonError;
pub use read::from_slice;
pub(crate) use write::put_string;
pub use write::{Dialect, IntegerKeys, to_vec, to_vec_with};

#[cfg(test)]
mod tests;
