//! What the Java program writes, and what that means for a history.
//!
//! The lines are described at the head of `java/Sends.java`; the judgement is here. A request did certainly nothing only
//! where the library can't have written it, or where the broker's code says that it stopped before it did anything; every
//! other request may have been stored.

use anyhow::Context;
use flotilla_client::ResponseCode;
use serde::Deserialize;

/// Thrown where there is no connection to write to. Source: RocketMQ 5.5.0 NettyRemotingClient.invokeSync; a connection that
/// breaks afterwards is RemotingSendRequestException (NettyRemotingAbstract.invokeSyncImpl), also for what was written.
const NO_CONNECTION: &str = "RemotingConnectException";
/// Thrown where no time is left before the request is written. Source: RocketMQ 5.5.0 DefaultMQProducerImpl.sendKernelImpl.
const NO_TIME: &str = "RemotingTooMuchRequestException";
/// Part of the remark with which Flotilla refuses a send, by a code that clients try again, that it may have stored. Source: our
/// protocol, `remoting/src/code/response.rs`.
const MAYBE_STORED: &str = "the outcome is not known";

/// A line.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Line {
    Ready(Ready),
    Ended(Ended),
}

impl Line {
    /// # Errors
    /// It is none.
    pub(super) fn parse(text: &str) -> anyhow::Result<Line> {
        serde_json::from_str(text).with_context(|| format!("no line of the Java program: {text}"))
    }
}

/// The producer has started.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// The library's version, as it calls itself.
    pub client: String,
    /// How often it asks for routes, in ms.
    pub poll_ms: u64,
    /// Requests that it makes for one send, at most.
    pub attempts_max: u32,
}

/// A send is over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ended {
    pub thread: u32,
    /// Number of the message.
    pub id: u64,
    /// What the send returned; `None` where it threw.
    pub stored: Option<Stored>,
    /// The library's requests, in order. A try that never became one, for want of a route or an address, is not here.
    pub attempts: Vec<Attempt>,
    /// What was thrown in the end.
    pub error: Option<Failure>,
}

/// What came of one request: `None` where the broker answered that it is stored.
pub type Attempt = Option<Failure>;

/// What a send returned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// Name in the library's `SendStatus`.
    pub status: String,
    pub queue: u32,
    pub offset: u64,
}

/// Something that was thrown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// Class, without its package.
    #[serde(rename = "type")]
    pub class: String,
    /// Response code of the broker, where it answered.
    pub code: Option<i32>,
    pub text: String,
}

/// What a history says of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged, at a queue and an offset.
    Ok(u32, u64),
    /// It was certainly not done.
    Fail(String),
    /// Nobody knows.
    Info(String),
}

impl Ended {
    /// What the history says of it. `refused` claims that a broker answers with a code before it has done anything.
    pub fn outcome(&self, refused: impl Fn(ResponseCode) -> bool) -> Outcome {
        match &self.stored {
            Some(stored) if stored.status == "SEND_OK" => Outcome::Ok(stored.queue, stored.offset),
            // Stored somewhere, and promised nothing.
            Some(stored) => Outcome::Info(stored.status.clone()),
            None if self.copies_max(refused) == 0 => Outcome::Fail(self.reasons()),
            None => Outcome::Info(self.reasons()),
        }
    }

    /// How often it may have been stored: once for each request that did not certainly do nothing.
    pub fn copies_max(&self, refused: impl Fn(ResponseCode) -> bool) -> u32 {
        let maybe =
            |attempt: &&Attempt| !attempt.as_ref().is_some_and(|failure| failure.did_nothing(&refused));
        u32::try_from(self.attempts.iter().filter(maybe).count()).unwrap_or(u32::MAX)
    }

    /// What went wrong with each request, or why there was none.
    fn reasons(&self) -> String {
        let told = |failure: &Failure| format!("{}: {}", failure.class, failure.text);
        let attempts: Vec<String> = self.attempts.iter().flatten().map(told).collect();
        match (attempts.is_empty(), &self.error) {
            (true, Some(error)) => told(error),
            (true, None) => "nothing was thrown, and nothing returned".to_owned(),
            // What is thrown in the end only repeats the last one.
            (false, _) => attempts.join("; "),
        }
    }
}

impl Failure {
    fn did_nothing(&self, refused: impl Fn(ResponseCode) -> bool) -> bool {
        match self.code {
            Some(code) => refused(ResponseCode::from_i32(code)) && !self.text.contains(MAYBE_STORED),
            None => self.class == NO_CONNECTION || self.class == NO_TIME,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = r#"{"event":"ready","client":"V5_5_0","poll_ms":30000,"attempts_max":3}"#;

    fn ended(stored: &str, attempts: &str, error: &str) -> Ended {
        let text = format!(
            r#"{{"event":"ended","thread":2,"id":7,"stored":{stored},"attempts":[{attempts}],"error":{error}}}"#
        );
        match Line::parse(&text).expect("a line") {
            Line::Ended(ended) => ended,
            other @ Line::Ready(_) => panic!("{other:?}"),
        }
    }

    fn thrown(class: &str, code: Option<i32>, text: &str) -> String {
        let code = code.map_or("null".to_owned(), |code| code.to_string());
        format!(r#"{{"type":"{class}","code":{code},"text":"{text}"}}"#)
    }

    fn refused(code: ResponseCode) -> bool {
        matches!(code, ResponseCode::ServiceNotAvailable | ResponseCode::SystemBusy)
    }

    fn judged(stored: &str, attempts: &[String]) -> (char, u32) {
        let error = if stored == "null" {
            thrown("MQClientException", None, "Send [3] times")
        } else {
            "null".into()
        };
        let ended = ended(stored, &attempts.join(","), &error);
        let kind = match ended.outcome(refused) {
            Outcome::Ok(..) => 'o',
            Outcome::Fail(_) => 'f',
            Outcome::Info(_) => 'i',
        };
        (kind, ended.copies_max(refused))
    }

    #[test]
    fn lines_are_read_and_nothing_else() {
        let ready = Ready { client: "V5_5_0".into(), poll_ms: 30_000, attempts_max: 3 };
        assert_eq!(Line::parse(READY).expect("a line"), Line::Ready(ready));
        let ended = ended(r#"{"status":"SEND_OK","queue":3,"offset":22}"#, "null", "null");
        assert_eq!((ended.thread, ended.id, ended.attempts.len()), (2, 7, 1));
        assert_eq!(ended.outcome(refused), Outcome::Ok(3, 22));
        for text in
            ["", "hello", "{}", r#"{"event":"ended","id":7}"#, &READY.replace("ready", "other"), &READY[1..]]
        {
            assert!(Line::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_certainly_did_nothing_has_failed() {
        let no_connection = thrown("RemotingConnectException", None, "connect to <a> failed");
        let no_time = thrown("RemotingTooMuchRequestException", None, "sendKernelImpl call timeout");
        let broken = thrown("RemotingSendRequestException", None, "a");
        let timed_out = thrown("RemotingTimeoutException", None, "wait response on the channel <a> timeout");
        let untold = thrown("Untold", None, "");
        let busy = thrown("MQBrokerException", Some(2), "full");
        let error = thrown("MQBrokerException", Some(1), "?");
        let unnamed = thrown("MQBrokerException", Some(4711), "?");
        let maybe = thrown("MQBrokerException", Some(14), "leadership changed: the outcome is not known");
        let gone = thrown("MQBrokerException", Some(14), "no leader");
        for nothing in [&no_connection, &no_time, &busy, &gone] {
            assert_eq!(judged("null", std::slice::from_ref(nothing)), ('f', 0), "{nothing}");
        }
        for perhaps in [&broken, &timed_out, &untold, &error, &unnamed, &maybe] {
            assert_eq!(judged("null", std::slice::from_ref(perhaps)), ('i', 1), "{perhaps}");
        }
        // Without a route there is no request.
        assert_eq!(judged("null", &[]), ('f', 0));
        // One that is not known is enough, wherever it stands.
        assert_eq!(judged("null", &[timed_out.clone(), no_connection.clone(), busy.clone()]), ('i', 1));
        assert_eq!(judged("null", &[broken.clone(), timed_out.clone(), maybe.clone()]), ('i', 3));
    }

    #[test]
    fn what_was_acknowledged_may_be_there_more_often() {
        let stored = r#"{"status":"SEND_OK","queue":0,"offset":1}"#;
        let timed_out = thrown("RemotingTimeoutException", None, "");
        let no_connection = thrown("RemotingConnectException", None, "");
        assert_eq!(judged(stored, &["null".into()]), ('o', 1));
        assert_eq!(judged(stored, &[no_connection, "null".into()]), ('o', 1));
        assert_eq!(judged(stored, &[timed_out, "null".into()]), ('o', 2));
        // Another status promises nothing.
        assert_eq!(judged(&stored.replace("SEND_OK", "FLUSH_DISK_TIMEOUT"), &["null".into()]), ('i', 1));
    }

    #[test]
    fn the_reasons_name_each_request() {
        let error = thrown("MQClientException", None, "No route info of this topic: t");
        assert_eq!(
            ended("null", "", &error).outcome(refused),
            Outcome::Fail("MQClientException: No route info of this topic: t".into())
        );
        let attempts =
            [thrown("RemotingTimeoutException", None, "x"), thrown("MQBrokerException", Some(2), "full")];
        let both = ended("null", &attempts.join(","), &error).outcome(refused);
        assert_eq!(both, Outcome::Info("RemotingTimeoutException: x; MQBrokerException: full".into()));
    }
}
