//! Request and response codes as typed enums; numbers without a name are kept.
//!
//! Source: protocol numbers of the 5.3 line of RocketMQ; codes of the 4.9 line where they differ.

mod request;
mod response;

pub use request::RequestCode;
pub use response::{OUTCOME_UNKNOWN, ResponseCode};

/// Defines an enum of codes with its numbers and upstream names.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident { $($variant:ident = $number:literal, $name:literal;)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $(#[doc = concat!(stringify!($number), ", `", $name, "`.")] $variant,)*
            /// A number without a name.
            Unknown(i32),
        }

        impl $enum {
            /// Every code that has a name, in ascending order.
            pub const ALL: &'static [$enum] = &[$($enum::$variant),*];

            /// The code with this number.
            pub const fn from_i32(code: i32) -> $enum {
                match code {
                    $($number => $enum::$variant,)*
                    other => $enum::Unknown(other),
                }
            }

            /// The number of this code.
            pub const fn as_i32(self) -> i32 {
                match self {
                    $($enum::$variant => $number,)*
                    $enum::Unknown(code) => code,
                }
            }

            /// The upstream name (`SEND_MESSAGE`), `None` for an unknown number.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $($enum::$variant => Some($name),)*
                    $enum::Unknown(_) => None,
                }
            }
        }

        impl std::fmt::Display for $enum {
            /// Number and name: `34 HEART_BEAT`; only the number when there is no name.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{} {name}", self.as_i32()),
                    None => write!(f, "{}", self.as_i32()),
                }
            }
        }
    };
}
use codes;
