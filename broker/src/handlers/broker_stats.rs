//! VIEW_BROKER_STATS_DATA (315): how much was stored and read in the last minute, hour and day.

use std::sync::Arc;

use flotilla_remoting::bodies;
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::ViewBrokerStatsDataRequest;

use super::respond::{bad_header, success_body};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::stats::Stats;

/// Serves 315 with what this replica has counted.
pub struct BrokerStatsHandler {
    pub stats: Arc<Stats>,
}

impl Handler for BrokerStatsHandler {
    fn handle(&self, call: Call) {
        let (found, asked) = match ViewBrokerStatsDataRequest::decode(&call.request.header.ext) {
            Ok(request) => (
                self.stats.find(request.stats_name, request.stats_key),
                format!("<{}> <{}>", request.stats_name, request.stats_key),
            ),
            Err(error) => return bad_header(call, &error),
        };
        match found {
            Some(data) => success_body(call, bodies::encode(&data)),
            // Source: AdminBrokerProcessor.ViewBrokerStatsData 5.3.3. Tools take it for zero.
            None => call.refuse(ResponseCode::SystemError, format!("The stats {asked} not exist")),
        }
    }
}
