//! Apache RocketMQ with DLedger, for comparison: started as `benches/side-by-side` starts it, from a folder of jars.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, bail, ensure};
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tracing::info;

use super::layout::Layout;
use super::server::{Ability, Inspection, Role, Server};

/// Names the servers' versions.
const POM: &str = include_str!("../../../benches/side-by-side/pom.xml");
/// Bytes of a broker's log, from its end, in which the last change of roles is looked for.
const LOG_TAIL: u64 = 1 << 20;
/// What the JVM has to open for RocketMQ. Source: bin/runbroker.sh of 5.5.0.
const OPENINGS: [&str; 7] = [
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
];

/// RocketMQ by a folder of jars.
#[derive(Debug)]
pub struct DLedger {
    jars: PathBuf,
}

impl DLedger {
    /// The jars of an installation (`HOME/lib`, or the folder itself); without one, fetched by Maven into `cache` once.
    ///
    /// # Errors
    /// There is no Java, no Maven where it is needed, or no jar.
    pub fn new(home: Option<&Path>, cache: &Path) -> anyhow::Result<DLedger> {
        let version = Command::new("java").arg("-version").output().context("rocketmq-dledger needs java")?;
        ensure!(version.status.success(), "java -version: {}", version.status);
        let jars = match home {
            Some(home) if home.join("lib").is_dir() => home.join("lib"),
            Some(home) => home.to_owned(),
            None => fetched(cache)?,
        };
        let jars = jars.canonicalize().with_context(|| format!("--rocketmq-home {}", jars.display()))?;
        let has_broker = std::fs::read_dir(&jars)?
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("rocketmq-broker"));
        ensure!(has_broker, "{}: no rocketmq-broker-*.jar", jars.display());
        Ok(DLedger { jars })
    }

    fn java(&self, layout: &Layout, name: &str, heap: &str, main: &str, file: &Path) -> Command {
        let mut command = Command::new("java");
        command.args(["-server", &format!("-Xms{heap}"), &format!("-Xmx{heap}"), "-XX:+UseG1GC"]);
        command.args(["-XX:MaxDirectMemorySize=512m", "-XX:-OmitStackTraceInFastThrow"]).args(OPENINGS);
        let home = home(layout, name);
        command.arg(format!("-Duser.home={}", home.display()));
        command.arg("-cp").arg(self.jars.join("*")).arg(main).arg("-c").arg(file);
        command.env("ROCKETMQ_HOME", layout.folder.join("home")).env_remove("NAMESRV_ADDR");
        command
    }
}

fn home(layout: &Layout, name: &str) -> PathBuf {
    layout.folder.join("home").join(name)
}

fn fetched(cache: &Path) -> anyhow::Result<PathBuf> {
    let (jars, complete) = (cache.join("lib"), cache.join("complete"));
    if !complete.exists() {
        std::fs::create_dir_all(&jars)?;
        let pom = cache.join("pom.xml");
        std::fs::write(&pom, POM)?;
        info!(folder = %jars.display(), "fetching RocketMQ by mvn");
        let status = Command::new("mvn")
            .args(["-B", "-q", "-ntp", "-f"])
            .arg(&pom)
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", jars.canonicalize()?.display()))
            .status()
            .context("needs mvn, or --rocketmq-home")?;
        ensure!(status.success(), "mvn: {status}");
        std::fs::write(complete, "")?;
    }
    Ok(jars)
}

impl Server for DLedger {
    fn name(&self) -> &'static str {
        "rocketmq-dledger"
    }

    /// In the name of the broker's jar.
    fn version(&self) -> String {
        let names = std::fs::read_dir(&self.jars).into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let version = names
            .find_map(|name| Some(name.strip_prefix("rocketmq-broker-")?.strip_suffix(".jar")?.to_owned()));
        version.unwrap_or_default()
    }

    fn name_server(&self, layout: &Layout, number: usize) -> anyhow::Result<Command> {
        let name = format!("namesrv{number}");
        let file = layout.folder.join(format!("nodes/{name}.conf"));
        let listen = layout.name_servers[number].listen;
        std::fs::write(&file, format!("listenPort={}\nbindAddress={}\n", listen.port(), listen.ip()))?;
        Ok(self.java(layout, &name, "192m", "org.apache.rocketmq.namesrv.NamesrvStartup", &file))
    }

    fn node(&self, layout: &Layout, number: usize) -> anyhow::Result<Command> {
        let (name, place, data) = (format!("n{number}"), &layout.nodes[number], layout.data(number));
        let file = layout.folder.join(format!("nodes/{name}.conf"));
        let mut lines = vec![
            "brokerClusterName=JepsenCluster".to_owned(),
            "brokerName=broker-a".to_owned(),
            format!("brokerIP1={}", place.advertised.ip()),
            format!("bindAddress={}", place.client.ip()),
            format!("listenPort={}", place.client.port()),
            format!("namesrvAddr={}", layout.name_servers_for_node(number)),
            format!("storePathRootDir={}", data.display()),
            format!("storePathCommitLog={}", data.join("commitlog").display()),
            "enableDLegerCommitLog=true".to_owned(),
            "dLegerGroup=broker-a".to_owned(),
            format!("dLegerPeers={}", layout.peers(number)),
            format!("dLegerSelfId={name}"),
            format!("flushDiskType={}", layout.flush.key()),
            "autoCreateTopicEnable=true".to_owned(),
        ];
        // What an earlier process said about its role must not count for this one.
        let log = role_log(layout, number);
        if log.exists() {
            std::fs::rename(&log, log.with_extension(format!("until-{}.log", file_number(&log))))?;
        }
        lines.extend(layout.settings.iter().map(|(key, value)| format!("{key}={value}")));
        std::fs::write(&file, lines.join("\n") + "\n")?;
        Ok(self.java(layout, &name, "640m", "org.apache.rocketmq.broker.BrokerStartup", &file))
    }

    fn ready<'a>(&'a self, layout: &'a Layout, node: usize) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let address = layout.nodes[node].client;
            TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
        })
    }

    /// The role that each broker last told in its log. Source: RocketMQ 5.5 DLedgerRoleChangeHandler.
    fn roles<'a>(&'a self, layout: &'a Layout, among: &'a [usize]) -> BoxFuture<'a, Vec<Role>> {
        let said = among.iter().filter_map(|node| {
            let text = tail(&role_log(layout, *node)).ok()?;
            let last = text.lines().rfind(|line| line.contains("handling broker role change"))?;
            let leads = last.contains("Finish") && last.contains("role=LEADER");
            Some(Role { node: *node, term: term(last), leads })
        });
        Box::pin(std::future::ready(said.collect()))
    }

    fn transfer<'a>(&'a self, _: &'a Layout, _: usize, _: usize) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async { bail!("DLedger has no request for it that mqadmin or a client could send") })
    }

    fn settled<'a>(&'a self, _: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        let why = "what its replicas hold can't be asked from outside".to_owned();
        Box::pin(std::future::ready(Err(why)))
    }

    fn inspect(&self, _: &Layout) -> Vec<Inspection> {
        Vec::new()
    }

    fn power_loss(&self, _: &Layout, _: usize, _: u64) -> Option<Command> {
        None
    }

    /// A JVM that ran its shutdown hooks after a signal ends with 128 and the signal's number.
    fn is_clean(&self, status: ExitStatus) -> bool {
        matches!(status.code(), Some(0 | 143))
    }

    fn can(&self, ability: Ability) -> bool {
        match ability {
            // A broker that does not lead refuses pulls unless it is told to serve them as a slave.
            Ability::Transfer
            | Ability::Views
            | Ability::Log
            | Ability::Clock
            | Ability::PowerLoss
            | Ability::ReplicaReads
            | Ability::ReplicaState => false,
        }
    }
}

/// Where a broker tells its role.
fn role_log(layout: &Layout, node: usize) -> PathBuf {
    home(layout, &format!("n{node}")).join("logs/rocketmqlogs/broker.log")
}

/// A number that no file beside this one has.
fn file_number(log: &Path) -> usize {
    log.parent().and_then(|folder| std::fs::read_dir(folder).ok()).map_or(0, Iterator::count)
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number behind `term=`, 0 without one.
fn term(line: &str) -> u64 {
    let digits = line.split_once("term=").map(|(_, rest)| rest);
    let digits = digits.and_then(|rest| rest.split(|digit: char| !digit.is_ascii_digit()).next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
