//! Who this node is: peer index, random incarnation, and what it promised when its group was formed.
//!
//! A node id has the peer index in its top 16 bits and 48 random bits below, never all zero, drawn once per data
//! folder. A node whose folder was wiped comes back under another id, so it can never vote twice in one name. The id
//! 0 belongs to nobody: it stands as the leader of the record of index 0.
//!
//! The file `identity` is replaced as a whole, little endian:
//!
//! | size | field       | meaning                                         |
//! |-----:|-------------|-------------------------------------------------|
//! |    4 | magic       | "FLID"                                          |
//! |    4 | crc         | CRC-32C of everything after this field          |
//! |    2 | version     | 1                                               |
//! |    1 | flags       | bit 0: a promise follows; bit 1: formed         |
//! |    1 | spare       | 0                                               |
//! |    8 | node        | full node id                                    |
//! |  2+n | cluster     | length and UTF-8                                |
//! |  2+n | group       | length and UTF-8                                |
//! |  4+n | promise     | length and bytes, when flag bit 0 is set        |

use std::fmt;
use std::io;
use std::path::Path;

use bytes::{Buf, BufMut};
use thiserror::Error;

use crate::record::crc32c;
use crate::vfs::{OpenMode, Vfs, replace_file};

/// Name of the file in the data folder.
pub const IDENTITY_FILE: &str = "identity";
const MAGIC: &[u8; 4] = b"FLID";
const VERSION: u16 = 1;
const INCARNATION_BITS: u32 = 48;
const INCARNATION_MASK: u64 = (1 << INCARNATION_BITS) - 1;

/// A full node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Joins a peer index and an incarnation, of which the low 48 bits count.
    ///
    /// # Panics
    /// The incarnation's low 48 bits are all zero.
    pub fn new(peer_index: u16, incarnation: u64) -> Self {
        let incarnation = incarnation & INCARNATION_MASK;
        assert!(incarnation != 0, "an incarnation is not zero");
        Self(u64::from(peer_index) << INCARNATION_BITS | incarnation)
    }

    /// Index of the configured peer.
    pub fn peer_index(self) -> u16 {
        (self.0 >> INCARNATION_BITS) as u16
    }

    /// The random part.
    pub fn incarnation(self) -> u64 {
        self.0 & INCARNATION_MASK
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}#{:012x}", self.peer_index(), self.incarnation())
    }
}

/// What a data folder says about its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the group.
    pub group: String,
    /// Full id of the node.
    pub node: NodeId,
    /// The forming token that this node promised to follow, if it has promised one.
    pub promise: Option<Vec<u8>>,
    /// True once the group exists as far as this node knows.
    pub formed: bool,
}

/// Why an identity cannot be had.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file system failed.
    #[error("identity file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The failure.
        source: io::Error,
    },
    /// The file is damaged; the node must not guess who it was.
    #[error("identity file {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What does not fit.
        reason: &'static str,
    },
}

impl Identity {
    /// A new node that has promised nothing. `random` gives the incarnation.
    pub fn new(cluster: &str, group: &str, peer_index: u16, random: u64) -> Self {
        let incarnation = if random & INCARNATION_MASK == 0 { 1 } else { random };
        Self {
            cluster: cluster.to_owned(),
            group: group.to_owned(),
            node: NodeId::new(peer_index, incarnation),
            promise: None,
            formed: false,
        }
    }

    /// Reads the identity of a data folder; `None` when the folder has none yet.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn load(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        let failed = |source| IdentityError::Io { path: path.display().to_string(), source };
        let bytes = match vfs.open(&path, OpenMode::Read) {
            Ok(file) => file.read_all().map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match Self::decode(&bytes) {
            Ok(identity) => Ok(Some(identity)),
            Err(reason) => Err(IdentityError::Damaged { path: path.display().to_string(), reason }),
        }
    }

    /// Makes the identity durable; on return it survives a power cut. Blocks for a sync.
    ///
    /// # Errors
    /// The file system failed; the old file may stand.
    pub fn store(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        let written =
            vfs.create_dir_all(dir).and_then(|()| replace_file(vfs, dir, IDENTITY_FILE, &self.encode()));
        written.map_err(|source| IdentityError::Io { path: path.display().to_string(), source })
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u16_le(VERSION);
        body.put_u8(u8::from(self.promise.is_some()) | u8::from(self.formed) << 1);
        body.put_u8(0);
        body.put_u64_le(self.node.0);
        for name in [&self.cluster, &self.group] {
            body.put_u16_le(u16::try_from(name.len()).expect("names are short"));
            body.put_slice(name.as_bytes());
        }
        if let Some(promise) = &self.promise {
            body.put_u32_le(u32::try_from(promise.len()).expect("tokens are short"));
            body.put_slice(promise);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.put_u32_le(crc32c(&body));
        bytes.extend_from_slice(&body);
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < 8 || &bytes[..4] != MAGIC {
            return Err("no magic");
        }
        bytes.advance(4);
        if bytes.get_u32_le() != crc32c(bytes) {
            return Err("checksum differs");
        }
        let short = |_| "too short";
        if bytes.try_get_u16_le().map_err(short)? != VERSION {
            return Err("unknown version");
        }
        let flags = bytes.try_get_u8().map_err(short)?;
        bytes.try_get_u8().map_err(short)?;
        let node = NodeId(bytes.try_get_u64_le().map_err(short)?);
        let mut names = [String::new(), String::new()];
        for name in &mut names {
            let size = usize::from(bytes.try_get_u16_le().map_err(short)?);
            *name = String::from_utf8(take(&mut bytes, size)?).map_err(|_| "a name is not UTF-8")?;
        }
        let promise = if flags & 1 != 0 {
            let size = bytes.try_get_u32_le().map_err(short)? as usize;
            Some(take(&mut bytes, size)?)
        } else {
            None
        };
        let [cluster, group] = names;
        if node.incarnation() == 0 || !bytes.is_empty() {
            return Err("fields do not fit");
        }
        Ok(Self { cluster, group, node, promise, formed: flags & 2 != 0 })
    }
}

fn take(bytes: &mut &[u8], size: usize) -> Result<Vec<u8>, &'static str> {
    let (taken, rest) = bytes.split_at_checked(size).ok_or("too short")?;
    *bytes = rest;
    Ok(taken.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::vfs::{Fault, Loss, MemVfs};

    fn dir() -> &'static Path {
        Path::new("/node")
    }

    #[test]
    fn node_id_keeps_index_and_incarnation() {
        let node = NodeId::new(7, 0xFFFF_1234_5678_9ABC);
        assert_eq!((node.peer_index(), node.incarnation()), (7, 0x1234_5678_9ABC));
        assert_ne!(Identity::new("c", "g", 0, 0).node.0, 0, "the id 0 belongs to nobody");
    }

    #[test]
    fn a_folder_without_identity_is_new_and_a_stored_one_is_found_again() {
        let vfs = MemVfs::new();
        vfs.create_dir_all(dir()).unwrap();
        assert_eq!(Identity::load(&vfs, dir()).unwrap(), None);
        let mut identity = Identity::new("cluster", "broker-a", 2, 99);
        identity.promise = Some(b"token".to_vec());
        identity.formed = true;
        identity.store(&vfs, dir()).unwrap();
        let vfs = vfs.restart(Loss::Everything);
        assert_eq!(Identity::load(&vfs, dir()).unwrap(), Some(identity));
    }

    #[test]
    fn a_crash_while_storing_leaves_the_old_or_the_new_promise() {
        for operation in 0.. {
            let vfs = MemVfs::new();
            let old = Identity::new("cluster", "broker-a", 2, 99);
            old.store(&vfs, dir()).unwrap();
            let new = Identity { promise: Some(vec![5; 40]), ..old.clone() };
            vfs.arm(Fault::PowerOff { operation: vfs.operations() + operation });
            let stored = new.store(&vfs, dir()).is_ok();
            for loss in
                [Loss::Nothing, Loss::Everything, Loss::KeepFirst, Loss::KeepLast, Loss::Random(operation)]
            {
                let found = Identity::load(&vfs.restart(loss), dir()).unwrap().unwrap();
                assert!(
                    found == new || (!stored && found == old),
                    "operation {operation}, {loss:?}: {found:?}"
                );
            }
            if stored {
                return;
            }
        }
    }

    #[test]
    fn a_damaged_identity_is_refused_and_names_the_file() {
        let vfs = MemVfs::new();
        Identity::new("cluster", "broker-a", 2, 99).store(&vfs, dir()).unwrap();
        vfs.damage(&dir().join(IDENTITY_FILE), 13, |byte| byte ^ 4).unwrap();
        let error = Identity::load(&vfs, dir()).unwrap_err().to_string();
        assert!(error.contains("/node/identity"), "{error}");
    }
}
