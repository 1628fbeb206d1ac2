//! What is known about the log from one run to the next: the vote, how far the disk holds it, how far it is committed.
//!
//! Both files have two slots ([`super::slots`]). The vote's is written whole, both slots, at every vote. The marks' is
//! written one slot at a time at most once a second, because a lower bound serves as well as the truth; only where a
//! mark has to go *down* (a truncation) both slots are written, before anything else is touched.
//!
//! Vote body: `1 set | 8 term | 8 node | 1 committed`. Marks body: `8 synced | 8 committed index + 1 | 16 boot id |
//! 1 clean | 1 async | 1 quarantined`.

use std::io;
use std::path::Path;

use flotilla_mutants::{self as mutants, Mutant};

use super::slots::{Found, SlotFile};
use crate::record::u64_at;
use crate::types::{FlushMode, Vote};
use crate::vfs::Vfs;

pub(crate) const VOTE_FILE: &str = "vote";
pub(crate) const MARKS_FILE: &str = "marks";
const VOTE_MAGIC: [u8; 4] = *b"FLVT";
const MARKS_MAGIC: [u8; 4] = *b"FLMK";

/// The marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Position below which the disk holds everything.
    pub(crate) synced: u64,
    /// Number of committed entries, that is, the highest committed index plus one.
    pub(crate) committed_count: u64,
    /// The machine's start during which the log was open.
    pub(crate) boot: [u8; 16],
    /// True when the log was closed in order.
    pub(crate) clean: bool,
    /// How the log was flushed.
    pub(crate) flush: FlushMode,
    /// True from an unclean stop of the machine under [`FlushMode::Async`] until released.
    pub(crate) quarantined: bool,
}

/// What a slot file was found to hold.
#[derive(Debug)]
pub(crate) enum Kept<F, T> {
    Missing,
    Damaged,
    Valid(F, T),
}

/// The open vote file.
#[derive(Debug)]
pub(crate) struct VoteFile(SlotFile);

/// The open marks file.
#[derive(Debug)]
pub(crate) struct MarksFile {
    file: SlotFile,
    last: Marks,
}

impl VoteFile {
    pub(crate) fn create(vfs: &dyn Vfs, dir: &Path, vote: Option<Vote>) -> io::Result<Self> {
        SlotFile::create(vfs, dir, VOTE_FILE, VOTE_MAGIC, &encode_vote(vote)).map(Self)
    }

    /// Opens the file and gives both slots the newest vote, so that no older one can come back.
    pub(crate) fn open(vfs: &dyn Vfs, dir: &Path) -> io::Result<Kept<Self, Option<Vote>>> {
        match SlotFile::open(vfs, dir, VOTE_FILE, VOTE_MAGIC)? {
            Found::Missing => Ok(Kept::Missing),
            Found::Damaged => Ok(Kept::Damaged),
            Found::Valid { mut file, body, both } => match decode_vote(&body) {
                None => Ok(Kept::Damaged),
                Some(vote) => {
                    if !both {
                        file.write_both(&body)?;
                    }
                    Ok(Kept::Valid(Self(file), vote))
                }
            },
        }
    }

    /// Reads the vote and changes nothing.
    pub(crate) fn peek(vfs: &dyn Vfs, dir: &Path) -> io::Result<Kept<(), Option<Vote>>> {
        Ok(match SlotFile::peek(vfs, dir, VOTE_FILE, VOTE_MAGIC)? {
            Found::Missing => Kept::Missing,
            Found::Damaged => Kept::Damaged,
            Found::Valid { body, .. } => {
                decode_vote(&body).map_or(Kept::Damaged, |vote| Kept::Valid((), vote))
            }
        })
    }

    pub(crate) fn save(&mut self, vote: Vote) -> io::Result<()> {
        if mutants::on(Mutant::ForgetVote) {
            return Ok(());
        }
        self.0.write_both(&encode_vote(Some(vote)))
    }
}

impl MarksFile {
    pub(crate) fn create(vfs: &dyn Vfs, dir: &Path, marks: Marks) -> io::Result<Self> {
        let file = SlotFile::create(vfs, dir, MARKS_FILE, MARKS_MAGIC, &encode_marks(&marks))?;
        Ok(Self { file, last: marks })
    }

    pub(crate) fn open(vfs: &dyn Vfs, dir: &Path) -> io::Result<Kept<Self, Marks>> {
        Ok(match SlotFile::open(vfs, dir, MARKS_FILE, MARKS_MAGIC)? {
            Found::Missing => Kept::Missing,
            Found::Damaged => Kept::Damaged,
            Found::Valid { file, body, .. } => match decode_marks(&body) {
                None => Kept::Damaged,
                Some(last) => Kept::Valid(Self { file, last }, last),
            },
        })
    }

    /// Reads the marks and changes nothing.
    pub(crate) fn peek(vfs: &dyn Vfs, dir: &Path) -> io::Result<Kept<(), Marks>> {
        Ok(match SlotFile::peek(vfs, dir, MARKS_FILE, MARKS_MAGIC)? {
            Found::Missing => Kept::Missing,
            Found::Damaged => Kept::Damaged,
            Found::Valid { body, .. } => {
                decode_marks(&body).map_or(Kept::Damaged, |marks| Kept::Valid((), marks))
            }
        })
    }

    /// The marks as they were written last.
    pub(crate) fn last(&self) -> Marks {
        self.last
    }

    /// Writes and syncs marks that only went up.
    pub(crate) fn raise(&mut self, marks: Marks) -> io::Result<()> {
        assert!(marks.synced >= self.last.synced, "the synced mark goes down only by `put`");
        if marks != self.last {
            self.file.write_one(&encode_marks(&marks))?;
            self.last = marks;
        }
        Ok(())
    }

    /// Writes and syncs marks so that no earlier ones can come back.
    pub(crate) fn put(&mut self, marks: Marks) -> io::Result<()> {
        self.file.write_both(&encode_marks(&marks))?;
        self.last = marks;
        Ok(())
    }
}

fn encode_vote(vote: Option<Vote>) -> Vec<u8> {
    let mut body = vec![0; 18];
    if let Some(vote) = vote {
        body[0] = 1;
        body[1..9].copy_from_slice(&vote.term.to_le_bytes());
        body[9..17].copy_from_slice(&vote.node.to_le_bytes());
        body[17] = u8::from(vote.committed);
    }
    body
}

fn decode_vote(body: &[u8]) -> Option<Option<Vote>> {
    match (body.len(), body.first()) {
        (18, Some(0)) => Some(None),
        (18, Some(1)) => {
            Some(Some(Vote { term: u64_at(body, 1), node: u64_at(body, 9), committed: body[17] != 0 }))
        }
        _ => None,
    }
}

fn encode_marks(marks: &Marks) -> Vec<u8> {
    let mut body = Vec::with_capacity(35);
    body.extend_from_slice(&marks.synced.to_le_bytes());
    body.extend_from_slice(&marks.committed_count.to_le_bytes());
    body.extend_from_slice(&marks.boot);
    body.push(u8::from(marks.clean));
    body.push(u8::from(marks.flush == FlushMode::Async));
    body.push(u8::from(marks.quarantined));
    body
}

fn decode_marks(body: &[u8]) -> Option<Marks> {
    (body.len() == 35).then(|| Marks {
        synced: u64_at(body, 0),
        committed_count: u64_at(body, 8),
        boot: body[16..32].try_into().expect("sixteen bytes"),
        clean: body[32] != 0,
        flush: if body[33] != 0 { FlushMode::Async } else { FlushMode::Sync },
        quarantined: body[34] != 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::log::slots::SLOT_SIZE;
    use crate::vfs::{Fault, Loss, MemVfs};

    const LOSSES: [Loss; 6] =
        [Loss::Nothing, Loss::Everything, Loss::KeepFirst, Loss::KeepLast, Loss::Random(1), Loss::Random(2)];

    fn disk() -> MemVfs {
        let vfs = MemVfs::new();
        vfs.create_dir_all(Path::new("/d")).unwrap();
        vfs
    }

    fn vote(term: u64) -> Vote {
        Vote { term, node: 77, committed: term.is_multiple_of(2) }
    }

    /// Rule 7: after a crash anywhere in a save the vote is the last one that was acknowledged or the one in flight;
    /// it is never missing.
    #[test]
    fn rule_7_a_vote_never_goes_back_and_never_disappears() {
        for operation in 0..12 {
            for loss in LOSSES {
                let vfs = disk();
                let mut file = VoteFile::create(&vfs, Path::new("/d"), None).unwrap();
                vfs.arm(Fault::PowerOff { operation: vfs.operations() + operation });
                let mut saved = 0;
                for term in 1..=3 {
                    if file.save(vote(term)).is_err() {
                        break;
                    }
                    saved = term;
                }
                let Kept::Valid(_, found) = VoteFile::open(&vfs.restart(loss), Path::new("/d")).unwrap()
                else {
                    panic!("the vote is gone after a crash at operation {operation} with {loss:?}");
                };
                let term = found.map_or(0, |vote| vote.term);
                assert!(
                    term == saved || term == saved + 1,
                    "term {term} after {saved}, operation {operation}"
                );
            }
        }
    }

    #[cfg(feature = "faults")]
    #[test]
    fn as_a_mutant_a_restart_forgets_the_vote() {
        let vfs = disk();
        let mut file = VoteFile::create(&vfs, Path::new("/d"), None).unwrap();
        mutants::while_on(Mutant::ForgetVote, || file.save(vote(1))).unwrap();
        let found = VoteFile::open(&vfs.restart(Loss::Nothing), Path::new("/d")).unwrap();
        assert!(matches!(found, Kept::Valid(_, None)));
    }

    /// Rule 7: one rotten slot costs nothing; two are reported, not replaced by a default.
    #[test]
    fn rule_7_rot_in_one_slot_does_not_bring_an_old_vote_back() {
        let path = Path::new("/d").join(VOTE_FILE);
        for slot in 0..2_u64 {
            let vfs = disk();
            let mut file = VoteFile::create(&vfs, Path::new("/d"), None).unwrap();
            file.save(vote(1)).unwrap();
            file.save(vote(2)).unwrap();
            vfs.damage(&path, slot * SLOT_SIZE as u64 + 25, |byte| byte ^ 8).unwrap();
            let Kept::Valid(_, found) = VoteFile::open(&vfs, Path::new("/d")).unwrap() else {
                panic!("no vote")
            };
            assert_eq!(found, Some(vote(2)));
            vfs.damage(&path, (1 - slot) * SLOT_SIZE as u64 + 25, |byte| byte ^ 8).unwrap();
            let Kept::Valid(_, found) = VoteFile::open(&vfs, Path::new("/d")).unwrap() else {
                panic!("not healed")
            };
            assert_eq!(found, Some(vote(2)), "the first opening healed the other slot");
        }
    }

    #[test]
    fn a_mark_that_was_put_down_stays_down() {
        let at = |synced| Marks {
            synced,
            committed_count: 5,
            boot: [7; 16],
            clean: false,
            flush: FlushMode::Async,
            quarantined: true,
        };
        let vfs = disk();
        let mut file = MarksFile::create(&vfs, Path::new("/d"), at(0)).unwrap();
        file.raise(at(900)).unwrap();
        file.put(at(300)).unwrap();
        for slot in 0..2_u64 {
            let rotten = vfs.restart(Loss::Everything);
            rotten.damage(&Path::new("/d").join(MARKS_FILE), slot * 4096 + 20, |byte| byte ^ 1).unwrap();
            let Kept::Valid(_, marks) = MarksFile::open(&rotten, Path::new("/d")).unwrap() else {
                panic!("lost")
            };
            assert_eq!(marks, at(300));
        }
    }
}
