//! The first leader of a new group writes its names, settings, system topics and system groups into the log.

use std::time::Duration;

use flotilla_core::Command;
use flotilla_core::system;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::BrokerConfig;
use crate::group::{Group, Standing};

/// The command that fills the tables of a new group.
pub fn command(config: &BrokerConfig) -> Command {
    Command::Bootstrap(Box::new(system::bootstrap(
        &config.identity.cluster,
        &config.identity.broker_name,
        config.topics.settings.clone(),
    )))
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
