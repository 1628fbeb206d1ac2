//! One call to one address: signs, sends, and turns what comes back into an answer or a typed error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_net::options::{ConnectionOptions, OverBudget, Overflow, PoolOptions};
use flotilla_net::{Callback, ClientPool, Connection, Expected, Service};
use flotilla_remoting::code::OUTCOME_UNKNOWN;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::{ExtFields, Language, RequestCode, ResponseCode};
use tokio::time::Instant;

use crate::error::{ClientError, Result};
use crate::options::{ClientOptions, Credentials};
use crate::signature::sign;

/// Connections of a client, one per address; requests are pipelined over them.
#[derive(Clone)]
pub(crate) struct Remote {
    pool: ClientPool,
    credentials: Option<Arc<Credentials>>,
    call_timeout: Duration,
}

impl Remote {
    pub(crate) fn new(options: &ClientOptions, service: Arc<dyn Service>) -> Remote {
        let connection = ConnectionOptions {
            overflow: Overflow::Refuse,
            over_budget: OverBudget::Pause,
            ..Default::default()
        };
        let pool = PoolOptions { connect_timeout: options.connect_timeout, connection, ..Default::default() };
        Remote {
            pool: ClientPool::new(pool, service),
            credentials: options.credentials.clone().map(Arc::new),
            call_timeout: options.call_timeout,
        }
    }

    /// Time for a call without a limit of its own.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// A request as this client sends it, signed.
    pub(crate) fn frame(&self, code: RequestCode, ext: ExtFields, body: Bytes) -> Frame {
        let mut frame = Frame::request(code, ext, body);
        frame.header.language = Language::Rust;
        if let Some(credentials) = &self.credentials {
            sign(&mut frame, credentials);
        }
        frame
    }

    /// The answer, whatever its code. Safe to drop: the request may have been sent, its answer is then ignored.
    ///
    /// # Errors
    /// `NotSent` or `Unknown`.
    pub(crate) async fn ask(
        &self,
        address: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
        limit: Duration,
    ) -> Result<Frame> {
        let frame = self.frame(code, ext, body);
        let answer = self.pool.request_expecting(expected(code), address, frame, limit).await;
        answer.map_err(|error| ClientError::from_request(address, error))
    }

    /// The answer, if it is a success.
    ///
    /// # Errors
    /// As [`Remote::ask`], and `Refused` with the code and remark.
    pub(crate) async fn call(
        &self,
        address: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
    ) -> Result<Frame> {
        self.call_within(address, code, ext, body, self.call_timeout).await
    }

    /// [`Remote::call`] with a limit.
    pub(crate) async fn call_within(
        &self,
        address: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
        limit: Duration,
    ) -> Result<Frame> {
        success(address, self.ask(address, code, ext, body, limit).await?)
    }

    /// The connection to an address, opened if need be.
    ///
    /// # Errors
    /// `NotSent`.
    pub(crate) async fn connection(&self, address: &str, limit: Duration) -> Result<Arc<Connection>> {
        let not_sent = |reason: String| ClientError::NotSent { address: address.to_owned(), reason };
        match tokio::time::timeout_at(Instant::now() + limit, self.pool.get(address)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(not_sent(error.to_string())),
            Err(_) => Err(not_sent("no connection in time".into())),
        }
    }

    /// [`Remote::ask`] for the hot path: the callback runs on the connection's reader and must be quick.
    pub(crate) fn ask_with(
        &self,
        connection: &Connection,
        frame: Frame,
        limit: Duration,
        callback: Callback,
    ) {
        connection.request_with(frame, limit, callback);
    }

    /// The connection if it is open.
    pub(crate) fn open_connection(&self, address: &str) -> Option<Arc<Connection>> {
        self.pool.open_connection(address)
    }

    /// All connections that are open, by address.
    pub(crate) fn open_connections(&self) -> Vec<(String, Arc<Connection>)> {
        self.pool.open_connections()
    }

    pub(crate) async fn stop(&self) {
        self.pool.stop().await;
    }
}

/// Brokers keep the answers to some requests back until there is something to tell.
fn expected(code: RequestCode) -> Expected {
    match code {
        RequestCode::PullMessage
        | RequestCode::LitePullMessage
        | RequestCode::PopMessage
        | RequestCode::Notification => Expected::Held,
        _ => Expected::Soon,
    }
}

/// The frame, if its code is success.
///
/// # Errors
/// `Refused`.
pub(crate) fn success(address: &str, frame: Frame) -> Result<Frame> {
    match frame.header.response_code() {
        ResponseCode::Success => Ok(frame),
        _ => Err(refusal(address, &frame)),
    }
}

/// What an answer that is no success says: mostly `Refused`; `Unknown` where the remark tells that it may have been done.
pub(crate) fn refusal(address: &str, frame: &Frame) -> ClientError {
    let (address, code) = (address.to_owned(), frame.header.response_code());
    let remark = frame.header.remark.clone().unwrap_or_default();
    if code == ResponseCode::ServiceNotAvailable && remark.contains(OUTCOME_UNKNOWN) {
        return ClientError::Unknown { address, reason: remark };
    }
    ClientError::Refused { address, code, remark }
}
