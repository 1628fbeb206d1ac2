//! Answers that many handlers give.

use bytes::Bytes;
use flotilla_remoting::bodies;
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::headers::HeaderError;
use serde::Serialize;

use crate::call::Call;

/// Why a request is refused: the code and what is wrong.
pub type Refusal = (ResponseCode, String);

/// What a request comes to.
pub type Outcome = Result<Success, Refusal>;

/// A successful answer.
#[derive(Debug, Default)]
pub struct Success {
    pub ext: ExtFields,
    pub body: Bytes,
    pub remark: Option<String>,
}

impl Success {
    /// With a JSON body.
    pub fn body<T: Serialize + ?Sized>(body: &T) -> Self {
        Self { body: bodies::encode(body), ..Self::default() }
    }

    /// With a header field.
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.ext.insert_display(key, value);
        self
    }
}

/// Answers with an outcome.
pub fn answer(call: Call, outcome: Outcome) {
    match outcome {
        Ok(success) => {
            let mut response = call.request.reply(ResponseCode::Success, success.remark);
            response.header.ext = success.ext;
            response.body = success.body;
            call.reply.send(response);
        }
        Err((code, remark)) => call.refuse(code, remark),
    }
}

/// The refusal of a header that lacks a field or holds one that can't be read. RocketMQ stumbles over it later and answers
/// SYSTEM_ERROR too, without the field's name. Source: RemotingCommand.decodeCommandCustomHeader 5.3.3.
pub fn unreadable(error: HeaderError) -> Refusal {
    (ResponseCode::SystemError, error.to_string())
}

/// Refuses with what is wrong in the header.
pub fn bad_header(call: Call, error: &HeaderError) {
    call.refuse(ResponseCode::SystemError, error.to_string());
}

/// Success with header fields.
pub fn success(call: Call, ext: ExtFields) {
    answer(call, Ok(Success { ext, ..Success::default() }));
}

/// Success with a body.
pub fn success_body(call: Call, body: impl Into<Bytes>) {
    answer(call, Ok(Success { body: body.into(), ..Success::default() }));
}

/// Success with nothing to say.
pub fn done(call: Call) {
    success(call, ExtFields::default());
}
