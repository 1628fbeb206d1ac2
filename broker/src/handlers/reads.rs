//! Reads that only the leader may answer: it confirms itself first, so that nobody is shown a state older than what another
//! replica has shown already.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::respond::{Outcome, answer};
use crate::call::Call;
use crate::dispatch::Dispatcher;
use crate::group::Group;

/// Runs reads on the leader.
#[derive(Clone)]
pub struct Reads {
    pub group: Group,
    pub dispatcher: Arc<Dispatcher>,
    pub runtime: Handle,
}

impl Reads {
    /// Answers with what `read` finds, once all that was committed when the call came is applied here. `read` may block: it
    /// runs on a thread for that. A replica that has lost the lead hands the call to its successor.
    pub fn confirmed(&self, call: Call, read: impl FnOnce(&Call) -> Outcome + Send + 'static) {
        let (group, dispatcher) = (self.group.clone(), self.dispatcher.clone());
        self.runtime.spawn(async move {
            if group.replica().read_index(call.deadline).await.is_err() {
                return dispatcher.try_again(call).await;
            }
            tokio::task::spawn_blocking(move || {
                let outcome = read(&call);
                answer(call, outcome);
            });
        });
    }
}
