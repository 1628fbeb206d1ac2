//! The first leader of a new group writes its names, settings, system topics and system groups into the log.

use std::time::Duration;

use flotilla_core::system;
use flotilla_core::{Command, Perm, Settings};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::BrokerConfig;
use crate::group::{Group, Standing};

/// The command that fills the tables of a new group.
pub fn command(config: &BrokerConfig) -> Command {
    Command::Bootstrap(Box::new(system::bootstrap(
        &config.identity.cluster,
        &config.identity.broker_name,
        settings(config),
    )))
}

/// The settings that are the group's, as this node's configuration has them.
pub fn settings(config: &BrokerConfig) -> Settings {
    Settings {
        broker_permission: Perm(u8::try_from(config.topics.permission).unwrap_or(6)),
        auto_create_topic: config.topics.auto_create_topic,
        auto_create_group: config.topics.auto_create_group,
        default_topic_queue_count: config.topics.queue_count,
        property_filter_enable: config.topics.property_filter,
        ..Settings::default()
    }
}

/// Proposes the command while this replica leads a group that has no names yet. Ends when the group has them.
pub async fn run(group: Group, command: Command, stop: CancellationToken) {
    let mut warned = false;
    while group.tables().identity().is_none() {
        if stop.is_cancelled() {
            return;
        }
        if let Standing::Leading { .. } = group.standing() {
            match group.propose(command.clone(), std::time::Instant::now() + Duration::from_secs(5)).await {
                Ok(_) => info!("the group has its names, settings and system topics"),
                Err(error) if !warned => {
                    warned = true;
                    warn!(%error, "the group's first command is not in the log yet");
                }
                Err(_) => {}
            }
        } else {
            group.changed(std::time::Instant::now() + Duration::from_millis(20)).await;
        }
    }
}
