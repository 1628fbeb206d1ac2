//! Reports as text.

use std::fmt;

use super::{Report, Verified};
use crate::identity::NodeId;
use crate::types::LogId;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |id: Option<LogId>| id.map_or("none".to_owned(), |id| id.to_string());
        writeln!(f, "log         {}", self.dir.display())?;
        if let Some(identity) = &self.identity {
            let formed = if identity.formed { "formed" } else { "not formed" };
            writeln!(
                f,
                "node        {} of {}/{}, {formed}",
                identity.node, identity.cluster, identity.group
            )?;
        }
        match self.vote {
            None => writeln!(f, "vote        none")?,
            Some(vote) => {
                let kind = if vote.committed { "leader" } else { "candidate" };
                writeln!(f, "vote        term {}, {kind} {}", vote.term, NodeId(vote.node))?;
            }
        }
        writeln!(f, "entries     last {} (term.index), purged {}", or_none(self.last), or_none(self.purged))?;
        writeln!(f, "committed   {} entries at least", self.committed_count)?;
        let closed = if self.clean { "closed in order" } else { "open or killed" };
        let quarantined = if self.quarantined { ", quarantined" } else { "" };
        writeln!(
            f,
            "positions   end {}, synced to {} at least, {closed}{quarantined}",
            self.end, self.synced
        )?;
        writeln!(
            f,
            "segments    {}, and {} spare ({} bytes)",
            self.segments.len(),
            self.spares.0,
            self.spares.1
        )?;
        for segment in &self.segments {
            let (first, last) =
                segment.entries.map_or((None, None), |(first, last)| (Some(first), Some(last)));
            writeln!(
                f,
                "  {:020}  {:>12} .. {:<12} {:>9} records {:>12} of {} bytes",
                segment.base,
                or_none(first),
                or_none(last),
                segment.record_count,
                segment.end - segment.base,
                segment.file_size
            )?;
        }
        writeln!(
            f,
            "checkpoints {}, boundary {}",
            self.checkpoints.len(),
            or_none(self.snapshot.map(|at| at.id))
        )?;
        for (at, installed) in &self.checkpoints {
            let from = if *installed { ", from another node" } else { "" };
            writeln!(f, "  at {:>12}  position {}{from}", at.id.to_string(), at.end)?;
        }
        for file in &self.leftovers {
            writeln!(f, "left over   {}", file.display())?;
        }
        if let Some(torn) = &self.torn_tail {
            writeln!(f, "torn tail   {} at byte {}: {}", torn.file.display(), torn.offset, torn.what)?;
        }
        if let Some(damage) = &self.damage {
            writeln!(f, "DAMAGE      {damage}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        let records: u64 = report.segments.iter().map(|segment| segment.record_count).sum();
        let bytes: u64 = report.segments.iter().map(|segment| segment.end - segment.base).sum();
        write!(
            f,
            "{}: {records} records in {} segments, {bytes} bytes, {} checkpoints: no damage",
            report.dir.display(),
            report.segments.len(),
            report.checkpoints.len()
        )?;
        if let Some(torn) = &report.torn_tail {
            write!(
                f,
                "; a record cut short in {} at byte {} is no damage",
                torn.file.display(),
                torn.offset
            )?;
        }
        Ok(())
    }
}
