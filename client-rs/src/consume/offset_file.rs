//! Offsets of a broadcasting consumer, in a file of the Java client's form.
//!
//! `<folder>/<client>/<group>/offsets.json` holds `{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:5}}`. It is
//! written beside and moved into place; the one before is kept as `offsets.json.bak`, which is read when the file can't be, or is
//! not there: a crash between the two moves leaves the copy only.
//! Source: RocketMQ 5.3 LocalFileOffsetStore, OffsetSerializeWrapper, MixAll.string2File.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flotilla_remoting::bodies::{self, MessageQueue, ResetOffsetBody};
use parking_lot::Mutex;
use tracing::warn;

use crate::error::{ClientError, Result};

/// Offsets by queue.
type Table = BTreeMap<MessageQueue, i64>;

/// The offsets and where they are kept.
pub(crate) struct OffsetFile {
    path: PathBuf,
    table: Mutex<Table>,
    /// Held over a write, so that an older table never replaces a newer one.
    writing: tokio::sync::Mutex<()>,
}

impl OffsetFile {
    /// Reads the file, else its copy; a consumer that has neither is new.
    ///
    /// # Errors
    /// `Invalid` when there is one and none can be read: starting anew would lose or repeat messages.
    pub(crate) fn open(folder: Option<&Path>, client: &str, group: &str) -> Result<OffsetFile> {
        let folder = folder.map_or_else(default_folder, Path::to_path_buf);
        let path = folder.join(client).join(group).join("offsets.json");
        let table = read_either(&path)
            .map_err(|error| ClientError::Invalid(format!("offsets in {}: {error}", path.display())))?
            .unwrap_or_default();
        Ok(OffsetFile { path, table: Mutex::new(table), writing: tokio::sync::Mutex::default() })
    }

    pub(crate) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.table.lock().get(queue).copied()
    }

    /// Sets offsets and writes the file.
    ///
    /// # Errors
    /// `Busy` when the file can't be written; the offsets are kept for the next time.
    pub(crate) async fn set(self: &Arc<Self>, offsets: &[(Arc<MessageQueue>, i64)]) -> Result<()> {
        self.table.lock().extend(offsets.iter().map(|(queue, offset)| ((**queue).clone(), *offset)));
        let _writing = self.writing.lock().await;
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = bodies::encode(&ResetOffsetBody { offset_table: this.table.lock().clone() });
            write(&this.path, &text)
        });
        let outcome = written.await.map_err(io::Error::other).and_then(|outcome| outcome);
        outcome.map_err(|error| ClientError::Busy(format!("offsets in {}: {error}", self.path.display())))
    }
}

fn default_folder() -> PathBuf {
    std::env::home_dir().unwrap_or_default().join(".rocketmq_offsets")
}

fn backup(path: &Path) -> PathBuf {
    path.with_extension("json.bak")
}

/// Offsets of the file or of its copy; `None` when there is neither.
fn read_either(path: &Path) -> io::Result<Option<Table>> {
    match read(path) {
        Ok(Some(table)) => Ok(Some(table)),
        Ok(None) => read(&backup(path)),
        Err(error) => {
            warn!(path = %path.display(), %error, "offsets can't be read: their copy is");
            match read(&backup(path))? {
                Some(table) => Ok(Some(table)),
                None => Err(error),
            }
        }
    }
}

/// Offsets of a file; `None` when there is no such file.
fn read(path: &Path) -> io::Result<Option<Table>> {
    match std::fs::read(path) {
        Ok(text) => {
            let body: ResetOffsetBody = bodies::decode(&text).map_err(io::Error::other)?;
            Ok(Some(body.offset_table))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let beside = path.with_extension("json.tmp");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    match std::fs::rename(path, backup(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::rename(&beside, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> Arc<MessageQueue> {
        Arc::new(MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id })
    }

    #[tokio::test]
    async fn offsets_come_back_in_javas_form() {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(OffsetFile::open(Some(folder.path()), "1.2.3.4@DEFAULT", "g").unwrap());
        file.set(&[(queue(0), 5)]).await.unwrap();
        file.set(&[(queue(1), 7)]).await.unwrap();
        let path = folder.path().join("1.2.3.4@DEFAULT/g/offsets.json");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:5,{"brokerName":"b","queueId":1,"topic":"t"}:7}}"#
        );
        let again = OffsetFile::open(Some(folder.path()), "1.2.3.4@DEFAULT", "g").unwrap();
        assert_eq!(
            (again.get(&queue(0)), again.get(&queue(1)), again.get(&queue(2))),
            (Some(5), Some(7), None)
        );
    }

    #[tokio::test]
    async fn a_torn_file_falls_back_to_its_copy_and_two_torn_ones_stop_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(OffsetFile::open(Some(folder.path()), "c", "g").unwrap());
        file.set(&[(queue(0), 5)]).await.unwrap();
        file.set(&[(queue(0), 6)]).await.unwrap();
        let path = folder.path().join("c/g/offsets.json");
        std::fs::write(&path, "{\"offsetTa").unwrap();
        let again = OffsetFile::open(Some(folder.path()), "c", "g").unwrap();
        assert_eq!(again.get(&queue(0)), Some(5));
        std::fs::write(backup(&path), "{").unwrap();
        assert!(matches!(OffsetFile::open(Some(folder.path()), "c", "g"), Err(ClientError::Invalid(_))));
    }

    #[tokio::test]
    async fn a_missing_file_falls_back_to_its_copy_and_a_damaged_one_without_copy_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let open = || OffsetFile::open(Some(folder.path()), "c", "g");
        let file = Arc::new(open().unwrap());
        file.set(&[(queue(0), 5)]).await.unwrap();
        // A crash between the two moves of a write.
        let path = folder.path().join("c/g/offsets.json");
        std::fs::rename(&path, backup(&path)).unwrap();
        let again = Arc::new(open().unwrap());
        assert_eq!(again.get(&queue(0)), Some(5));
        again.set(&[(queue(0), 6)]).await.unwrap();
        assert_eq!(open().unwrap().get(&queue(0)), Some(6));
        std::fs::remove_file(backup(&path)).unwrap();
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(open(), Err(ClientError::Invalid(_))));
    }
}
