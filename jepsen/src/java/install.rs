//! The library's jars and our program's classes, in a folder that is filled once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};
use tracing::info;

/// Names the library and its version.
const POM: &str = include_str!("../../java/pom.xml");
/// Our program.
const SOURCE: &str = include_str!("../../java/Sends.java");
/// Its main class.
const MAIN: &str = "Sends";
/// Version of the official client, as the POM has it.
pub const LIBRARY_VERSION: &str = "5.5.0";
/// Memory of the program: hundreds of sends a second need a fraction of it.
const HEAP: &str = "-Xmx256m";

/// The official Java client, ready to be started.
#[derive(Clone, Debug)]
pub struct Java {
    cache: PathBuf,
    poll_ms: Option<u32>,
    version: String,
}

impl Java {
    /// Looks for the tools, fetches the library through Maven into `cache` and compiles our program, each where that was not
    /// done before. Blocks, the first time for as long as Maven takes. `poll_ms`: how often the client asks for routes;
    /// `None` leaves the library's own.
    ///
    /// # Errors
    /// There is no Java 17 or newer with javac; no Maven, and the library is not there yet; one of them fails.
    pub fn prepare(cache: &Path, poll_ms: Option<u32>) -> anyhow::Result<Java> {
        let version = version()?;
        std::fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
        let cache = cache.canonicalize()?;
        // Runs may begin at once, and would compile into each other's files.
        let guard = File::create(cache.join("lock"))?;
        guard.lock().context("the folder of the Java client can't be locked")?;
        fetch(&cache)?;
        compile(&cache)?;
        Ok(Java { cache, poll_ms, version })
    }

    /// How often the client asks for routes, in ms; `None`: as the library has it.
    pub fn poll_ms(&self) -> Option<u32> {
        self.poll_ms
    }

    /// Version of the Java runtime.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The command line for a run: `home` takes what the library writes.
    pub(super) fn command(&self, home: &Path, name_servers: &str, topic: &str, threads: u32) -> Command {
        let mut command = Command::new("java");
        command.args([HEAP, "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]);
        command.arg(format!("-Duser.home={}", home.display()));
        // What fails is in the history; a stack trace for each would be most of the machine's work.
        command.arg("-Drocketmq.client.logLevel=ERROR");
        command.arg("-cp").arg(format!(
            "{}:{}/*",
            classes(&self.cache).display(),
            jars(&self.cache).display()
        ));
        command.args([MAIN, name_servers, topic, &threads.to_string()]);
        command.args(self.poll_ms.map(|poll| poll.to_string()));
        command.env_remove("NAMESRV_ADDR");
        command
    }
}

fn jars(cache: &Path) -> PathBuf {
    cache.join("lib")
}

fn classes(cache: &Path) -> PathBuf {
    cache.join("classes")
}

/// Version of the runtime, which must have a compiler beside it.
fn version() -> anyhow::Result<String> {
    let java = told("java", "-version").context("the official Java client needs java, 17 or newer")?;
    told("javac", "-version").context("the official Java client needs javac: a JDK, not only a runtime")?;
    // `openjdk version "17.0.15" 2025-04-15`; Source: JEP 223.
    let version = java.split('"').nth(1).unwrap_or_default().to_owned();
    let major = version.split(['.', '-', '+']).next().and_then(|major| major.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| major >= 17),
        "the official Java client needs java 17 or newer, not {version:?}"
    );
    Ok(version)
}

/// What a program says, on whichever output.
fn told(program: &str, argument: &str) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("{program} can't be started"))?;
    let told = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{program} {argument}: {status}: {}", told.trim());
    Ok(told)
}

/// Jars by Maven, unless those of this POM are there.
fn fetch(cache: &Path) -> anyhow::Result<()> {
    let complete = cache.join("fetched.xml");
    if std::fs::read_to_string(&complete).is_ok_and(|fetched| fetched == POM) {
        return Ok(());
    }
    info!(folder = %cache.display(), "fetching the official Java client by mvn");
    let (pom, jars) = (cache.join("pom.xml"), jars(cache));
    remove(&jars)?;
    std::fs::write(&pom, POM)?;
    let Output { status, stdout, .. } = Command::new("mvn")
        .args(["-B", "-q", "-ntp", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .output()
        .context("the official Java client needs mvn the first time, to be fetched by")?;
    // Maven says on standard output what is wrong.
    ensure!(status.success(), "mvn: {status}: {}", String::from_utf8_lossy(&stdout).trim());
    let jar = jars.join(format!("rocketmq-client-{LIBRARY_VERSION}.jar"));
    ensure!(jar.exists(), "mvn has not brought {}", jar.display());
    std::fs::write(complete, POM)?;
    Ok(())
}

/// Classes by javac, unless those of this source are there.
fn compile(cache: &Path) -> anyhow::Result<()> {
    let complete = cache.join("compiled.java");
    // Against other jars it would be another program.
    let wanted = format!("{POM}{SOURCE}");
    if std::fs::read_to_string(&complete).is_ok_and(|compiled| compiled == wanted) {
        return Ok(());
    }
    let (source, classes) = (cache.join(format!("{MAIN}.java")), classes(cache));
    remove(&classes)?;
    std::fs::write(&source, SOURCE)?;
    let Output { status, stderr, .. } = Command::new("javac")
        .args(["--release", "17", "-nowarn", "-Xlint:-deprecation", "-cp"])
        .arg(jars(cache).join("*"))
        .arg("-d")
        .arg(&classes)
        .arg(&source)
        .output()
        .context("javac can't be started")?;
    ensure!(status.success(), "javac: {status}: {}", String::from_utf8_lossy(&stderr).trim());
    std::fs::write(complete, wanted)?;
    Ok(())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("{} can't be emptied: {error}", folder.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_pom() {
        assert!(POM.contains(&format!("<rocketmq.version>{LIBRARY_VERSION}</rocketmq.version>")));
        assert!(SOURCE.contains(&format!("public final class {MAIN} ")));
    }
}
