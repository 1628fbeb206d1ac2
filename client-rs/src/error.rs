//! What can go wrong, by what the caller can do about it.

use flotilla_net::{RequestError, Unsent};
use flotilla_remoting::ResponseCode;

/// Why an operation failed.
///
/// | kind          | did the server do it? | what to do                                        |
/// |---------------|-----------------------|---------------------------------------------------|
/// | `Invalid`     | no                    | mend the call; trying again is of no use           |
/// | `NotSent`     | no                    | try again, elsewhere or later                      |
/// | `NoRoute`     | no                    | create the topic, or wait until its broker is back |
/// | `Refused`     | no; perhaps with code 1 | look at the code                                |
/// | `Unknown`     | perhaps               | try again only where doing it twice does no harm   |
/// | `Deadline`    | no                    | allow more time                                    |
/// | `Busy`        | no                    | send less at a time, or wait                       |
/// | `Malformed`   | perhaps               | report it: one side has a bug                      |
/// | `Stopped`     | no                    | the client was shut down                           |
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The caller's mistake, found before anything was sent.
    #[error("invalid argument: {0}")]
    Invalid(String),
    /// Nothing left this process.
    #[error("not sent to {address}: {reason}")]
    NotSent {
        /// Address that was tried.
        address: String,
        /// Why.
        reason: String,
    },
    /// No broker is known that has what is asked for.
    #[error("no route to {topic}: {reason}")]
    NoRoute {
        /// Topic, or broker name for calls to a broker.
        topic: String,
        /// What the name servers said.
        reason: String,
    },
    /// The server answered that it won't.
    #[error("{address} refused: {code}: {remark}")]
    Refused {
        /// Who answered.
        address: String,
        /// Response code.
        code: ResponseCode,
        /// The server's own words; may be empty.
        remark: String,
    },
    /// Sent, and then the answer did not come, or says that its outcome is not known: it may have been done, or may yet be.
    #[error("outcome at {address} is unknown: {reason}")]
    Unknown {
        /// Who was asked.
        address: String,
        /// Why there is no answer.
        reason: String,
    },
    /// The time was up before anything was sent.
    #[error("no time left: {0}")]
    Deadline(String),
    /// A bound of this client is reached; the server does not know.
    #[error("too much in flight: {0}")]
    Busy(String),
    /// An answer that can't be read.
    #[error("answer of {address} can't be read: {reason}")]
    Malformed {
        /// Who answered.
        address: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The client, producer or consumer was shut down.
    #[error("shut down")]
    Stopped,
}

/// Result of an operation of this crate.
pub type Result<T> = std::result::Result<T, ClientError>;

impl ClientError {
    /// Claims that the server may have done what was asked, so that asking again may do it twice. Code 1, SYSTEM_ERROR, is
    /// what brokers say when something failed half-way, also after a message was written.
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            ClientError::Unknown { .. } | ClientError::Malformed { .. } => true,
            ClientError::Refused { code, .. } => *code == ResponseCode::SystemError,
            ClientError::Invalid(_)
            | ClientError::NotSent { .. }
            | ClientError::NoRoute { .. }
            | ClientError::Deadline(_)
            | ClientError::Busy(_)
            | ClientError::Stopped => false,
        }
    }

    /// Claims that the same call may succeed later, or at another broker, and certainly did nothing yet.
    pub fn may_be_repeated(&self) -> bool {
        match self {
            ClientError::NotSent { .. }
            | ClientError::NoRoute { .. }
            | ClientError::Deadline(_)
            | ClientError::Busy(_) => true,
            ClientError::Refused { code, .. } => {
                matches!(code, ResponseCode::SystemBusy | ResponseCode::FlowControl | ResponseCode::GoAway)
            }
            ClientError::Invalid(_)
            | ClientError::Unknown { .. }
            | ClientError::Malformed { .. }
            | ClientError::Stopped => false,
        }
    }

    /// The response code, when a server refused.
    pub fn code(&self) -> Option<ResponseCode> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Claims that what the client knows of addresses may be out of date.
    pub(crate) fn hints_at_stale_route(&self) -> bool {
        match self {
            ClientError::NotSent { .. } | ClientError::Unknown { .. } => true,
            ClientError::Refused { code, .. } => matches!(
                code,
                ResponseCode::ServiceNotAvailable
                    | ResponseCode::TopicNotExist
                    | ResponseCode::NotLeaderForQueue
                    | ResponseCode::NotLeader
                    | ResponseCode::GoAway
            ),
            _ => false,
        }
    }

    pub(crate) fn malformed(address: &str, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Malformed { address: address.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn from_request(address: &str, error: RequestError) -> ClientError {
        let address = address.to_owned();
        match error {
            RequestError::NotSent(unsent) => ClientError::from_unsent(address, unsent),
            other @ (RequestError::Timeout | RequestError::Closed | RequestError::GivenUp) => {
                ClientError::Unknown { address, reason: other.to_string() }
            }
        }
    }

    pub(crate) fn from_unsent(address: String, unsent: Unsent) -> ClientError {
        match unsent {
            Unsent::NoConnection(reason) => ClientError::NotSent { address, reason },
            // The server has nothing to do with these.
            Unsent::Busy(reason) => ClientError::Busy(format!("{reason} ({address})")),
            Unsent::TooLarge => ClientError::Invalid(unsent.to_string()),
        }
    }
}
