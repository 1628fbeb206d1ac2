//! How long a fault may keep clients from being acknowledged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is forgiven for one kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub outage_ms: u64,
    /// Since when it counts.
    #[serde(default)]
    pub from: CountFrom,
}

/// Since when an outage counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountFrom {
    /// Since the fault began: for faults that a majority survives.
    #[default]
    Begin,
    /// Since it was healed: for faults that take the majority away.
    Heal,
}

/// Limits by kind of fault.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub by_kind: BTreeMap<String, Limit>,
    /// For kinds that have none of their own.
    pub default: Option<Limit>,
}

impl Limits {
    pub fn of(&self, kind: &str) -> Option<Limit> {
        self.by_kind.get(kind).copied().or(self.default)
    }
}
