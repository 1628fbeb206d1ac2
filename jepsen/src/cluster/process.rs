//! A process under test. Its output goes to a file; it ends with its handle at the latest.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::wait::eventually;

/// A running process, or one that has ended by itself.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    paused: bool,
}

impl Process {
    /// Starts a command in a process group of its own, so that Ctrl-C in a terminal reaches the harness only. Standard
    /// output and error are appended to `log`.
    ///
    /// # Errors
    /// The command can't be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Process> {
        let append = || File::options().create(true).append(true).open(log);
        command.stdin(Stdio::null()).stdout(append()?).stderr(append()?).process_group(0);
        let child = command.spawn().with_context(|| format!("{name} can't be started: {command:?}"))?;
        Ok(Process { name: name.to_owned(), child, paused: false })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kill -9; returns when the process is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// It has ended.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.paused = true;
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It has ended.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.paused = false;
        self.signal(Signal::CONT)
    }

    /// Claims that it was stopped by [`Process::pause`].
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// SIGTERM, then waits; kills it when the time is up. Gives how it ended, if it did so in time.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn terminate(mut self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        if self.paused {
            // One that stands still would not hear of it.
            self.resume()?;
        }
        self.signal(Signal::TERM)?;
        let what = format!("{} ends", self.name);
        let look = || std::future::ready(self.child.try_wait().ok().flatten().ok_or("it runs"));
        Ok(eventually(limit, &what, look).await.ok())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("{signal:?} to {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}
