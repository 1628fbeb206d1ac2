//! Configuration of a broker: RocketMQ's keys, checked, with the place where each value came from.
//!
//! ```text
//! -c FILE (properties) ─┐
//! FLOTILLA_<KEY>        ├─ merge: one text per key, with source ─ typed: BrokerConfig ─ check: contradictions
//! --set key=value       ─┘        (keys: the table of all known)
//! ```
//! Promises: a value that can't be understood, or two that contradict each other, refuse the start with a
//! line per problem; a key that has no effect here says so; an unknown key names its nearest neighbour.
//! Leaves to others: what the values do.

mod address;
mod check;
mod document;
mod keys;
mod merge;
mod nearest;
mod print;
mod properties;
mod typed;

pub use address::{AddressProbe, RouteProbe};
pub use keys::{Effect, KEYS, Key, Kind};
pub use merge::{ConfigError, Note, Origin, Setting, Settings, Sources};
pub use properties::{PropertiesError, Property, parse as parse_properties};
pub use typed::{
    AdminConfig, BrokerConfig, DiskConfig, Identity, Limits, RaftConfig, Registration, Serving, TopicDefaults,
};

/// A configuration that may start, and what to say about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: BrokerConfig,
    /// Every key with its value and origin, for `--print-config`.
    pub settings: Settings,
    /// Lines for the log: unknown keys, keys without effect, choices made.
    pub notes: Vec<Note>,
}

/// Merges, types and checks. `probe` finds the address that others reach this machine under.
///
/// # Errors
/// All problems found, not only the first.
pub fn load(sources: &Sources, probe: &dyn AddressProbe) -> Result<Loaded, ConfigError> {
    let (settings, mut notes) = merge::merge(sources)?;
    let mut problems = check::modes(&settings);
    let config = match typed::build(&settings, probe, &mut notes) {
        Ok(config) => {
            problems.extend(check::check(&config, &settings, &mut notes));
            ConfigError::of(problems).map(|()| config)
        }
        Err(error) => {
            problems.extend(error.problems);
            Err(ConfigError { problems, warnings: Vec::new() })
        }
    };
    let config = config.map_err(|error| error.with_warnings(&notes))?;
    Ok(Loaded { config, settings, notes })
}

#[cfg(test)]
mod tests;
