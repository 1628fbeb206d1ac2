//! One row per request code: which function answers it.
//!
//! All answers come from memory at once, except changes of the key-value table, which wait for the disk. Codes without a row
//! are answered with REQUEST_CODE_NOT_SUPPORTED and their number.

mod brokers;
mod kv;
mod lists;
mod registration;
mod routes;
mod settings;

use std::sync::Arc;

use flotilla_net::Connection;
use flotilla_remoting::headers::HeaderError;
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};

use crate::state::State;

/// What a handler works with.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) connection: Arc<Connection>,
}

/// The answer to a request, now or when the disk has it.
pub(crate) enum Answer {
    Now(Frame),
    Later(std::pin::Pin<Box<dyn Future<Output = Frame> + Send>>),
}

/// A refusal: response code and remark.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal(pub(crate) ResponseCode, pub(crate) String);

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Refusal {
        Refusal(ResponseCode::SystemError, error.to_string())
    }
}

/// A successful answer's fields and body, or a refusal.
pub(crate) type Reply = Result<(ExtFields, bytes::Bytes), Refusal>;

/// Success without fields or body.
fn nothing() -> Reply {
    Ok((ExtFields::new(), bytes::Bytes::new()))
}

fn body(bytes: impl Into<bytes::Bytes>) -> Reply {
    Ok((ExtFields::new(), bytes.into()))
}

fn system_error<T>(remark: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(ResponseCode::SystemError, remark.into()))
}

pub(crate) fn frame_of(request: &Frame, reply: Reply) -> Frame {
    match reply {
        Ok((fields, body)) => request.reply_with(fields, body),
        Err(Refusal(code, remark)) => request.reply(code, Some(remark)),
    }
}

/// Answers a request.
pub(crate) fn answer(call: &Call, request: Frame) -> Answer {
    use RequestCode as Code;
    let state = &*call.state;
    let reply = match request.header.request_code() {
        Code::GetRouteInfoByTopic => routes::route(state, &request),
        Code::RegisterBroker => registration::register(call, &request),
        Code::UnregisterBroker => registration::unregister(call, &request),
        Code::QueryDataVersion => brokers::query_data_version(call, &request),
        Code::BrokerHeartbeat => brokers::heartbeat(state, &request),
        Code::GetBrokerMemberGroup => brokers::member_group(state, &request),
        Code::GetBrokerClusterInfo => brokers::cluster_info(state),
        Code::WipeWritePermOfBroker => brokers::wipe_write_permission(state, &request),
        Code::AddWritePermOfBroker => brokers::add_write_permission(state, &request),
        Code::GetAllTopicListFromNameServer => lists::all(state),
        Code::GetTopicsByCluster => lists::by_cluster(state, &request),
        Code::GetSystemTopicListFromNs => lists::system(state),
        Code::GetUnitTopicList => lists::units(state, lists::UNIT),
        Code::GetHasUnitSubTopicList => lists::units(state, lists::UNIT_SUBSCRIPTION),
        Code::GetHasUnitSubUnunitTopicList => lists::units(state, lists::UNIT_SUBSCRIPTION_NOT_UNIT),
        Code::DeleteTopicInNamesrv => routes::delete_topic(state, &request),
        Code::RegisterTopicInNamesrv => routes::register_topic(state, &request),
        Code::PutKvConfig => return kv::put(call, request),
        Code::DeleteKvConfig => return kv::delete(call, request),
        Code::GetKvConfig => kv::get(state, &request),
        Code::GetKvListByNamespace => kv::list(state, &request),
        Code::UpdateNamesrvConfig => return settings::update(call, request),
        Code::GetNamesrvConfig => settings::show(state),
        _ => {
            let remark = format!(" request type {} not supported", request.header.code);
            Err(Refusal(ResponseCode::RequestCodeNotSupported, remark))
        }
    };
    Answer::Now(frame_of(&request, reply))
}
