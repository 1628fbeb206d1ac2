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
mod group;
mod keys;
mod merge;
mod nearest;
mod print;
mod properties;
mod report;
mod typed;

pub use address::{AddressProbe, RouteProbe};
pub use group::{change as group_change, shown as group_shown};
pub use keys::{BROKER, Effect, Key, Kind, Table};
pub use merge::{ConfigError, Merged, Note, Origin, Setting, Settings, Sources, Unknown, merge};
pub(crate) use print::escape;
pub use properties::{PropertiesError, Property, parse as parse_properties};
pub use report::{Line, Report};
pub use typed::{
    AdminConfig, BrokerConfig, DiskConfig, Identity, Limits, QueryConfig, RaftConfig, Registration, Serving,
    TopicDefaults, Watermarks,
};

/// The known key whose name is nearest to this one, if it is near enough to be meant.
pub(crate) fn nearest_key(name: &str) -> Option<&'static str> {
    nearest::nearest(name, BROKER.iter().map(|key| key.name))
}

impl BrokerConfig {
    /// Keys that no request may change, whatever the file says of the list. Source: RocketMQ 5.3 AdminBrokerProcessor.
    pub(crate) fn black_list(&self) -> impl Iterator<Item = &str> {
        let own = &self.settings.get("configBlackList").text;
        let fixed = ["configBlackList", "brokerConfigPath", "rocketmqHome"];
        fixed.into_iter().chain(own.split(';').map(str::trim))
    }

    /// Whether this node could go on with a changed setting of the group.
    ///
    /// # Errors
    /// What contradicts it.
    pub(crate) fn allows(&self, change: &flotilla_core::SettingChange) -> Result<(), String> {
        check::change(self, change)
    }
}

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
    let (settings, mut notes) = merge(BROKER, sources).sound()?;
    let config = check_all(&settings, probe, &mut notes).map_err(|error| error.with_warnings(&notes))?;
    Ok(Loaded { config, settings, notes })
}

/// Every key as `flotilla check-config` shows it, with all that is wrong: unlike [`load`], it goes on after a value
/// that can't be read, so that one look shows everything.
pub fn report(sources: &Sources, probe: &dyn AddressProbe) -> Report {
    let Merged { settings, mut notes, mut problems } = merge(BROKER, sources);
    if let Err(error) = check_all(&settings, probe, &mut notes) {
        problems.extend(error.problems);
    }
    Report::new(&settings, &notes, problems)
}

fn check_all(
    settings: &Settings,
    probe: &dyn AddressProbe,
    notes: &mut Vec<Note>,
) -> Result<BrokerConfig, ConfigError> {
    let mut problems = check::modes(settings);
    match typed::build(settings, probe, notes) {
        Ok(config) => {
            problems.extend(check::check(&config, settings, notes));
            ConfigError::of(problems).map(|()| config)
        }
        Err(error) => {
            problems.extend(error.problems);
            Err(ConfigError { problems, warnings: Vec::new() })
        }
    }
}

#[cfg(test)]
mod tests;
