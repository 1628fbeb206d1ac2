//! What a configuration key is, and the tables of all keys.
//!
//! `table` holds the keys that do something here or that many files contain, `rest_*` all others that RocketMQ
//! knows: a file of RocketMQ never meets an unknown key, and learns of each line what it does here.

mod reasons;
mod rest_broker;
mod rest_net;
mod rest_store;
mod table;

use flotilla_core::DelayLevels;

/// Keys of one kind of process, in several slices.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub parts: &'static [&'static [Key]],
}

/// Keys of a broker.
pub const BROKER: Table =
    Table { parts: &[table::KEYS, rest_broker::KEYS, rest_store::KEYS, rest_net::KEYS] };

impl Table {
    pub fn iter(self) -> impl Iterator<Item = &'static Key> {
        self.parts.iter().copied().flatten()
    }

    /// Row number of a key. `folded` compares without regard to case, as environment names do.
    pub(super) fn find(self, name: &str, folded: bool) -> Option<usize> {
        let same = |known: &str| if folded { known.eq_ignore_ascii_case(name) } else { known == name };
        self.iter().position(|key| same(key.name) || key.aliases.iter().any(|alias| same(alias)))
    }
}

/// A row of the table: one key that users write.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// Spellings of older versions.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// Text as it would stand in a file; empty = not set.
    pub default: &'static str,
    pub effect: Effect,
    /// What the value means, with its unit.
    pub about: &'static str,
}

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// Inclusive bounds.
    Integer(u64, u64),
    /// Any whole number, as some switches of RocketMQ are -1.
    Signed,
    Text,
    Choice(&'static [&'static str]),
    /// Hours of a day: `04` or `04;16`.
    Hours,
    /// Delays such as `1s 5s 2m`, one per level.
    Delays,
    /// `ip:port`; empty = off.
    Listen,
    /// `host:port;host:port`; empty = none.
    Addresses,
}

/// What a key does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// As in RocketMQ.
    Used,
    /// It has an effect, but another than in RocketMQ; or it is our own. The text says what.
    Mapped(&'static str),
    /// Accepted without effect; the text follows "because".
    None(&'static str),
}

const COUNT: Kind = Kind::Integer(0, i32::MAX as u64);
const LONG: Kind = Kind::Integer(0, i64::MAX as u64);

/// A key of RocketMQ that nothing here resembles, so that there is no more to say of it than why it does nothing.
const fn rest(name: &'static str, kind: Kind, default: &'static str, because: &'static str) -> Key {
    let about = "see RocketMQ's documentation";
    Key { name, aliases: &[], kind, default, effect: Effect::None(because), about }
}

/// Keys whose values are nobody's business: they are shown as asterisks.
const SECRETS: [&str; 4] = [
    "initAuthenticationUser",
    "innerClientAuthenticationCredentials",
    "objectStoreAccessKey",
    "objectStoreSecretKey",
];

impl Key {
    /// Says what is wrong with a trimmed value.
    ///
    /// # Errors
    /// The reason, as a part of a sentence.
    pub fn check(&self, value: &str) -> Result<(), String> {
        self.kind.check(value)
    }

    /// A value as it may be shown.
    pub fn shown(&self, value: &str) -> String {
        match SECRETS.contains(&self.name) && !value.is_empty() {
            true => "******".to_owned(),
            false => value.to_owned(),
        }
    }
}

impl Kind {
    /// Says what is wrong with a trimmed value.
    pub(super) fn check(self, value: &str) -> Result<(), String> {
        match self {
            Self::Text => Ok(()),
            Self::Bool => match value {
                "true" | "false" => Ok(()),
                _ => Err("expected true or false".to_owned()),
            },
            Self::Integer(min, max) => match value.parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                _ => Err(format!("expected a whole number from {min} to {max}")),
            },
            Self::Signed => match value.parse::<i64>() {
                Ok(_) => Ok(()),
                Err(_) => Err("expected a whole number".to_owned()),
            },
            Self::Choice(choices) if choices.contains(&value) => Ok(()),
            Self::Choice(choices) => Err(format!("expected one of {}", choices.join(", "))),
            Self::Hours => match hours(value) {
                Some(_) => Ok(()),
                None => Err("expected hours of the day, 00 to 23, separated by ';'".to_owned()),
            },
            Self::Delays => DelayLevels::parse(value).map(drop).map_err(|error| error.to_string()),
            Self::Listen if value.is_empty() => Ok(()),
            Self::Listen => match value.parse::<std::net::SocketAddr>() {
                Ok(_) => Ok(()),
                Err(_) => Err("expected ip:port, IPv6 in brackets".to_owned()),
            },
            Self::Addresses => match addresses(value).find(|address| !is_host_and_port(address)) {
                None => Ok(()),
                Some(bad) => Err(format!("expected host:port separated by ';', found '{bad}'")),
            },
        }
    }
}

/// `04;16` as numbers.
pub(super) fn hours(value: &str) -> Option<Vec<u8>> {
    let hour = |text: &str| text.trim().parse::<u8>().ok().filter(|hour| *hour < 24);
    let hours: Option<Vec<u8>> = value.split(';').filter(|part| !part.trim().is_empty()).map(hour).collect();
    hours.filter(|hours| !hours.is_empty())
}

/// The non-empty parts of `a;b;c`.
pub(super) fn addresses(value: &str) -> impl Iterator<Item = &str> {
    value.split(';').map(str::trim).filter(|part| !part.is_empty())
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_is_sound() {
        let mut seen = HashSet::new();
        for key in BROKER.iter() {
            for name in std::iter::once(&key.name).chain(key.aliases) {
                assert!(seen.insert(name.to_ascii_lowercase()), "{name} stands twice");
                assert!(!name.contains('_'), "{name}: environment names drop underscores");
            }
            assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
            assert!(!key.about.is_empty() && !key.about.ends_with('.'), "{}", key.name);
            assert!(!key.about.contains('|'), "{}: breaks the table in operating.md", key.name);
        }
    }

    #[test]
    fn kinds_refuse_what_they_are_not() {
        assert!(Kind::Bool.check("TRUE").is_err());
        assert!(Kind::Integer(1, 5).check("6").is_err());
        assert!(Kind::Integer(1, 5).check("-1").is_err());
        assert!(Kind::Hours.check("24").is_err());
        assert!(Kind::Hours.check("").is_err());
        assert_eq!(hours("04;16"), Some(vec![4, 16]));
        assert!(Kind::Signed.check("1.5").is_err());
        assert_eq!(Kind::Signed.check("-1"), Ok(()));
        assert_eq!(Kind::Delays.check("1s 5m  2h 1d"), Ok(()));
        for bad in ["", "5", "s", "1s,2s", "-1s", "1.5s", "1w", "+1s", "1S", "9999999d", "1é"] {
            assert!(Kind::Delays.check(bad).is_err(), "{bad}");
        }
        assert!(Kind::Listen.check("localhost").is_err());
        assert_eq!(Kind::Listen.check("[::1]:0"), Ok(()));
        assert_eq!(Kind::Addresses.check("a:1; [::1]:2 ;"), Ok(()));
        for bad in ["a", "a:0", "a:x", ":1", "::1:2"] {
            assert!(Kind::Addresses.check(bad).is_err(), "{bad}");
        }
    }
}
