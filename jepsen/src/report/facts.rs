//! `run.json`: what a history can't tell of its run.
//!
//! A run folder holds `history.jsonl`, `run.json` and the logs that `run.json` names.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::checker::Limit;

/// Everything one needs to understand a run and to do it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    pub seed: u64,
    /// The command line that does the run again, one argument each, the program first.
    pub command: Vec<String>,
    pub workload: String,
    /// Kinds of fault that were allowed, as on the command line.
    pub nemeses: Vec<String>,
    pub server: ServerFacts,
    /// Brokers, in the order of the numbers in [`Fault::nodes`](crate::history::Fault::nodes).
    pub nodes: Vec<NodeFacts>,
    #[serde(default)]
    pub name_servers: Vec<NodeFacts>,
    /// When time 0 of the history was, in milliseconds since 1970 (UTC).
    pub started_at_ms: u64,
    /// How long the run was meant to last.
    pub seconds: u64,
    /// Longest time without acknowledgements that is forgiven, by kind of fault. A kind without a limit is measured, not
    /// judged.
    #[serde(default)]
    pub limits: BTreeMap<String, Limit>,
    /// Names of checkers that must have found something to judge; without it their verdict is unknown. Keeps a workload
    /// that did nothing from passing.
    #[serde(default)]
    pub must_judge: Vec<String>,
    /// Anything else whose version matters (`flotilla-jepsen`, `java`, ...).
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    pub machine: Machine,
}

/// What was tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// `flotilla`, or `rocketmq-dledger`.
    pub kind: String,
    pub version: String,
    /// Flush mode and whatever else was set, for readers.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// A process that was tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    pub name: String,
    pub address: String,
    /// Its logs, relative to the run folder, the oldest first.
    #[serde(default)]
    pub logs: Vec<String>,
}

/// Where it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub memory_mib: u64,
    pub processor: String,
    pub kernel: String,
}

impl RunFacts {
    pub const FILE: &'static str = "run.json";

    /// # Errors
    /// The file is missing or is not what [`RunFacts::save`] writes.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} does not hold a run", path.display()))
    }

    /// Writes `run.json` into `folder`.
    ///
    /// # Errors
    /// The file system refused.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(Self::FILE);
        let text = serde_json::to_string_pretty(self).context("a run can't be written as JSON")?;
        std::fs::write(&path, text + "\n").with_context(|| format!("{} can't be written", path.display()))
    }

    /// The command line, quoted for a shell.
    pub fn command_line(&self) -> String {
        let quoted: Vec<String> = self.command.iter().map(|argument| shell_quoted(argument)).collect();
        quoted.join(" ")
    }
}

impl Machine {
    /// The machine at hand. What Linux does not tell is empty or 0.
    pub fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kib =
            field(&memory, "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse().ok());
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Machine {
            cores,
            memory_mib: memory_kib.unwrap_or(0u64) / 1024,
            processor: field(&processors, "model name").unwrap_or_default().to_owned(),
            kernel,
        }
    }
}

/// The value in the first line `name: value` of a file of `/proc`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn shell_quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::checker::CountFrom;

    use super::*;

    pub(crate) fn facts() -> RunFacts {
        RunFacts {
            seed: 42,
            command: vec!["flotilla-jepsen".into(), "run".into(), "--note".into(), "it's".into()],
            workload: "queue".into(),
            nemeses: vec!["kill-leader".into()],
            server: ServerFacts {
                kind: "flotilla".into(),
                version: "0.1.0".into(),
                settings: BTreeMap::new(),
            },
            nodes: vec![],
            name_servers: vec![],
            started_at_ms: 1_790_000_000_000,
            seconds: 60,
            limits: BTreeMap::from([(
                "kill-leader".into(),
                Limit { outage_ms: 2000, from: CountFrom::Begin },
            )]),
            must_judge: vec![],
            versions: BTreeMap::new(),
            machine: Machine::here(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().expect("a folder");
        facts().save(folder.path()).expect("saved");
        let loaded = RunFacts::load(&folder.path().join(RunFacts::FILE)).expect("loaded");
        assert_eq!(loaded, facts());
    }

    #[test]
    fn the_command_line_can_be_pasted_into_a_shell() {
        assert_eq!(facts().command_line(), r"flotilla-jepsen run --note 'it'\''s'");
    }

    #[test]
    fn the_machine_is_known() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.kernel.is_empty(), "{machine:?}");
    }
}
