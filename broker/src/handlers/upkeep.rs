//! Requests to tidy up: CLEAN_EXPIRED_CONSUMEQUEUE (306), CLEAN_UNUSED_TOPIC (316), DELETE_EXPIRED_COMMITLOG (329); and
//! NOTIFY_MIN_BROKER_ID_CHANGE (905), a name server's notice to acting masters.

use std::sync::Arc;

use flotilla_remoting::code::RequestCode;

use super::respond::done;
use crate::call::Call;
use crate::dispatch::Handler;
use crate::retention::Asked;
use crate::views::ConsumeQueues;

/// Serves 306, 316 and 905 on any replica.
pub struct UpkeepHandler {
    pub views: Arc<ConsumeQueues>,
}

impl Handler for UpkeepHandler {
    fn handle(&self, call: Call) {
        if call.code() != RequestCode::NotifyMinBrokerIdChange {
            // View files go with their segments, those of deleted topics too; this lets the keeper look now and not in seconds.
            self.views.wake();
        }
        done(call);
    }
}

/// Serves 329 on the leader, which chooses what goes; answered before it has gone, as by RocketMQ's broker.
pub struct ExpiredLogHandler {
    pub asked: Arc<Asked>,
}

impl Handler for ExpiredLogHandler {
    fn handle(&self, call: Call) {
        tracing::info!(from = %call.caller.address, "old segments are to go now, whatever the hour");
        self.asked.ask();
        done(call);
    }
}
