//! One text per key out of all sources, with the place that it came from.
//!
//! Weakest to strongest: default, environment `NAMESRV_ADDR` (as RocketMQ's own broker reads it), the file,
//! environment `FLOTILLA_<KEY>`, `--set key=value`. An environment name is the key in upper case; underscores
//! don't count, so `FLOTILLA_BROKER_IP1`, `FLOTILLA_BROKERIP1` and `FLOTILLA_DLEGER_PEERS` all find their key.

use std::fmt;

use super::keys::{Effect, Key, Table};
use super::nearest::nearest;
use super::properties;

/// What the caller read: nothing in here touches files or the environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Name as the user gave it, and content.
    pub file: Option<(String, Vec<u8>)>,
    /// All variables; those that concern nobody here are skipped.
    pub environment: Vec<(String, String)>,
    /// `key=value` texts of `--set`, in order.
    pub overrides: Vec<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    Environment(String),
    File { name: String, line: u32 },
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::CommandLine => f.write_str("--set"),
        }
    }
}

/// The value of one key, already checked against the key's kind.
#[derive(Debug, Clone)]
pub struct Setting {
    pub key: &'static Key,
    pub text: String,
    pub origin: Origin,
}

/// One setting per row of the table, in its order.
#[derive(Debug, Clone)]
pub struct Settings {
    rows: Vec<Setting>,
    unknown: Vec<Unknown>,
    home: Option<String>,
}

/// A key that no table has. It is ignored with a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    pub value: String,
    pub origin: Origin,
    /// The known name that was probably meant.
    pub nearest: Option<&'static str>,
}

/// A line for the log at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    Info(String),
    Warning(String),
}

impl Note {
    pub fn text(&self) -> &str {
        match self {
            Self::Info(text) | Self::Warning(text) => text,
        }
    }
}

/// The configuration can't be started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One line per problem, at least one.
    pub problems: Vec<String>,
    /// Warnings met on the way: a misspelt key may be the cause.
    pub warnings: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "configuration refused: {only}")?,
            many => write!(f, "configuration refused:\n  - {}", many.join("\n  - "))?,
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\n  warning: {warning}"))
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// `Ok` when nothing was found.
    pub(super) fn of(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems, warnings: Vec::new() }) }
    }

    pub(super) fn with_warnings(self, notes: &[Note]) -> Self {
        let warnings = notes.iter().filter(|note| matches!(note, Note::Warning(_)));
        Self { warnings: warnings.map(|note| note.text().to_owned()).collect(), ..self }
    }
}

impl Settings {
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.rows.iter()
    }

    pub fn unknown(&self) -> &[Unknown] {
        &self.unknown
    }

    /// The setting of a key of the table.
    ///
    /// # Panics
    /// When the table has no such row; `typed` asks for names of the table only.
    pub fn get(&self, name: &str) -> &Setting {
        let found = self.rows.iter().find(|row| row.key.name == name);
        found.unwrap_or_else(|| panic!("configuration table has no row {name}"))
    }

    /// Home folder of the user, for paths that start with `~/`.
    pub(super) fn home(&self) -> Option<&str> {
        self.home.as_deref()
    }
}

impl Setting {
    /// True when any source, rather than the default, gave the value.
    pub fn is_given(&self) -> bool {
        self.origin != Origin::Default
    }

    /// The value as it may be shown.
    pub fn shown(&self) -> String {
        self.key.shown(&self.text)
    }

    /// `key=value (origin)`, as messages name a setting.
    pub fn named(&self) -> String {
        format!("{}={} ({})", self.key.name, self.shown(), self.origin)
    }
}

/// What the sources say, however wrong.
#[derive(Debug, Clone)]
pub struct Merged {
    /// A value that can't be read leaves what a weaker source said.
    pub settings: Settings,
    pub notes: Vec<Note>,
    /// One line per value that can't be read.
    pub problems: Vec<String>,
}

impl Merged {
    /// The settings and what to say of them.
    ///
    /// # Errors
    /// All values that can't be read.
    pub fn sound(self) -> Result<(Settings, Vec<Note>), ConfigError> {
        ConfigError::of(self.problems).map_err(|error| error.with_warnings(&self.notes))?;
        Ok((self.settings, self.notes))
    }
}

/// Merges all sources and checks each value against its kind.
pub fn merge(table: Table, sources: &Sources) -> Merged {
    let home = sources.environment.iter().find(|(name, _)| name == "HOME").map(|(_, value)| value.clone());
    let rows = table.iter().map(|key| Setting { key, text: key.default.to_owned(), origin: Origin::Default });
    let mut merging = Merging {
        table,
        settings: Settings { rows: rows.collect(), unknown: Vec::new(), home },
        notes: Vec::new(),
        problems: Vec::new(),
    };
    merging.conventional_environment(sources);
    merging.file(sources);
    merging.own_environment(sources);
    merging.overrides(sources);
    merging.tell_what_has_no_effect();
    let Merging { settings, notes, problems, .. } = merging;
    Merged { settings, notes, problems }
}

struct Merging {
    table: Table,
    settings: Settings,
    notes: Vec<Note>,
    problems: Vec<String>,
}

impl Merging {
    // Source: RocketMQ 5.3 BrokerConfig, field namesrvAddr.
    fn conventional_environment(&mut self, sources: &Sources) {
        for (name, value) in sources.environment.iter().filter(|(name, _)| name == "NAMESRV_ADDR") {
            self.set("namesrvAddr", value, Origin::Environment(name.clone()));
        }
    }

    fn file(&mut self, sources: &Sources) {
        let Some((file, bytes)) = &sources.file else { return };
        let properties = match properties::parse(bytes) {
            Ok(properties) => properties,
            Err(error) => return self.problems.push(format!("{file}: {error}")),
        };
        for property in properties {
            let origin = Origin::File { name: file.clone(), line: property.line };
            self.set(&property.key, &property.value, origin);
        }
    }

    fn own_environment(&mut self, sources: &Sources) {
        let mut own: Vec<_> = sources
            .environment
            .iter()
            .filter_map(|(name, value)| Some((name, name.strip_prefix(ENVIRONMENT_PREFIX)?, value)))
            .filter(|(_, short, _)| !ENVIRONMENT_OF_THE_COMMAND.contains(short))
            .collect();
        own.sort();
        for (name, short, value) in own {
            let folded: String = short.chars().filter(|character| *character != '_').collect();
            self.set(&folded, value, Origin::Environment(name.clone()));
        }
    }

    fn overrides(&mut self, sources: &Sources) {
        for text in &sources.overrides {
            match text.split_once('=') {
                Some((key, value)) => self.set(key.trim(), value, Origin::CommandLine),
                None => self.problems.push(format!("--set {text}: expected key=value")),
            }
        }
    }

    fn set(&mut self, name: &str, value: &str, origin: Origin) {
        let is_environment = matches!(origin, Origin::Environment(_));
        let Some(row) = self.table.find(name, is_environment) else {
            let unknown = self.unknown(name, value, origin);
            self.notes.push(Note::Warning(unknown.to_string()));
            self.settings.unknown.push(unknown);
            return;
        };
        let setting = &mut self.settings.rows[row];
        let value = value.trim();
        if let Err(reason) = setting.key.kind.check(value) {
            let value = setting.key.shown(value);
            self.problems.push(format!("{}={value} ({origin}): {reason}", setting.key.name));
            return;
        }
        let repeats = same_place(&setting.origin, &origin) && setting.text != value;
        if repeats {
            let text = format!("{} ({origin}) replaces {}", setting.key.name, setting.named());
            self.notes.push(Note::Warning(text));
        }
        setting.text = value.to_owned();
        setting.origin = origin;
    }

    fn unknown(&self, name: &str, value: &str, origin: Origin) -> Unknown {
        let known =
            self.table.iter().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
        Unknown { name: name.to_owned(), value: value.to_owned(), origin, nearest: nearest(name, known) }
    }

    fn tell_what_has_no_effect(&mut self) {
        for setting in self.settings.rows.iter().filter(|setting| setting.is_given()) {
            if let Effect::None(because) = setting.key.effect {
                let text = format!("{}: accepted, no effect, because {because}", setting.named());
                self.notes.push(Note::Info(text));
            }
        }
    }
}

const ENVIRONMENT_PREFIX: &str = "FLOTILLA_";

/// Variables that the command line itself reads; they are no configuration keys.
const ENVIRONMENT_OF_THE_COMMAND: [&str; 5] =
    ["LOG_LEVEL", "LOG_FORMAT", "CLOCK_OFFSET_FILE", "POWER_LOSS", "MUTANT"];

/// Two values of one key in one file, one environment or one command line: the first is lost.
fn same_place(before: &Origin, now: &Origin) -> bool {
    match (before, now) {
        (Origin::File { .. }, Origin::File { .. }) | (Origin::CommandLine, Origin::CommandLine) => true,
        (Origin::Environment(before), Origin::Environment(now)) => {
            before.starts_with(ENVIRONMENT_PREFIX) && now.starts_with(ENVIRONMENT_PREFIX)
        }
        _ => false,
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Environment(variable) => f.write_str(variable)?,
            _ => write!(f, "{} ({})", self.name, self.origin)?,
        }
        f.write_str(": unknown key, ignored")?;
        self.nearest.map_or(Ok(()), |near| write!(f, "; did you mean {near}?"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::keys::BROKER;
    use super::*;

    fn merge(sources: &Sources) -> Result<(Settings, Vec<Note>), ConfigError> {
        super::merge(BROKER, sources).sound()
    }

    fn sources(file: &str, environment: &[(&str, &str)], overrides: &[&str]) -> Sources {
        Sources {
            file: Some(("n0.properties".to_owned(), file.as_bytes().to_vec())),
            environment: environment.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            overrides: overrides.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_stronger_source_wins_and_is_named() {
        let file = "listenPort=1\nbrokerName=from-file\n# c\nbrokerClusterName=from-file\nregionId=file";
        let environment =
            [("FLOTILLA_BROKER_NAME", "from-env"), ("FLOTILLA_BROKER_CLUSTER_NAME", "from-env")];
        let (settings, notes) =
            merge(&sources(file, &environment, &["brokerClusterName = from-set"])).unwrap();
        let shown = |name: &str| {
            let setting = settings.get(name);
            (setting.text.clone(), setting.origin.to_string())
        };
        assert_eq!(shown("listenPort"), ("1".into(), "n0.properties:1".into()));
        assert_eq!(shown("brokerName"), ("from-env".into(), "environment FLOTILLA_BROKER_NAME".into()));
        assert_eq!(shown("brokerClusterName"), ("from-set".into(), "--set".into()));
        assert_eq!(shown("regionId"), ("file".into(), "n0.properties:5".into()));
        assert_eq!(shown("maxMessageSize"), ("4194304".into(), "default".into()));
        assert_eq!(notes, []);
    }

    #[test]
    fn environment_names_match_without_regard_to_underscores() {
        for name in ["FLOTILLA_D_LEGER_PEERS", "FLOTILLA_DLEGER_PEERS", "FLOTILLA_DLEGERPEERS"] {
            let (settings, _) = merge(&sources("", &[(name, "n0-a:1")], &[])).unwrap();
            assert_eq!(settings.get("dLegerPeers").text, "n0-a:1", "{name}");
        }
    }

    #[test]
    fn namesrv_addr_is_weaker_than_the_file() {
        let environment = [("NAMESRV_ADDR", "env:9876"), ("FLOTILLA_LOG_LEVEL", "debug"), ("PATH", "/bin")];
        let (settings, notes) = merge(&sources("", &environment, &[])).unwrap();
        assert_eq!(settings.get("namesrvAddr").text, "env:9876");
        assert_eq!(notes, []);
        let (settings, _) = merge(&sources("namesrvAddr=file:9876", &environment, &[])).unwrap();
        assert_eq!(settings.get("namesrvAddr").text, "file:9876");
    }

    #[test]
    fn an_unknown_key_is_a_warning_with_the_nearest_name() {
        let unknown = sources("\ndLedgerPeers=x", &[("FLOTILLA_LISTEN_PROT", "1")], &["abcdefghijk=1"]);
        let (_, notes) = merge(&unknown).unwrap();
        let texts: Vec<_> = notes.iter().map(Note::text).collect();
        assert_eq!(
            texts,
            [
                "dLedgerPeers (n0.properties:2): unknown key, ignored; did you mean dLegerPeers?",
                "FLOTILLA_LISTEN_PROT: unknown key, ignored; did you mean listenPort?",
                "abcdefghijk (--set): unknown key, ignored",
            ]
        );
    }

    #[test]
    fn every_bad_value_is_listed() {
        let bad = sources("listenPort=99999\nautoCreateTopicEnable=yes", &[], &["flushDiskType=NEVER", "x"]);
        let error = merge(&bad).unwrap_err();
        assert_eq!(error.problems.len(), 4, "{error}");
        assert!(error.to_string().contains("listenPort=99999 (n0.properties:1)"), "{error}");
        assert!(error.to_string().contains("SYNC_FLUSH"), "{error}");
    }

    #[test]
    fn a_key_without_effect_says_why_and_a_repeated_key_is_told() {
        let (settings, notes) =
            merge(&sources("haListenPort=10912\nlistenPort=1\nlistenPort=2", &[], &[])).unwrap();
        assert_eq!(settings.get("listenPort").text, "2");
        let texts: Vec<_> = notes.iter().map(Note::text).collect();
        assert!(texts[0].contains("replaces listenPort=1 (n0.properties:2)"), "{texts:?}");
        assert!(texts[1].starts_with("haListenPort=10912 (n0.properties:1): accepted, no effect, because"));
    }

    #[test]
    fn an_old_spelling_sets_the_key_of_today() {
        let (settings, _) = merge(&sources("mapedFileSizeCommitLog=1048576", &[], &[])).unwrap();
        assert_eq!(settings.get("mappedFileSizeCommitLog").text, "1048576");
    }
}
