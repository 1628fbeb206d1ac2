//! Settings of this name server, shown and changed by tools.

use flotilla_remoting::{Frame, ResponseCode};

use super::{Answer, Call, Refusal, Reply, body, frame_of, nothing, system_error};
use crate::config::UpdateError;
use crate::state::State;

/// GET_NAMESRV_CONFIG.
pub(super) fn show(state: &State) -> Reply {
    body(state.with_config(|config| config.text()))
}

/// UPDATE_NAMESRV_CONFIG.
pub(super) fn update(call: &Call, request: Frame) -> Answer {
    let state = call.state.clone();
    Answer::Later(Box::pin(async move {
        let reply = match std::str::from_utf8(&request.body) {
            Ok(text) => match state.update_config(text).await {
                Ok(()) => nothing(),
                Err(error @ UpdateError::BlackListed) => {
                    Err(Refusal(ResponseCode::NoPermission, error.to_string()))
                }
                Err(error @ (UpdateError::Malformed(_) | UpdateError::Unsaved(_))) => {
                    system_error(error.to_string())
                }
            },
            Err(_) => system_error("the body is not UTF-8"),
        };
        frame_of(&request, reply)
    }))
}
