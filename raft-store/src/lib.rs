//! The replicated log on disk and the Raft group on top of it.
//!
//! The log knows nothing of messages: an entry is a payload that a [`Stamper`] numbers when its place in the log is
//! final. [`log`] is the log itself (segments, writer, recovery), [`vfs`] the files below it; what stands beside the log
//! has modules of its own.

pub mod identity;
pub mod log;
pub mod net;
pub mod peers;
pub mod raft;
pub mod record;
pub mod types;
pub mod vfs;
pub mod wall_clock;

pub use log::{
    AppendError, Body, Checkpoint, CheckpointInfo, Checkpoints, Clock, Damage, Draft, Driver, Fault,
    GroupDone, Installed, Log, LogObserver, LogOptions, LogReader, LogWork, OpenError, Recovered,
    RecoveredVote, RecoveryVisitor, SegmentInfo, Space, StateSource, SystemClock, TornTail, WriterMode,
};
pub use log::{InspectError, Report, SegmentReport, Verified, inspect, verify};
pub use record::{RECORD_HEADER_SIZE, Record, RecordError, RecordHeader};
pub use types::{ChainPoint, Done, EntryKind, FlushMode, LogId, NoStamper, StampError, Stamper, Vote};
