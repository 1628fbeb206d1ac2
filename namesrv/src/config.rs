//! Settings of a name server as tools see and change them: codes 318 and 319, text `key=value`, one a line.
//!
//! All keys of Apache's name server are listed with their defaults; those that mean nothing here are kept and shown, and
//! have no effect. Source: RocketMQ 5.3 NamesrvConfig, NettyServerConfig.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::registry::Policy;

/// Keys and defaults.
const DEFAULTS: &[(&str, &str)] = &[
    ("bindAddress", "0.0.0.0"),
    ("clientRequestThreadPoolNums", "8"),
    ("clientRequestThreadPoolQueueCapacity", "50000"),
    ("clusterTest", "false"),
    ("configBlackList", "configBlackList;configStorePath;kvConfigPath"),
    ("configStorePath", ""),
    ("defaultThreadPoolNums", "16"),
    ("defaultThreadPoolQueueCapacity", "10000"),
    ("deleteTopicWithBrokerRegistration", "false"),
    ("enableAllTopicList", "true"),
    ("enableControllerInNamesrv", "false"),
    ("enableTopicList", "true"),
    ("kvConfigPath", ""),
    ("listenPort", "9876"),
    ("needWaitForService", "false"),
    ("notifyMinBrokerIdChanged", "false"),
    ("orderMessageEnable", "false"),
    ("productEnvName", "center"),
    ("returnOrderTopicConfigToBroker", "true"),
    ("rocketmqHome", ""),
    ("scanNotActiveBrokerInterval", "5000"),
    ("serverAsyncSemaphoreValue", "64"),
    ("serverCallbackExecutorThreads", "0"),
    ("serverChannelMaxIdleTimeSeconds", "120"),
    ("serverOnewaySemaphoreValue", "256"),
    ("serverSelectorThreads", "3"),
    ("serverWorkerThreads", "8"),
    ("supportActingMaster", "false"),
    ("unRegisterBrokerQueueCapacity", "3000"),
    ("waitSecondsForService", "45"),
];

/// Names of the settings that tools see.
pub fn names() -> Vec<&'static str> {
    DEFAULTS.iter().map(|(name, _)| *name).collect()
}

/// Never changed by a request, whatever the black list says.
const FIXED: &[&str] = &["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

/// Given at the start of the process.
const START: &[&str] = &["bindAddress", "listenPort"];

/// The settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    values: BTreeMap<String, String>,
}

/// Why an update was refused; nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// A key may not be changed by a request.
    #[error("Can not update config in black list.")]
    BlackListed,
    /// A line is no `key=value`, or a value has the wrong form.
    #[error("string2Properties error: {0}")]
    Malformed(String),
    /// The settings could not be kept.
    #[error("cannot save: {0}")]
    Unsaved(String),
}

impl Default for Config {
    fn default() -> Self {
        let values = DEFAULTS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config { values: values.collect() }
    }
}

impl Config {
    /// Sets a key of this process: paths and ports that no request may change.
    pub fn set(&mut self, key: &str, value: impl ToString) {
        self.values.insert(key.to_owned(), value.to_string());
    }

    /// Takes a setting of the start; what tools can't see is passed over.
    pub fn start_with(&mut self, key: &str, value: &str) {
        if let Some(held) = self.values.get_mut(key) {
            *held = value.to_owned();
        }
    }

    /// The text of code 319.
    pub fn text(&self) -> String {
        self.values.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    /// The keys that a request may change, as text for the settings file.
    pub fn changeable_text(&self) -> String {
        let changeable = self
            .values
            .iter()
            .filter(|(key, _)| !FIXED.contains(&key.as_str()) && !START.contains(&key.as_str()));
        changeable.map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    /// Takes the text of code 318. Keys that nobody knows are ignored, as they are at Apache's.
    ///
    /// # Errors
    /// See `UpdateError`.
    pub fn update(&mut self, text: &str) -> Result<(), UpdateError> {
        let black = self.values.get("configBlackList").map(String::as_str).unwrap_or_default();
        let black: BTreeSet<&str> = black.split(';').chain(FIXED.iter().copied()).collect();
        let mut updated = self.values.clone();
        for (key, value) in parse(text)? {
            if black.contains(key) {
                return Err(UpdateError::BlackListed);
            }
            if let Some(held) = updated.get_mut(key) {
                check_form(key, held, value)?;
                *held = value.to_owned();
            }
        }
        self.values = updated;
        Ok(())
    }

    /// Routes carry the order configuration.
    pub fn order_in_routes(&self) -> bool {
        self.flag("orderMessageEnable")
    }

    /// Registrations are answered with the order configuration.
    pub fn order_to_brokers(&self) -> bool {
        self.flag("returnOrderTopicConfigToBroker")
    }

    /// Code 206 is answered.
    pub fn lists_all_topics(&self) -> bool {
        self.flag("enableAllTopicList")
    }

    /// Codes 224, 304 and 311 to 313 are answered.
    pub fn lists_topics(&self) -> bool {
        self.flag("enableTopicList")
    }

    /// Period of the scan for silent brokers; at least 100 ms.
    pub fn scan_interval(&self) -> Duration {
        let text = self.values.get("scanNotActiveBrokerInterval").map(String::as_str).unwrap_or_default();
        Duration::from_millis(text.parse().unwrap_or(5000).max(100))
    }

    /// What concerns the registry.
    pub fn policy(&self) -> Policy {
        Policy {
            delete_topics_by_registration: self.flag("deleteTopicWithBrokerRegistration"),
            support_acting_master: self.flag("supportActingMaster"),
        }
    }

    fn flag(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// Lines of `key=value`; blank lines and comments are skipped, spaces around both are cut.
fn parse(text: &str) -> Result<Vec<(&str, &str)>, UpdateError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let pair = |line: &'_ str| UpdateError::Malformed(format!("no key=value: {line}"));
    lines
        .map(|line| {
            let (key, value) = line.split_once('=').ok_or_else(|| pair(line))?;
            Ok((key.trim(), value.trim()))
        })
        .collect()
}

/// A flag stays a flag and a number a number.
fn check_form(key: &str, held: &str, value: &str) -> Result<(), UpdateError> {
    let is_flag = |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    let wrong =
        (is_flag(held) && !is_flag(value)) || (held.parse::<u32>().is_ok() && value.parse::<u32>().is_err());
    if wrong { Err(UpdateError::Malformed(format!("{key}={value}"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_update_changes_known_keys_only() {
        let mut config = Config::default();
        config.update("# comment\n\norderMessageEnable = true\nnobodyKnows=1\n").unwrap();
        assert!(config.order_in_routes());
        assert!(config.text().contains("orderMessageEnable=true\n"));
        assert!(!config.text().contains("nobodyKnows"));
    }

    #[test]
    fn a_refused_update_changes_nothing() {
        let mut config = Config::default();
        for key in FIXED {
            let text = format!("orderMessageEnable=true\n{key}=x\n");
            assert_eq!(config.update(&text), Err(UpdateError::BlackListed), "{key}");
        }
        for text in
            ["orderMessageEnable=true\nno pair", "scanNotActiveBrokerInterval=soon", "enableTopicList=1"]
        {
            assert!(matches!(config.update(text), Err(UpdateError::Malformed(_))), "{text}");
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn the_black_list_of_the_settings_counts() {
        let mut config = Config::default();
        config.set("configBlackList", "configBlackList;enableTopicList");
        assert_eq!(config.update("enableTopicList=false"), Err(UpdateError::BlackListed));
        config.update("scanNotActiveBrokerInterval=1").unwrap();
        assert_eq!(config.scan_interval(), Duration::from_millis(100));
    }
}
