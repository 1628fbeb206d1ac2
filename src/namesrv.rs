//! `flotilla namesrv`: one name server and its stop.

use std::path::Path;

use anyhow::Context;
use flotilla_namesrv::{NameServer, NameServerOptions};

use crate::cli::NamesrvArgs;
use crate::signals::Signals;

/// Runs until a signal stops it.
pub async fn run(args: NamesrvArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let mut options = NameServerOptions { admin: args.admin, ..NameServerOptions::new(args.listen) };
    if let Some(data) = &args.data {
        keep(&mut options, data)?;
    }
    let server = NameServer::start(options).await.context("the name server did not start")?;
    let name = signals.next().await;
    tracing::info!(signal = name, "stopping");
    signals.stop_with(server.stop()).await;
    tracing::info!("stopped");
    Ok(())
}

/// Keeps the key-value table and the settings in a folder.
pub fn keep(options: &mut NameServerOptions, data: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data).with_context(|| format!("data folder {}", data.display()))?;
    options.kv_path = Some(data.join("kvConfig.json"));
    options.config_path = Some(data.join("namesrv.properties"));
    Ok(())
}
