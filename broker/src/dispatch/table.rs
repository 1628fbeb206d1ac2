//! The rows: which code runs where, how long it may be held, and who handles it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::code::RequestCode;

use super::Handler;
use crate::metrics::{Metrics, RpcMetrics};

/// Where a call has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Any replica answers by itself.
    Local,
    /// Only the leader answers; other replicas forward.
    Leader,
    /// Any replica answers when it finds what is asked for; its handler forwards what it does not find.
    LocalIfFound,
}

/// What a call does to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads applied state.
    Read,
    /// Puts something into the log.
    Propose,
    /// Concerns the connection and the group memberships behind it.
    Session,
}

/// One request code.
pub struct Row {
    pub code: RequestCode,
    pub placement: Placement,
    pub access: Access,
    /// Longest time that the call is kept waiting for a leader or for its entry; below what clients wait.
    pub hold: Duration,
    pub handler: Arc<dyn Handler>,
    /// Counters of its answers.
    pub rpc: Arc<RpcMetrics>,
}

/// What a row says of itself, without its handler.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub code: RequestCode,
    pub placement: Placement,
    pub access: Access,
    pub hold: Duration,
}

/// All rows of a node.
pub struct Table {
    rows: HashMap<i32, Row>,
    metrics: Metrics,
}

impl Table {
    pub fn new(metrics: Metrics) -> Self {
        Self { rows: HashMap::new(), metrics }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// A code has one row.
    pub fn add(
        &mut self,
        code: RequestCode,
        placement: Placement,
        access: Access,
        hold: Duration,
        handler: Arc<dyn Handler>,
    ) {
        let rpc = self.metrics.rpc(code.name().unwrap_or("UNKNOWN"));
        let old = self.rows.insert(code.as_i32(), Row { code, placement, access, hold, handler, rpc });
        assert!(old.is_none(), "code {code:?} has two rows");
    }

    pub fn row(&self, code: i32) -> Option<&Row> {
        self.rows.get(&code)
    }

    /// All rows by ascending code.
    pub fn facts(&self) -> Vec<Facts> {
        let rows = self.rows.values();
        let mut all: Vec<Facts> = rows
            .map(|row| Facts { code: row.code, placement: row.placement, access: row.access, hold: row.hold })
            .collect();
        all.sort_by_key(|facts| facts.code.as_i32());
        all
    }
}
