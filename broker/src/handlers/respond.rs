//! Answers that many handlers give.

use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::headers::HeaderError;

use crate::call::Call;

/// A header that lacks a field or holds one that can't be read. RocketMQ stumbles over it later and answers SYSTEM_ERROR
/// too, without the field's name. Source: RemotingCommand.decodeCommandCustomHeader 5.3.3.
pub fn bad_header(call: Call, error: &HeaderError) {
    call.refuse(ResponseCode::SystemError, error.to_string());
}

/// Success with header fields.
pub fn success(call: Call, ext: ExtFields) {
    let mut response = call.request.reply(ResponseCode::Success, None);
    response.header.ext = ext;
    call.reply.send(response);
}

/// Success with a body.
pub fn success_body(call: Call, body: impl Into<bytes::Bytes>) {
    let mut response = call.request.reply(ResponseCode::Success, None);
    response.body = body.into();
    call.reply.send(response);
}

/// Success with nothing to say.
pub fn done(call: Call) {
    success(call, ExtFields::default());
}
