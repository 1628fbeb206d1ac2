//! When a send may be tried again, and where.
//!
//! Trying again is safe when it is certain that nothing was stored:
//!
//! | what happened                              | stored? | tried again                        | route suspected |
//! |--------------------------------------------|---------|------------------------------------|-----------------|
//! | nothing left this process                  | no      | at once at the next address        | yes             |
//! | a bound of this side: write queue, requests of the connection | no | yes, at the same address  | no         |
//! | a frame that is too large                  | no      | never                              | no              |
//! | 14 SERVICE_NOT_AVAILABLE                   | no      | yes                                | yes             |
//! | 14 with Flotilla's remark (see below)      | perhaps | only with `retry_unknown`          | yes             |
//! | 2 SYSTEM_BUSY, 215 FLOW_CONTROL            | no      | yes                                | no              |
//! | 501, 2007, 1500: the broker does not lead, or leaves | no | yes                           | yes             |
//! | 17 TOPIC_NOT_EXIST, 16 NO_PERMISSION, 204, 205 | no  | twice: another broker may have it  | 17              |
//! | 1 SYSTEM_ERROR                             | perhaps | only with `retry_unknown`          | no              |
//! | connection lost, or no answer in time      | perhaps | only with `retry_unknown`          | yes             |
//! | no answer, and another leads (`vigil.rs`)  | perhaps | only with `retry_unknown`          | no              |
//! | 10, 11, 12                                 | yes     | never: a [`SendStatus`]            | no              |
//! | any other code                             | no      | never: it would be refused again   | no              |
//!
//! What the codes mean at RocketMQ 5.3: 2 is SendMessageProcessor.rejectRequest (this is what a slave answers), a full
//! thread pool or a busy page cache, each before anything is written; 14 is HookUtils.checkBeforePutMessage (slave, full
//! disk, shutdown) or a DLedger node that does not lead; 1 is also "in-sync replicas not enough" and an exception, both of
//! which may come after the append (DLedgerCommitLog, WAIT_QUORUM_ACK_TIMEOUT). DefaultMQProducer.retryResponseCodes has
//! 17, 14, 1, 2, 16, 204, 205 and 1500: Java repeats a 1, and so may store a message twice.
//! At Flotilla: 14 is "no leader within the request's time" and a full disk (dispatch, handlers::send), each before
//! proposing; when leadership changes under a proposal, the code is 14 too, because it is the one that official clients
//! repeat, and the remark tells that the outcome is not known.
//!
//! Every address of a broker name may be tried: replicas of Flotilla forward sends to their leader, and a slave of RocketMQ
//! answers 2 or 14 before it touches anything. So a refused connection costs one more hop, not a wait for a new route.
//!
//! [`SendStatus`]: super::SendStatus

use std::time::Duration;

use flotilla_remoting::ResponseCode;

use crate::error::ClientError;

/// Attempts after the first for refusals that only another broker would not repeat. Source: RocketMQ 5.3
/// DefaultMQProducer (`retryTimesWhenSendFailed`).
const ELSEWHERE_MAX: u32 = 2;

/// First pause before an address is tried again; doubles up to [`PAUSE_MAX`]. A new route ends it.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// What may follow a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was stored: try until the time is up.
    Again,
    /// Nothing was stored, and this broker would say the same again: try a few others.
    Elsewhere,
    /// Perhaps stored.
    Unknown,
    /// The caller gets it.
    Final,
}

/// Judges a failure by the table above.
pub(super) fn verdict(error: &ClientError) -> Verdict {
    match error {
        ClientError::NotSent { .. } | ClientError::Busy(_) => Verdict::Again,
        ClientError::Unknown { .. } => Verdict::Unknown,
        ClientError::Refused { code, .. } => match code {
            ResponseCode::ServiceNotAvailable
            | ResponseCode::SystemBusy
            | ResponseCode::FlowControl
            | ResponseCode::NotLeaderForQueue
            | ResponseCode::NotLeader
            | ResponseCode::GoAway => Verdict::Again,
            ResponseCode::TopicNotExist
            | ResponseCode::NoPermission
            | ResponseCode::NoBuyerId
            | ResponseCode::NotInCurrentUnit => Verdict::Elsewhere,
            ResponseCode::SystemError => Verdict::Unknown,
            _ => Verdict::Final,
        },
        // An answer that can't be read is a bug, and will be one again.
        ClientError::Malformed { .. }
        | ClientError::Invalid(_)
        | ClientError::NoRoute { .. }
        | ClientError::Deadline(_)
        | ClientError::Stopped => Verdict::Final,
    }
}

/// Counts the attempts of one send.
#[derive(Debug)]
pub(super) struct Attempts {
    failed: u32,
    elsewhere: u32,
    /// Attempts since the last pause that went elsewhere at once.
    hops: usize,
    pause: Duration,
}

impl Attempts {
    pub(super) fn new() -> Attempts {
        Attempts { failed: 0, elsewhere: 0, hops: 0, pause: PAUSE_MIN }
    }

    /// Notes a failure; claims that one more attempt is allowed.
    pub(super) fn allow(&mut self, verdict: Verdict, retries_max: u32, retry_unknown: bool) -> bool {
        let failed_before = self.failed;
        self.failed = self.failed.saturating_add(1);
        let allowed = match verdict {
            Verdict::Again => true,
            Verdict::Elsewhere => {
                self.elsewhere += 1;
                self.elsewhere <= ELSEWHERE_MAX
            }
            Verdict::Unknown => retry_unknown,
            Verdict::Final => false,
        };
        allowed && failed_before < retries_max
    }

    /// Claims that the next attempt may go elsewhere at once: not all of so many addresses had theirs since the last pause.
    pub(super) fn hop(&mut self, address_count: usize) -> bool {
        self.hops += 1;
        self.hops < address_count
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        self.hops = 0;
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ResponseCode, remark: &str) -> ClientError {
        crate::remote::refusal("b", &flotilla_remoting::frame::Frame::response(code, Some(remark.to_owned())))
    }

    #[test]
    fn only_what_surely_stored_nothing_is_repeated() {
        let unknown = "leadership changed while the message was being stored: the outcome is not known";
        let table = [
            (refused(ResponseCode::ServiceNotAvailable, "disk full"), Verdict::Again),
            (refused(ResponseCode::ServiceNotAvailable, unknown), Verdict::Unknown),
            (refused(ResponseCode::SystemBusy, ""), Verdict::Again),
            (refused(ResponseCode::SystemError, ""), Verdict::Unknown),
            (refused(ResponseCode::TopicNotExist, ""), Verdict::Elsewhere),
            (refused(ResponseCode::MessageIllegal, ""), Verdict::Final),
            (ClientError::NotSent { address: "b".into(), reason: String::new() }, Verdict::Again),
            (ClientError::Unknown { address: "b".into(), reason: String::new() }, Verdict::Unknown),
            (ClientError::Busy("write queue".into()), Verdict::Again),
            (ClientError::Invalid("too large".into()), Verdict::Final),
            (ClientError::Stopped, Verdict::Final),
        ];
        for (error, expected) in table {
            assert_eq!(verdict(&error), expected, "{error}");
            assert_eq!(error.outcome_is_unknown(), expected == Verdict::Unknown, "{error}");
        }
    }

    #[test]
    fn attempts_end_by_number_and_pauses_grow() {
        let mut attempts = Attempts::new();
        assert!((0..3).all(|_| attempts.allow(Verdict::Again, 3, false)));
        assert!(!attempts.allow(Verdict::Again, 3, false));
        let mut attempts = Attempts::new();
        assert!((0..ELSEWHERE_MAX).all(|_| attempts.allow(Verdict::Elsewhere, u32::MAX, false)));
        assert!(!attempts.allow(Verdict::Elsewhere, u32::MAX, false));
        let mut attempts = Attempts::new();
        assert!(!attempts.allow(Verdict::Unknown, u32::MAX, false));
        assert!(attempts.allow(Verdict::Unknown, u32::MAX, true));
        let pauses: Vec<Duration> = (0..6).map(|_| attempts.pause()).collect();
        assert_eq!(pauses[0], PAUSE_MIN);
        assert_eq!(pauses[5], PAUSE_MAX);
    }

    #[test]
    fn each_address_has_one_attempt_before_a_pause() {
        let mut attempts = Attempts::new();
        for _ in 0..2 {
            let hops: Vec<bool> = (0..3).map(|_| attempts.hop(3)).collect();
            assert_eq!(hops, [true, true, false]);
            attempts.pause();
        }
    }
}
