//! UPDATE_BROKER_CONFIG (25) and GET_BROKER_CONFIG (26).
//!
//! What is shown is what counts: settings of the group out of the tables, whatever the file says, and of this node what it was
//! started with. Settings of the group can be changed at any replica and change for all; what a node reads at its start only is
//! refused, and so is a key that does nothing here, because a success would be a lie. A refused update changes nothing.
//!
//! Source: RocketMQ 5.3 AdminBrokerProcessor (updateBrokerConfig, getBrokerConfig), Configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{Answer, Command, SettingChange, Settings as GroupSettings};
use flotilla_remoting::bodies;
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::GetBrokerConfigResponse;
use tokio::runtime::Handle;
use tracing::info;

use crate::call::Call;
use crate::config::{self, BROKER, BrokerConfig, Effect};
use crate::dispatch::Handler;
use crate::group::Group;
use crate::leader::LeaderCalls;
use crate::registration::body::wire_version;

/// Longest wait until a change that is in the log shows on this replica.
const SHOWN_WAIT: Duration = Duration::from_secs(1);

/// Serves 25 and 26. Runs on every replica.
pub struct BrokerConfigHandler {
    pub group: Group,
    pub leader: Arc<LeaderCalls>,
    pub runtime: Handle,
    pub config: BrokerConfig,
    /// Port that clients really connect to.
    pub port: u16,
}

impl Handler for BrokerConfigHandler {
    fn handle(&self, call: Call) {
        match call.code() {
            RequestCode::GetBrokerConfig => self.show(call),
            _ => self.update(call),
        }
    }
}

/// Why an update is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    BlackListed,
    Wrong(String),
}

impl BrokerConfigHandler {
    fn show(&self, call: Call) {
        let (settings, version) = {
            let tables = self.group.tables();
            (tables.settings().clone(), tables.settings_version())
        };
        let mut text = String::new();
        for (key, value) in self.effective(&settings) {
            text += &format!("{key}={}\n", config::escape(&value));
        }
        let version = bodies::encode(&wire_version(version, 0));
        let version = String::from_utf8_lossy(&version).into_owned();
        let mut response = call.request.reply(ResponseCode::Success, None);
        response.header.ext = GetBrokerConfigResponse { version: &version }.encode();
        response.body = text.into();
        call.reply.send(response);
    }

    /// Every key with the value that counts, sorted.
    fn effective(&self, settings: &GroupSettings) -> BTreeMap<&'static str, String> {
        let mut all: BTreeMap<&'static str, String> =
            self.config.settings.iter().map(|setting| (setting.key.name, setting.shown())).collect();
        all.extend(config::group_shown(settings));
        let root = self.config.disk.root.display();
        let leads = self.group.leads();
        let id = if leads { 0 } else { self.config.raft.self_index + 1 };
        all.extend([
            ("brokerId", id.to_string()),
            // The leader answers when a majority holds the message, as a synchronous master does.
            ("brokerRole", if leads { "SYNC_MASTER" } else { "SLAVE" }.to_owned()),
            ("brokerIP1", self.config.identity.advertised_host.clone()),
            ("brokerIP2", self.config.identity.advertised_host.clone()),
            ("listenPort", self.port.to_string()),
            ("dLegerGroup", self.config.raft.group.clone()),
            ("storePathRootDir", root.to_string()),
            ("storePathCommitLog", format!("{root}/store")),
            ("storePathDLedgerCommitLog", format!("{root}/store")),
            ("storePathConsumeQueue", format!("{root}/views")),
        ]);
        all
    }

    fn update(&self, call: Call) {
        let current = self.group.tables().settings().clone();
        let changes = match changes(&call.request.body, &self.config, &self.effective(&current)) {
            Ok(changes) => changes,
            Err(Refusal::BlackListed) => {
                return call.refuse(ResponseCode::NoPermission, "Can not update config in black list.");
            }
            Err(Refusal::Wrong(remark)) => return call.refuse(ResponseCode::SystemError, remark),
        };
        if changes.is_empty() {
            return super::respond::done(call);
        }
        info!(from = %call.caller.address, ?changes, "settings of the group are being changed");
        let (group, leader) = (self.group.clone(), self.leader.clone());
        self.runtime.spawn(async move {
            match leader.propose(Command::ChangeSettings(changes.clone()), call.deadline).await {
                Ok(Answer::Done | Answer::Unchanged) => {
                    shown(&group, &changes).await;
                    super::respond::done(call);
                }
                Ok(Answer::Refused(refusal)) => call.refuse(ResponseCode::SystemError, refusal.to_string()),
                Err(error) => {
                    call.refuse(
                        ResponseCode::SystemError,
                        format!("settings were not changed for certain: {error}"),
                    );
                }
            }
        });
    }
}

/// Waits until this replica shows the change, so that whoever asks here next sees it; another change may have come between,
/// hence the limit.
async fn shown(group: &Group, changes: &[SettingChange]) {
    let deadline = Instant::now() + SHOWN_WAIT;
    let is_shown = || {
        let now = group.tables().settings().clone();
        let mut changed = now.clone();
        changes.iter().cloned().for_each(|change| change.apply(&mut changed));
        now == changed
    };
    while !is_shown() && Instant::now() < deadline {
        group.changed(deadline).await;
    }
}

/// Reads the body and finds out what it changes.
fn changes(
    body: &[u8],
    config: &BrokerConfig,
    effective: &BTreeMap<&'static str, String>,
) -> Result<Vec<SettingChange>, Refusal> {
    let wrong = |remark: String| Refusal::Wrong(format!("{remark}; nothing was changed"));
    if std::str::from_utf8(body).is_err() {
        return Err(wrong("string2Properties error: the body is not UTF-8".to_owned()));
    }
    let properties =
        config::parse_properties(body).map_err(|error| wrong(format!("string2Properties error: {error}")))?;
    let is_black = |key: &str| config.black_list().any(|black| black == key);
    if properties.iter().any(|property| is_black(&property.key)) {
        return Err(Refusal::BlackListed);
    }
    let mut changes = Vec::new();
    for property in properties {
        let (name, value) = (property.key.as_str(), property.value.trim());
        let Some(key) = BROKER.iter().find(|key| key.name == name || key.aliases.contains(&name)) else {
            let near = config::nearest_key(name).map(|near| format!(", did you mean {near}?"));
            return Err(wrong(format!("{name}: unknown key{}", near.unwrap_or_default())));
        };
        key.check(value).map_err(|reason| wrong(format!("{}={value}: {reason}", key.name)))?;
        if effective.get(key.name).is_some_and(|held| held == value) {
            continue;
        }
        match config::group_change(key.name, value) {
            Some(change) => {
                config.allows(&change).map_err(&wrong)?;
                changes.push(change);
            }
            None => return Err(wrong(not_changeable(key.name, key.effect))),
        }
    }
    Ok(changes)
}

fn not_changeable(name: &str, effect: Effect) -> String {
    match effect {
        Effect::None(because) => format!("{name} has no effect here, because {because}"),
        Effect::Used | Effect::Mapped(_) => {
            format!("{name} is read when the broker starts: change its file and restart it")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flotilla_core::Perm;

    use super::*;
    use crate::config::{RouteProbe, Sources, load};

    fn config(extra: &[&str]) -> BrokerConfig {
        let needed = [
            "dLegerPeers=n0-127.0.0.1:1",
            "dLegerSelfId=n0",
            "brokerIP1=127.0.0.1",
            "storePathRootDir=/data",
        ];
        let overrides = needed.iter().chain(extra).map(ToString::to_string).collect();
        load(&Sources { overrides, ..Sources::default() }, &RouteProbe).unwrap().config
    }

    fn changed(body: &str) -> Result<Vec<SettingChange>, Refusal> {
        changed_with(body, &[])
    }

    fn changed_with(body: &str, extra: &[&str]) -> Result<Vec<SettingChange>, Refusal> {
        let config = config(extra);
        let mut effective: BTreeMap<&'static str, String> =
            config.settings.iter().map(|setting| (setting.key.name, setting.text.clone())).collect();
        effective.extend(config::group_shown(&config.topics.settings));
        changes(body.as_bytes(), &config, &effective)
    }

    #[test]
    fn settings_of_the_group_are_changed_and_equal_ones_passed_over() {
        let body = "# by mqadmin\nbrokerPermission=4\nautoCreateTopicEnable = false\nmaxMessageSize=4194304\nlistenPort=10911\n";
        let expected = [SettingChange::BrokerPermission(Perm(4)), SettingChange::AutoCreateTopic(false)];
        assert_eq!(changed(body).unwrap(), expected);
        assert_eq!(changed("").unwrap(), []);
    }

    #[test]
    fn black_listed_keys_are_refused_before_anything_else() {
        for key in ["configBlackList", "brokerConfigPath", "rocketmqHome"] {
            assert_eq!(
                changed(&format!("brokerPermission=4\nnonsense=1\n{key}=x")),
                Err(Refusal::BlackListed)
            );
        }
        let own = ["configBlackList=configBlackList;brokerPermission"];
        assert_eq!(changed_with("brokerPermission=4", &own), Err(Refusal::BlackListed));
    }

    #[test]
    fn what_can_not_be_changed_is_refused_with_its_reason() {
        let refused = [
            ("brokerPermision=4", "unknown key, did you mean brokerPermission?"),
            ("brokerPermission=5", "expected one of"),
            ("fileReservedTime=soon", "expected a whole number"),
            ("listenPort=1", "is read when the broker starts"),
            ("sendMessageThreadPoolNums=9", "has no effect here, because"),
            ("enablePropertyFilter=true", "SQL subscriptions are not available"),
            ("maxMessageSize=8000000", "does not fit a frame"),
            ("brokerName=\\u12", "string2Properties error"),
        ];
        for (body, reason) in refused {
            match changed_with(&format!("autoCreateTopicEnable=false\n{body}"), &["frameSizeMax=5242880"]) {
                Err(Refusal::Wrong(remark)) => {
                    assert!(remark.contains(reason) && remark.ends_with("; nothing was changed"), "{remark}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
        assert!(matches!(changes(b"a=\xff", &config(&[]), &BTreeMap::new()), Err(Refusal::Wrong(_))));
    }
}
