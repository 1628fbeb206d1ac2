//! The key-value table: order configuration and whatever tools put there. The one thing that a name server keeps on disk.
//!
//! File: `{"configTable":{"NAMESPACE":{"key":"value"}}}`, replaced as a whole by rename, so that a crash leaves the old or
//! the new one. Source: RocketMQ 5.3 KVConfigManager.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::limits::{KV_ENTRIES_MAX, KV_TEXT_MAX};

/// Namespace of the order configuration: topic, `broker-a:4;broker-b:4`.
/// Source: RocketMQ 5.3 NamesrvUtil.NAMESPACE_ORDER_TOPIC_CONFIG.
pub const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

/// One namespace.
pub type KvNamespace = BTreeMap<String, String>;

/// The table in memory.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct KvTable {
    #[serde(rename = "configTable", default)]
    table: BTreeMap<String, KvNamespace>,
}

/// Why an entry was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KvError {
    /// The table has as many entries as it may.
    #[error("too many key-value entries")]
    TooMany,
    /// A text is too long.
    #[error("key-value text is too long")]
    TooLong,
}

impl KvTable {
    /// Sets an entry.
    ///
    /// # Errors
    /// A bound would be passed.
    pub fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), KvError> {
        if [namespace, key, value].iter().any(|text| text.len() > KV_TEXT_MAX) {
            return Err(KvError::TooLong);
        }
        let count: usize = self.table.values().map(BTreeMap::len).sum();
        if count >= KV_ENTRIES_MAX && self.get(namespace, key).is_none() {
            return Err(KvError::TooMany);
        }
        self.table.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// An entry's value.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.table.get(namespace)?.get(key).map(String::as_str)
    }

    /// Removes an entry. An emptied namespace stays known, as it does at Apache's.
    pub fn delete(&mut self, namespace: &str, key: &str) {
        if let Some(entries) = self.table.get_mut(namespace) {
            entries.remove(key);
        }
    }

    /// All entries of a namespace; `None` when nothing was ever put there.
    pub fn namespace(&self, namespace: &str) -> Option<&KvNamespace> {
        self.table.get(namespace)
    }
}

/// The file of a table, or none.
#[derive(Clone, Debug)]
pub struct KvFile {
    path: Option<PathBuf>,
}

impl KvFile {
    /// A table that is kept in `path`; only in memory when `None`.
    pub fn new(path: Option<PathBuf>) -> KvFile {
        KvFile { path }
    }

    /// Reads the table; empty when there is no file.
    ///
    /// # Errors
    /// The file can't be read or holds no table: starting without it would answer wrongly and overwrite it later.
    pub fn load(&self) -> io::Result<KvTable> {
        let Some(path) = &self.path else { return Ok(KvTable::default()) };
        match std::fs::read(path) {
            Ok(bytes) if bytes.is_empty() => Ok(KvTable::default()),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let text = format!("{} is no key-value table: {error}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KvTable::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the table, synced. Blocks.
    ///
    /// # Errors
    /// The old file is still there.
    pub fn save(&self, table: &KvTable) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        replace_file(path, &serde_json::to_vec(table)?)
    }
}

/// Replaces a file by way of a synced neighbour, and syncs the folder.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut neighbour = path.to_owned();
    neighbour.as_mut_os_string().push(".new");
    let mut file = std::fs::File::create(&neighbour)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&neighbour, path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_table_survives_in_the_file_format_of_apache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/kvConfig.json");
        let file = KvFile::new(Some(path.clone()));
        let mut table = file.load().unwrap();
        assert_eq!(table, KvTable::default());
        table.put(ORDER_NAMESPACE, "t", "broker-a:4").unwrap();
        file.save(&table).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"t":"broker-a:4"}}}"#);
        assert_eq!(file.load().unwrap(), table);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kvConfig.json");
        std::fs::write(&path, "{\"configTable\":{").unwrap();
        let error = KvFile::new(Some(path.clone())).load().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"configTable\":{");
    }

    #[test]
    fn a_failed_save_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kvConfig.json");
        let file = KvFile::new(Some(path.clone()));
        file.save(&KvTable::default()).unwrap();
        // The neighbour can't be created where a folder stands.
        std::fs::create_dir(folder.path().join("kvConfig.json.new")).unwrap();
        let mut table = KvTable::default();
        table.put("n", "k", "v").unwrap();
        assert!(file.save(&table).is_err());
        assert_eq!(file.load().unwrap(), KvTable::default());
    }

    #[test]
    fn bounds_refuse_and_change_nothing() {
        let mut table = KvTable::default();
        let long = "x".repeat(KV_TEXT_MAX + 1);
        assert_eq!(table.put("n", "k", &long), Err(KvError::TooLong));
        for index in 0..KV_ENTRIES_MAX {
            table.table.entry("n".into()).or_default().insert(index.to_string(), String::new());
        }
        assert_eq!(table.put("n", "new", "v"), Err(KvError::TooMany));
        assert_eq!(table.put("n", "0", "v"), Ok(()));
        assert_eq!(table.get("n", "0"), Some("v"));
    }

    #[test]
    fn a_deleted_entry_leaves_its_namespace() {
        let mut table = KvTable::default();
        assert!(table.namespace("n").is_none());
        table.put("n", "k", "v").unwrap();
        table.delete("n", "k");
        table.delete("absent", "k");
        assert_eq!(table.namespace("n").map(BTreeMap::len), Some(0));
        assert!(table.namespace("absent").is_none());
    }
}
