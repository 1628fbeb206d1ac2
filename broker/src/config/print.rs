//! The effective configuration as text: `key = value`, where it came from, and what it does.

use std::fmt;

use super::keys::Effect;
use super::merge::Settings;

impl fmt::Display for Settings {
    /// A valid `.properties` file again: the origins are comments above the keys that were given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in self.iter() {
            let note = match setting.key.effect {
                Effect::None(because) if setting.is_given() => format!("; no effect, because {because}"),
                // A default without effect would only be noise.
                Effect::None(_) => continue,
                Effect::Used | Effect::Mapped(_) => String::new(),
            };
            writeln!(f, "# {}{note}", setting.origin)?;
            writeln!(f, "{}={}", setting.key.name, escape(&setting.shown()))?;
        }
        Ok(())
    }
}

/// Keys that tell one broker from another: those that RocketMQ calls important, as far as they do something here, and
/// those of the replica.
const IMPORTANT: [&str; 25] = [
    "brokerClusterName",
    "brokerName",
    "brokerIP1",
    "listenPort",
    "namesrvAddr",
    "dLegerGroup",
    "dLegerPeers",
    "dLegerSelfId",
    "raftListen",
    "adminListen",
    "storePathRootDir",
    "flushDiskType",
    "fileReservedTime",
    "deleteWhen",
    "diskMaxUsedSpaceRatio",
    "cleanFileForciblyEnable",
    "maxMessageSize",
    "messageDelayLevel",
    "brokerPermission",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "defaultTopicQueueNums",
    "traceTopicEnable",
    "aclEnable",
    "longPollingEnable",
];

impl Settings {
    /// The keys that tell one broker from another, as `key=value` lines.
    pub fn important(&self) -> String {
        let lines = IMPORTANT.iter().map(|name| self.get(name));
        lines.map(|setting| format!("{}={}\n", setting.key.name, escape(&setting.shown()))).collect()
    }
}

pub fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::config::keys::BROKER;
    use crate::config::merge::{Sources, merge};

    #[test]
    fn printed_text_reads_back_to_the_same_settings() {
        let file = "brokerName=broker-a\nstorePathRootDir=c:\\\\data\nhaListenPort=1\n";
        let sources = Sources { file: Some(("a.conf".into(), file.into())), ..Sources::default() };
        let (settings, _) = merge(BROKER, &sources).sound().unwrap();
        let text = settings.to_string();
        assert!(text.contains("# a.conf:1\nbrokerName=broker-a\n"), "{text}");
        assert!(text.contains("# a.conf:3; no effect, because "), "{text}");
        assert!(text.contains("# default\nlistenPort=10911\n"), "{text}");

        assert!(settings.important().contains("brokerName=broker-a\n"));

        let again = Sources { file: Some(("b.conf".into(), text.into_bytes())), ..Sources::default() };
        let (again, _) = merge(BROKER, &again).sound().unwrap();
        for (before, after) in settings.iter().zip(again.iter()) {
            assert_eq!(before.text, after.text, "{}", before.key.name);
        }
    }
}
