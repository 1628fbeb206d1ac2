//! The key-value table. Remarks as official servers word them; tools show them to people.

use flotilla_remoting::bodies::KvTable as KvBody;
use flotilla_remoting::headers::{
    GetKvConfigResponse, GetKvListRequest, KvConfigRequest, PutKvConfigRequest,
};
use flotilla_remoting::{Frame, ResponseCode, bodies};

use super::{Answer, Call, Refusal, Reply, body, frame_of, nothing, system_error};
use crate::kv::KvError;
use crate::state::State;

/// PUT_KV_CONFIG.
pub(super) fn put(call: &Call, request: Frame) -> Answer {
    let header = match PutKvConfigRequest::decode(&request.header.ext) {
        Ok(header) => header,
        Err(error) => {
            let missing = matches!(error.field, "namespace" | "key");
            let remark = if missing { "namespace or key is null".into() } else { error.to_string() };
            return Answer::Now(frame_of(&request, system_error(remark)));
        }
    };
    let [namespace, key, value] = [header.namespace, header.key, header.value].map(str::to_owned);
    change(call, request, move |table| table.put(&namespace, &key, &value))
}

/// DELETE_KV_CONFIG.
pub(super) fn delete(call: &Call, request: Frame) -> Answer {
    let header = match KvConfigRequest::decode(&request.header.ext) {
        Ok(header) => header,
        Err(error) => return Answer::Now(frame_of(&request, Err(error.into()))),
    };
    let [namespace, key] = [header.namespace, header.key].map(str::to_owned);
    change(call, request, move |table| {
        table.delete(&namespace, &key);
        Ok(())
    })
}

fn change(
    call: &Call,
    request: Frame,
    change: impl FnOnce(&mut crate::kv::KvTable) -> Result<(), KvError> + Send + 'static,
) -> Answer {
    let state = call.state.clone();
    Answer::Later(Box::pin(async move {
        let reply = match state.change_kv(change).await {
            Ok(()) => nothing(),
            Err(remark) => system_error(remark),
        };
        frame_of(&request, reply)
    }))
}

/// GET_KV_CONFIG.
pub(super) fn get(state: &State, request: &Frame) -> Reply {
    let header = KvConfigRequest::decode(&request.header.ext)?;
    let value = state.kv(|table| table.get(header.namespace, header.key).map(str::to_owned));
    match value {
        Some(value) => Ok((GetKvConfigResponse { value: Some(&value) }.encode(), Default::default())),
        None => {
            let remark = format!("No config item, Namespace: {} Key: {}", header.namespace, header.key);
            Err(Refusal(ResponseCode::QueryNotFound, remark))
        }
    }
}

/// GET_KVLIST_BY_NAMESPACE.
pub(super) fn list(state: &State, request: &Frame) -> Reply {
    let namespace = GetKvListRequest::decode(&request.header.ext)?.namespace;
    match state.kv(|table| table.namespace(namespace).cloned()) {
        Some(table) => body(bodies::encode(&KvBody { table })),
        None => {
            let remark = format!("No config item, Namespace: {namespace}");
            Err(Refusal(ResponseCode::QueryNotFound, remark))
        }
    }
}
