//! One pull of a queue: whom to ask, and what the answer means.
//!
//! The leader is asked unless a broker suggests another replica. A replica that can't be reached is avoided until the route
//! changes: any other one of the broker name serves pulls too. Source: RocketMQ 5.3 PullAPIWrapper.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{PullMessageRequest, PullMessageResponse, PullSysFlag};
use flotilla_remoting::{RequestCode, ResponseCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::calls::Calls;
use super::expression::Subscription;
use crate::error::{ClientError, Result};
use crate::limits;
use crate::received::ReceivedMessage;
use crate::remote::refusal;
use crate::routes::{LEADER, TopicRoute};

/// What a pull asks for.
pub(crate) struct Wish<'a> {
    pub(crate) subscription: &'a Subscription,
    pub(crate) offset: i64,
    pub(crate) messages_max: usize,
    /// Consumed up to here: stored by the way.
    pub(crate) commit: Option<i64>,
}

/// What a pull brought.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// Messages; after the selection by tag perhaps none.
    Messages { messages: Vec<ReceivedMessage>, next: i64 },
    /// Nothing for now.
    Nothing { next: i64 },
    /// The offset is not within the queue; this one is.
    OffsetMoved { next: i64 },
}

/// Pulls one queue, one pull at a time.
pub(crate) struct Puller {
    calls: Calls,
    queue: Arc<MessageQueue>,
    route: watch::Receiver<Option<Arc<TopicRoute>>>,
    /// Replica that the broker suggested.
    suggested: i64,
    /// Address that failed, until the route changes.
    avoided: Option<String>,
    /// Code for pulls; a broker without 361 gets 11.
    code: RequestCode,
    /// Pause after the next failure in a row.
    pause: Duration,
    /// When the last pull was answered with nothing, and how often in a row at once.
    empty_at_once: u32,
}

impl Puller {
    pub(crate) fn new(calls: Calls, queue: Arc<MessageQueue>, lite: bool) -> Puller {
        let mut route = calls.client.routes.watch(&queue.topic);
        route.mark_unchanged();
        let code = if lite { RequestCode::LitePullMessage } else { RequestCode::PullMessage };
        let pause = limits::PULL_PAUSE_MIN;
        Puller { calls, queue, route, suggested: LEADER, avoided: None, code, pause, empty_at_once: 0 }
    }

    /// One pull, held by the broker for up to 15 s when there is nothing. Safe to drop.
    ///
    /// # Errors
    /// Any; [`Puller::recover`] knows how long to wait.
    pub(crate) async fn pull(&mut self, wish: &Wish<'_>) -> Result<Pulled> {
        if self.route.has_changed().unwrap_or(false) {
            self.route.mark_unchanged();
            self.avoided = None;
        }
        let (address, is_leader) = self.address().await?;
        let began = Instant::now();
        let ext = self.header(wish, is_leader).encode();
        let remote = &self.calls.client.remote;
        let asked = remote.ask(&address, self.code, ext, Bytes::new(), limits::PULL_TIMEOUT);
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(error) => {
                self.calls.client.routes.suspect(&address, &error);
                self.avoided = Some(address);
                return Err(error);
            }
        };
        let pulled = self.understand(&address, wish, answer)?;
        self.pause = limits::PULL_PAUSE_MIN;
        match &pulled {
            Pulled::Nothing { next } if *next == wish.offset && began.elapsed() < limits::PULL_HELD_MIN => {
                // A broker that does not hold pulls must not be asked without pause.
                self.empty_at_once += 1;
                if self.empty_at_once > 3 {
                    tokio::time::sleep(limits::PULL_PAUSE_MIN).await;
                }
            }
            _ => self.empty_at_once = 0,
        }
        Ok(pulled)
    }

    /// Waits for as long as a failure asks for, or until the route changes. Safe to drop.
    pub(crate) async fn recover(&mut self, error: &ClientError) {
        let pause = match error {
            ClientError::Refused { code, .. } => match code {
                ResponseCode::FlowControl => limits::PULL_PAUSE_FLOW_CONTROL,
                ResponseCode::SubscriptionNotExist
                | ResponseCode::SubscriptionNotLatest
                | ResponseCode::FilterDataNotExist
                | ResponseCode::FilterDataNotLatest => {
                    // The broker has not heard of this consumer.
                    self.calls.client.beat_soon();
                    limits::PULL_PAUSE_SUBSCRIPTION
                }
                ResponseCode::ServiceNotAvailable
                | ResponseCode::NotLeader
                | ResponseCode::NotLeaderForQueue
                | ResponseCode::GoAway
                | ResponseCode::SystemBusy => self.next_pause(),
                _ => limits::PULL_PAUSE_REFUSED,
            },
            _ => self.next_pause(),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = self.route.changed() => {
                self.avoided = None;
                if changed.is_err() {
                    // The client has stopped.
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (self.pause * 2).min(limits::PULL_PAUSE_MAX);
        pause
    }

    /// Whom to ask, and whether it leads.
    async fn address(&self) -> Result<(String, bool)> {
        let route = self.calls.client.routes.get(&self.queue.topic).await?;
        let name = &self.queue.broker_name;
        let avoided = |address: &&str| self.avoided.as_deref() != Some(*address);
        let suggested = route.replica(name, self.suggested).filter(avoided);
        if let Some(address) = suggested {
            return Ok((address.to_owned(), self.suggested == LEADER));
        }
        if let Some(leader) = route.leader(name).filter(avoided) {
            return Ok((leader.to_owned(), true));
        }
        let replicas = route.brokers().get(name).map(|broker| &broker.broker_addrs);
        let other = replicas.and_then(|all| all.values().map(String::as_str).find(|at| avoided(&at)));
        match other.or_else(|| route.leader_or_any(name)) {
            Some(address) => Ok((address.to_owned(), false)),
            None => {
                let reason = format!("the route of {} does not name this broker", self.queue.topic);
                Err(ClientError::NoRoute { topic: name.clone(), reason })
            }
        }
    }

    fn header<'a>(&'a self, wish: &'a Wish<'_>, is_leader: bool) -> PullMessageRequest<'a> {
        let data = &wish.subscription.data;
        let mut flags = PullSysFlag::SUSPEND;
        // With the text in the pull a broker need not have heard a heartbeat before; conditions are compiled once, from those.
        let inline = data.is_tag();
        if inline {
            flags |= PullSysFlag::SUBSCRIPTION;
        }
        let commit = wish.commit.filter(|_| is_leader);
        if commit.is_some() {
            flags |= PullSysFlag::COMMIT_OFFSET;
        }
        if self.code == RequestCode::LitePullMessage {
            flags |= PullSysFlag::LITE_PULL;
        }
        PullMessageRequest {
            consumer_group: &self.calls.group,
            topic: &self.queue.topic,
            queue_id: self.queue.queue_id,
            queue_offset: wish.offset,
            max_message_nums: i32::try_from(wish.messages_max).unwrap_or(i32::MAX),
            sys_flag: flags,
            commit_offset: commit.unwrap_or(0),
            suspend_timeout_ms: limits::PULL_SUSPEND_MS,
            subscription: inline.then_some(data.sub_string.as_str()),
            subscription_version: data.sub_version,
            expression_type: data.expression_type.as_deref(),
            max_message_bytes: Some(limits::PULL_BYTES_MAX),
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: Some(&self.queue.broker_name),
        }
    }

    fn understand(&mut self, address: &str, wish: &Wish<'_>, answer: Frame) -> Result<Pulled> {
        let code = answer.header.response_code();
        match code {
            ResponseCode::Success
            | ResponseCode::PullNotFound
            | ResponseCode::PullRetryImmediately
            | ResponseCode::PullOffsetMoved => {}
            ResponseCode::RequestCodeNotSupported if self.code == RequestCode::LitePullMessage => {
                // Older than 4.9: the same request under the old code.
                self.code = RequestCode::PullMessage;
                return Ok(Pulled::Nothing { next: wish.offset });
            }
            _ => {
                let error = refusal(address, &answer);
                if error.hints_at_stale_route() {
                    self.calls.client.routes.suspect(address, &error);
                    self.avoided = Some(address.to_owned());
                }
                return Err(error);
            }
        }
        let header = PullMessageResponse::decode(&answer.header.ext)
            .map_err(|error| ClientError::malformed(address, error))?;
        self.suggested = header.suggest_which_broker_id;
        let next = header.next_begin_offset;
        match code {
            ResponseCode::Success => {
                let mut messages = ReceivedMessage::all(&self.queue, &answer.body)
                    .map_err(|error| ClientError::malformed(address, error))?;
                wish.subscription.select(&mut messages);
                Ok(Pulled::Messages { messages, next })
            }
            ResponseCode::PullOffsetMoved => Ok(Pulled::OffsetMoved { next }),
            _ => Ok(Pulled::Nothing { next }),
        }
    }
}
