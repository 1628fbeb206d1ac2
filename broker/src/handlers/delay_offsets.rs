//! GET_ALL_DELAY_OFFSET (45): how far each delay level is delivered.
// Source: RocketMQ 5.3 AdminBrokerProcessor#getAllDelayOffset, DelayOffsetSerializeWrapper.

use flotilla_core::Tables;
use flotilla_remoting::bodies::{self, AllDelayOffset};

use super::respond::success_body;
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::registration::body::wire_version;

/// Serves 45. Runs on the leader.
pub struct DelayOffsetHandler {
    pub group: Group,
}

impl Handler for DelayOffsetHandler {
    fn handle(&self, call: Call) {
        let body = all_offsets(&self.group.tables());
        success_body(call, bodies::encode(&body));
    }
}

fn all_offsets(tables: &Tables) -> AllDelayOffset {
    let levels = tables.delay_progress().into_iter();
    let offsets = levels.map(|progress| (i32::try_from(progress.level()).unwrap_or(i32::MAX), progress.next));
    AllDelayOffset { data_version: wire_version(tables.delay_version(), 0), offset_table: offsets.collect() }
}
