//! A process of the `flotilla` binary. Its log goes to a file; it ends with its handle at the latest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::wait::{claim, eventually};

/// Path of the binary under test: the one that cargo has built, unless `FLOTILLA_BINARY` names another.
fn binary() -> std::ffi::OsString {
    std::env::var_os("FLOTILLA_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_flotilla").into())
}

/// A command line of the binary that reads no settings from the environment of the test.
pub fn flotilla(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLOTILLA_") || name == "NAMESRV_ADDR" || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts the binary; standard error is appended to `<name>.log` and standard output to `<name>.out` in the folder.
    pub fn start(name: &str, folder: &Path, arguments: &[&str]) -> anyhow::Result<Process> {
        Process::start_in(name, folder, arguments, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_in(
        name: &str,
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> anyhow::Result<Process> {
        let (log, out) = (folder.join(format!("{name}.log")), folder.join(format!("{name}.out")));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        let mut command = flotilla(arguments);
        command.current_dir(folder).stdout(append(&out)?).stderr(append(&log)?);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().with_context(|| format!("{name} can't be started"))?;
        Ok(Process { name: name.to_owned(), child: Mutex::new(child), log, out })
    }

    /// Name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of the process.
    pub fn id(&self) -> u32 {
        self.child.lock().id()
    }

    /// All that was written to standard error by processes of this name.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// All that was written to standard output by processes of this name.
    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.lock().try_wait()?)
    }

    /// Kill -9; returns when the process is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let child = self.child.get_mut();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops the process as a whole (SIGSTOP) and waits until each of its threads stands still.
    pub async fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.lock().id()));
        let what = format!("all threads of {} stand still", self.name);
        eventually(Duration::from_secs(5), &what, || async { all_stopped(&tasks) }).await
    }

    /// Lets a stopped process go on.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks for a graceful end without waiting for it.
    pub fn ask_to_stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits for the end.
    pub async fn end(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("{} has ended", self.name);
        eventually(limit, &what, || async {
            self.ended().map_err(|error| error.to_string())?.ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// SIGTERM, and the end with exit code 0.
    pub async fn terminate(&self, limit: Duration) -> anyhow::Result<()> {
        self.ask_to_stop()?;
        let status = self.end(limit).await?;
        if !status.success() {
            bail!("{} ended with {status}", self.name);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child.lock()), signal)
            .with_context(|| format!("{signal:?} to {}", self.name))
    }

    /// The last lines of the log, for a failed test.
    pub fn last_lines(&self, count: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(count);
        format!("---- {} (last {} lines)\n{}\n", self.name, lines.len() - from, lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}

/// The third field of `/proc/<pid>/task/<tid>/stat` is `T` while a thread is stopped.
fn all_stopped(tasks: &Path) -> Result<(), String> {
    let entries = std::fs::read_dir(tasks).map_err(|error| error.to_string())?;
    for entry in entries.flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        claim(state.is_none_or(|state| state == 'T'), format!("a thread is in state {state:?}"))?;
    }
    Ok(())
}
