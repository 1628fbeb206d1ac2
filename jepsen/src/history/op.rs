//! One line of a history.

use serde::{Deserialize, Serialize};

/// A line: something was begun, or it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Place in the history, from 0, dense.
    pub index: u64,
    /// Nanoseconds since the run began, by a monotonic clock of the harness; never falls along the history.
    pub time: u64,
    /// Who did it. One process does one operation at a time.
    pub process: Process,
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(flatten)]
    pub act: Act,
    /// Why it failed, or why its outcome is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Process {
    /// A client, by number.
    Client(u32),
    /// The one that breaks things: `-1`.
    Nemesis(NemesisMark),
}

/// Stands as `-1` in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i8", into = "i8")]
pub struct NemesisMark;

impl From<NemesisMark> for i8 {
    fn from(_: NemesisMark) -> i8 {
        -1
    }
}

impl TryFrom<i8> for NemesisMark {
    type Error = String;

    fn try_from(number: i8) -> Result<Self, String> {
        if number == -1 { Ok(NemesisMark) } else { Err(format!("no process has the number {number}")) }
    }
}

impl Process {
    pub const NEMESIS: Process = Process::Nemesis(NemesisMark);
}

/// What a line says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It was done.
    Ok,
    /// It was certainly not done, and never will be.
    Fail,
    /// It may have been done, or may yet be.
    Info,
}

/// A message that somebody was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub queue: u32,
    pub offset: u64,
    /// The number in the body; `None` when the body is none of ours, which no checker forgives.
    pub id: Option<u64>,
    /// Key given when it was sent. Only messages whose order by key is promised have one: those sent to the queue that the
    /// key names and consumed by an orderly listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How often it was handed out before, as the broker counts.
    #[serde(default)]
    pub redelivered: u32,
}

/// What is done, and with what. Fields that only an answer knows are `None` in the `invoke` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", content = "value", rename_all = "kebab-case")]
pub enum Act {
    /// One send of one message. `id` is unique in the run; a client library that tries again does so within this operation. It
    /// may be stored once, or as often as `copies_max` says.
    Send {
        topic: String,
        id: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The queue asked for, or the one that the answer named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<u32>,
        /// Where it was stored in `topic`. `None` also for a delayed send, whose answer names another topic's place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        /// Requests of the library each of which may have stored it: in the `invoke` line at most, in the other one those that
        /// did not certainly do nothing. `None`: the library tries again only what certainly did nothing, so once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copies_max: Option<u32>,
    },
    /// A read of one queue from an offset on. `max` is the end of the queue as the answer told it (exclusive). `from` is what
    /// the broker was asked for; the messages of the answer are all that lie from there on, without a filter.
    Pull {
        topic: String,
        queue: u32,
        from: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u64>,
        #[serde(default)]
        seen: Vec<Seen>,
        /// Which replica was asked, where the read named one; `None` for wherever the client library went.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u32>,
    },
    /// A listener of a group was given a message (`invoke`), and said it is done (`ok`) or that it wants it again (`fail`).
    /// `topic` is the one it was sent to, also where it came back through the group's retry topic; then `redelivered` is not 0
    /// and the place in `seen` proves nothing. Each thread of a listener is a process.
    Consume { group: String, topic: String, seen: Seen },
    /// A group's offset of one queue is written.
    CommitOffset { group: String, topic: String, queue: u32, offset: u64 },
    /// A group's offset of one queue is read; `None` in an `ok` line: the group has none.
    ReadOffset {
        group: String,
        topic: String,
        queue: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
    },
    /// A topic is created, or changed to this many queues.
    SetTopic { topic: String, queues: u32 },
    /// A topic is deleted.
    DeleteTopic { topic: String },
    /// The number of queues of a topic is read; `None` in an `ok` line: there is no such topic.
    ReadTopic {
        topic: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queues: Option<u32>,
    },
    /// The end of a workload's writes, when faults are healed: the pulls begun after the last such line of a topic read all
    /// its queues to their ends, and groups have time to consume everything. Stands alone, or is begun and ended.
    Drained { topic: String },
    /// A fault begins (`invoke`) and is in force (`info` or `ok`), or ends, as its name says.
    Fault(Fault),
    /// Something that the harness looked at after the run: logs compared byte by byte, `flotilla log verify`. `fail`: it is
    /// wrong; `info`: it could not be looked at.
    Inspect {
        what: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        found: String,
    },
}

/// What the nemesis does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Name of the kind of fault, as on the command line: `kill-leader`, `isolate-leader`, ...
    pub fault: String,
    /// Number of this occurrence in the run; begin and end share it.
    pub number: u32,
    /// Nodes that it touches, 0 the first.
    pub nodes: Vec<u32>,
    /// `true` where the fault begins, `false` where it is healed.
    pub begins: bool,
    /// More, for readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}
