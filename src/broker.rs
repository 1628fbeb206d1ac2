//! `flotilla broker`: configuration, one node, and its stop.

use std::path::Path;

use anyhow::Context;
use flotilla_broker::config::{self, Loaded, Note, RouteProbe, Sources};
use flotilla_broker::{Broker, BrokerHandle, BrokerOptions};
use flotilla_raft_store::raft::Role;

use crate::cli::BrokerArgs;
use crate::signals::Signals;

/// Runs until a signal stops it, or the node fails.
pub async fn run(args: BrokerArgs) -> anyhow::Result<()> {
    let sources = sources(&args)?;
    let loaded = tokio::task::spawn_blocking(move || config::load(&sources, &RouteProbe)).await??;
    if args.print_config {
        print!("{}", loaded.settings);
        return Ok(());
    }
    if args.print_important_config {
        print!("{}", loaded.settings.important());
        return Ok(());
    }
    tell(&loaded.notes);
    let mut signals = Signals::listen()?;
    let Loaded { config, .. } = loaded;
    tokio::select! {
        started = Broker::start(BrokerOptions::new(config)) => {
            let broker = started.context("the broker did not start")?;
            tokio::select! {
                reason = failed(&broker) => anyhow::bail!("the broker failed: {reason}"),
                name = signals.next() => {
                    tracing::info!(signal = name, "stopping");
                    signals.stop_with(broker.stop(true)).await;
                    tracing::info!("stopped");
                }
            }
        }
        name = signals.next() => tracing::info!(signal = name, "stopped before the start was complete"),
    }
    Ok(())
}

/// Waits until the replica stopped by itself and gives the reason.
pub async fn failed(broker: &BrokerHandle) -> String {
    let mut status = broker.status();
    let stopped = status.wait_for(|status| status.role == Role::Stopped).await;
    stopped
        .ok()
        .and_then(|status| status.waiting_for.clone())
        .unwrap_or_else(|| "the replica stopped".to_owned())
}

/// Logs what the configuration has to say.
pub fn tell(notes: &[Note]) {
    for note in notes {
        match note {
            Note::Info(text) => tracing::info!("{text}"),
            Note::Warning(text) => tracing::warn!("{text}"),
        }
    }
}

fn sources(args: &BrokerArgs) -> anyhow::Result<Sources> {
    let file = args.config.as_deref().map(read).transpose()?;
    let mut overrides = args.set.clone();
    overrides.extend(args.namesrv.iter().map(|servers| format!("namesrvAddr={servers}")));
    Ok(Sources { file, environment: environment(), overrides })
}

/// A configuration file: its name as given, and its bytes.
pub fn read(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let bytes = std::fs::read(path).with_context(|| format!("configuration file {}", path.display()))?;
    Ok((path.display().to_string(), bytes))
}

/// Variables that are text; others can't be ours.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
