//! `flotilla namesrv`: configuration, one name server, and its stop.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flotilla_broker::config::{ConfigError, Merged, Note, Report, Settings, Sources, merge};
use flotilla_namesrv::{NameServer, NameServerOptions};

use crate::broker;
use crate::cli::NamesrvArgs;
use crate::namesrv_keys::NAME_SERVER;
use crate::signals::Signals;

/// Runs until a signal stops it.
pub async fn run(args: NamesrvArgs) -> anyhow::Result<()> {
    let file = args.config.as_deref().map(broker::read).transpose()?;
    let (settings, notes) = load(&sources(file, args.set.clone()))?;
    if args.print_config {
        print!("{settings}");
        return Ok(());
    }
    broker::tell(&notes);
    let mut signals = Signals::listen()?;
    let options = options(&args, &settings)?;
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

/// A name server reads no environment: its variables would be those of a broker on the same machine.
pub fn sources(file: Option<(String, Vec<u8>)>, overrides: Vec<String>) -> Sources {
    Sources { file, environment: Vec::new(), overrides }
}

/// Every key as `flotilla check-config` shows it, with all that is wrong.
pub fn report(sources: &Sources) -> Report {
    let Merged { settings, notes, mut problems } = merge(NAME_SERVER, sources);
    problems.extend(contradictions(&settings));
    Report::new(&settings, &notes, problems)
}

fn load(sources: &Sources) -> Result<(Settings, Vec<Note>), ConfigError> {
    let (settings, notes) = merge(NAME_SERVER, sources).sound()?;
    let problems = contradictions(&settings);
    if problems.is_empty() {
        return Ok((settings, notes));
    }
    Err(ConfigError { problems, warnings: Vec::new() })
}

fn contradictions(settings: &Settings) -> Vec<String> {
    let mut problems = Vec::new();
    let controller = settings.get("enableControllerInNamesrv");
    if controller.text == "true" {
        problems.push(format!("{}: replicas elect their leader themselves", controller.named()));
    }
    let bind = settings.get("bindAddress");
    if bind.text.parse::<IpAddr>().is_err() {
        problems.push(format!("{}: expected an IP address", bind.named()));
    }
    let (port, admin) = (settings.get("listenPort"), settings.get("adminListen"));
    let admin_port = admin.text.parse::<SocketAddr>().map_or(0, |address| address.port());
    if admin_port != 0 && port.text == admin_port.to_string() {
        problems.push(format!("{} and {} use the same port", port.named(), admin.named()));
    }
    problems
}

/// The command line wins over the file.
fn options(args: &NamesrvArgs, settings: &Settings) -> anyhow::Result<NameServerOptions> {
    let text = |name: &str| settings.get(name).text.clone();
    let path = |name: &str| Some(text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let listen = match args.listen {
        Some(listen) => listen,
        None => SocketAddr::new(text("bindAddress").parse()?, text("listenPort").parse()?),
    };
    let mut options = NameServerOptions {
        admin: args.admin.or_else(|| text("adminListen").parse().ok()),
        settings: given(settings),
        ..NameServerOptions::new(listen)
    };
    if let Some(data) = &args.data {
        keep(&mut options, data)?;
    }
    options.kv_path = options.kv_path.or_else(|| path("kvConfigPath"));
    options.config_path = options.config_path.or_else(|| path("configStorePath"));
    Ok(options)
}

/// What the file says of settings that tools can see.
fn given(settings: &Settings) -> Vec<(String, String)> {
    let given = settings.iter().filter(|setting| setting.is_given());
    given.map(|setting| (setting.key.name.to_owned(), setting.text.clone())).collect()
}
