//! Codes without a row: each is refused with its number and the reason.

use flotilla_remoting::code::{RequestCode as Code, ResponseCode};

/// The code of the refusal: of all that RocketMQ's broker refuses so, it answers one with SYSTEM_ERROR.
/// Source: AdminBrokerProcessor.getBrokerEpochCache 5.3.3.
pub fn answer(code: Code) -> ResponseCode {
    match code {
        Code::GetBrokerEpochCache => ResponseCode::SystemError,
        _ => ResponseCode::RequestCodeNotSupported,
    }
}

/// Why a code has no row. `None` for numbers that RocketMQ does not assign.
pub fn reason(code: Code) -> Option<&'static str> {
    let reason = match code.as_i32() {
        37 | 39 | 323 => "transactions are not part of this version",
        60 | 61 => "messages with an arbitrary delay are not part of this version, delay levels are",
        370 => "recall is not part of this version",
        400..=402 | 200_050..=200_056 | 200_151 => "pop consumption is not part of this version",
        40 | 220 | 221 | 326 => "a broker sends this to clients",
        100..=105
        | 205
        | 206
        | 216
        | 217
        | 219
        | 224
        | 304
        | 311..=313
        | 318
        | 319
        | 322
        | 327
        | 901
        | 904 => "a name server answers this",
        902 | 903 => "there are no broker containers here",
        905..=908 => "there is no master and slave here, replicas agree by Raft",
        1001..=1013 => "there is no controller here, replicas agree by Raft",
        354 | 355 => "there is no RocksDB here",
        50..=54 => "ACL 1.0 was replaced by users and policies",
        3001..=3010 => "users and policies are not part of this version",
        2001..=2004 => "cold reads have their own threads here, there is nothing to control",
        301 | 302 => "filter servers were removed from RocketMQ",
        513 => "static topics are not part of this version",
        _ if code.name().is_some() => "not part of this version",
        _ => return None,
    };
    Some(reason)
}

/// The remark of the refusal. RocketMQ's own has the number only, with the blank in front.
/// Source: NettyRemotingAbstract.processRequestCommand 5.3.3.
pub fn remark(code: Code) -> String {
    match reason(code) {
        Some(reason) => format!(" request type {} not supported: {reason}", code.as_i32()),
        None => format!(" request type {} not supported", code.as_i32()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_code_has_a_reason() {
        for code in Code::ALL {
            assert!(reason(*code).is_some(), "{code} has no reason");
        }
    }

    #[test]
    fn the_remark_names_the_number() {
        assert_eq!(remark(Code::from_i32(9_999)), " request type 9999 not supported");
        assert!(remark(Code::from_i32(200_050)).starts_with(" request type 200050 not supported: "));
    }
}
