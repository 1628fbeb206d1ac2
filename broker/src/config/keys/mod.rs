//! What a configuration key is; the rows are in `table`.

mod table;

pub use table::KEYS;

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
    Text,
    Choice(&'static [&'static str]),
    /// Hours of a day: `04` or `04;16`.
    Hours,
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

/// Row number of a key. `folded` compares without regard to case, as environment names do.
pub(super) fn find(name: &str, folded: bool) -> Option<usize> {
    let same = |known: &str| if folded { known.eq_ignore_ascii_case(name) } else { known == name };
    KEYS.iter().position(|key| same(key.name) || key.aliases.iter().any(|alias| same(alias)))
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
            Self::Choice(choices) if choices.contains(&value) => Ok(()),
            Self::Choice(choices) => Err(format!("expected one of {}", choices.join(", "))),
            Self::Hours => match hours(value) {
                Some(_) => Ok(()),
                None => Err("expected hours of the day, 00 to 23, separated by ';'".to_owned()),
            },
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
        for key in KEYS {
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
        assert!(Kind::Listen.check("localhost").is_err());
        assert_eq!(Kind::Listen.check("[::1]:0"), Ok(()));
        assert_eq!(Kind::Addresses.check("a:1; [::1]:2 ;"), Ok(()));
        for bad in ["a", "a:0", "a:x", ":1", "::1:2"] {
            assert!(Kind::Addresses.check(bad).is_err(), "{bad}");
        }
    }
}
