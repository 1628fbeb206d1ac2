//! Keys whose values are the group's: the log holds them, every replica obeys them, and the files only say what the
//! first leader of a new group begins with.

use flotilla_core::{DelayLevels, Hours, Perm, SettingChange, Settings as GroupSettings};

use super::keys;
use super::merge::Settings;

struct Row {
    name: &'static str,
    /// `None` for a text that the key's kind would not have let through.
    change: fn(&str) -> Option<SettingChange>,
    show: fn(&GroupSettings) -> String,
}

macro_rules! rows {
    ($($name:literal => $variant:ident: $read:path, $settings:ident $shown:expr;)*) => {
        &[$(Row {
            name: $name,
            change: |text| $read(text).map(SettingChange::$variant),
            show: |$settings| $shown.to_string(),
        }),*]
    };
}

const ROWS: &[Row] = rows! {
    "brokerPermission" => BrokerPermission: permission, s s.broker_permission.0;
    "autoCreateTopicEnable" => AutoCreateTopic: read, s s.auto_create_topic;
    "autoCreateSubscriptionGroup" => AutoCreateGroup: read, s s.auto_create_group;
    "defaultTopicQueueNums" => DefaultTopicQueueCount: read, s s.default_topic_queue_count;
    "clusterTopicEnable" => ClusterTopicEnable: read, s s.cluster_topic_enable;
    "brokerTopicEnable" => BrokerTopicEnable: read, s s.broker_topic_enable;
    "traceTopicEnable" => TraceTopicEnable: read, s s.trace_topic_enable;
    "enablePropertyFilter" => PropertyFilterEnable: read, s s.property_filter_enable;
    "maxMessageSize" => MessageSizeMax: read, s s.message_size_max;
    "fileReservedTime" => ReservedHours: read, s s.retention.reserved_hours;
    "deleteWhen" => DeleteWhen: hours, s s.retention.delete_when;
    "diskMaxUsedSpaceRatio" => DiskUsedPercentMax: read, s s.retention.disk_used_percent_max;
    "cleanFileForciblyEnable" => DeleteForcibly: read, s s.retention.delete_forcibly;
    "logRetentionBytesMax" => LogBytesMax: read, s s.retention.log_bytes_max;
    "messageDelayLevel" => DelayLevels: levels, s s.delay_levels;
};

fn read<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn permission(text: &str) -> Option<Perm> {
    text.parse().ok().map(Perm)
}

fn levels(text: &str) -> Option<DelayLevels> {
    DelayLevels::parse(text).ok()
}

fn hours(text: &str) -> Option<Hours> {
    keys::hours(text).map(Hours::of)
}

/// The change that a new value of a key asks for; `None` when the key is not the group's, or the value none of it.
pub fn change(name: &str, value: &str) -> Option<SettingChange> {
    ROWS.iter().find(|row| row.name == name).and_then(|row| (row.change)(value))
}

/// Names of the group's keys with the values that count.
pub fn shown(settings: &GroupSettings) -> impl Iterator<Item = (&'static str, String)> {
    ROWS.iter().map(move |row| (row.name, (row.show)(settings)))
}

/// What the files say of the group's settings.
pub(super) fn from_file(file: &Settings) -> GroupSettings {
    let mut settings = GroupSettings::default();
    for row in ROWS {
        let change = (row.change)(&file.get(row.name).text);
        change.expect("the kind of the key was checked").apply(&mut settings);
    }
    settings
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::keys::BROKER;
    use super::super::merge::{Sources, merge};
    use super::*;

    #[test]
    fn the_defaults_of_the_keys_are_those_of_the_settings() {
        let (file, _) = merge(BROKER, &Sources::default()).sound().unwrap();
        assert_eq!(from_file(&file), GroupSettings::default());
        for (name, value) in shown(&GroupSettings::default()) {
            assert_eq!(file.get(name).text, value, "{name}");
        }
    }

    #[test]
    fn a_value_shows_as_it_was_given() {
        let given = [
            ("brokerPermission", "4"),
            ("deleteWhen", "04;16"),
            ("fileReservedTime", "48"),
            ("messageDelayLevel", "90s 2m"),
        ];
        let mut settings = GroupSettings::default();
        for (name, value) in given {
            change(name, value).unwrap().apply(&mut settings);
        }
        for (name, value) in given {
            assert_eq!(shown(&settings).find(|(shown, _)| *shown == name).unwrap().1, value);
        }
        assert_eq!(change("listenPort", "1"), None);
        assert_eq!(change("fileReservedTime", "soon"), None);
        assert_eq!(change("messageDelayLevel", "soon"), None);
    }
}
