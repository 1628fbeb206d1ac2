//! GET_BROKER_CLUSTER_INFO (106): a question for a name server that some tools ask a broker. It is passed on.

use std::time::{Duration, Instant};

use flotilla_net::ClientPool;
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::frame::Frame;
use tokio::runtime::Handle;

use super::respond::success_body;
use crate::call::Call;
use crate::dispatch::Handler;

/// Asks the name servers in their order.
pub struct ClusterHandler {
    pub name_servers: Vec<String>,
    pub pool: ClientPool,
    pub runtime: Handle,
}

impl Handler for ClusterHandler {
    fn handle(&self, call: Call) {
        let (name_servers, pool) = (self.name_servers.clone(), self.pool.clone());
        self.runtime.spawn(async move {
            for name_server in &name_servers {
                let time =
                    call.deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(2));
                let frame = Frame::request(
                    RequestCode::GetBrokerClusterInfo,
                    ExtFields::default(),
                    bytes::Bytes::new(),
                );
                if let Ok(answer) = pool.request(name_server, frame, time).await
                    && answer.header.response_code() == ResponseCode::Success
                {
                    return success_body(call, answer.body);
                }
            }
            call.refuse(ResponseCode::SystemError, "no name server answers");
        });
    }
}
