//! Finding messages: all places are asked once without waiting; when none has any, one place holds the request, and several
//! are watched by notices (200054), which hide nothing, so that no message is handed out that nobody waits for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies::{
    self, MessageModel, QueryAssignmentRequest, QueryAssignmentResponse, SubscriptionData,
};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    NotificationRequest, NotificationResponse, PopMessageRequest, PopMessageResponse,
};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{Assignment, PoppedMessage, SimpleConsumer, StartAt, popped};
use crate::error::{ClientError, Result};
use crate::limits::SUSPECT_PAUSE_MAX;
use crate::metrics::Event;
use crate::remote::refusal;

/// Most messages of one request. Source: RocketMQ 5.3 PopMessageProcessor.processRequest.
const POP_MAX: usize = 32;

/// Longest time that a broker holds a request, so that new queues and brokers are noticed. Source: RocketMQ 5.3
/// DefaultMQPushConsumerImpl.BROKER_SUSPEND_MAX_TIME_MILLIS.
const HOLD_MAX: Duration = Duration::from_secs(15);

/// Pause after a broker said that there is a message, and then gave none: others were faster, or the filter took none.
const PAUSE: Duration = Duration::from_millis(50);

/// Somewhere to ask.
struct Place<'a> {
    subscription: &'a SubscriptionData,
    broker_name: String,
    /// -1 for all queues of the broker.
    queue_id: i32,
}

impl SimpleConsumer {
    /// Gives up to `max` messages, each hidden from others for `invisible` (ms resolution); waits up to `wait` for the first
    /// one, and for no further ones. No messages when the time is over.
    ///
    /// Which broker and topic is asked first changes with every call, so that none starves. A message that is not acknowledged
    /// in time comes again, its [`reconsume_times`](crate::ReceivedMessage::reconsume_times) one higher.
    ///
    /// Can be dropped, at a price: what a broker hands out at this moment comes again only when its time is over.
    ///
    /// # Errors
    /// `Invalid` for a `max` or `invisible` of zero; `NoRoute` when no broker has a subscribed topic; `Refused` when every
    /// broker does, with the reason of one, REQUEST_CODE_NOT_SUPPORTED from brokers without pop; when no broker can be reached
    /// until `wait` is over, why. Never fails when some broker gave messages.
    pub async fn receive(
        &self,
        max: usize,
        invisible: Duration,
        wait: Duration,
    ) -> Result<Vec<PoppedMessage>> {
        if max == 0 || ms(invisible) == 0 {
            return Err(ClientError::Invalid("receive needs a number and a time above zero".into()));
        }
        let deadline = Instant::now() + wait;
        loop {
            let failure = match self.places().await {
                Ok(mut places) => {
                    let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed) % places.len();
                    places.rotate_left(turn);
                    match self.look(&places, max, invisible, deadline).await {
                        Ok(found) if !found.is_empty() => return Ok(found),
                        Ok(_) => None,
                        Err(error) => Some(error),
                    }
                }
                Err(error) => Some(error),
            };
            let over = Instant::now() >= deadline;
            match failure {
                None if over => return Ok(Vec::new()),
                None => sleep(PAUSE).await,
                Some(error) if over || !may_pass(&error) => return Err(error),
                Some(error) => {
                    debug!(group = self.group(), %error, "asked again");
                    sleep(SUSPECT_PAUSE_MAX.min(deadline - Instant::now())).await;
                }
            }
        }
    }

    /// One look at all places, and one wait.
    async fn look(
        &self,
        places: &[Place<'_>],
        max: usize,
        invisible: Duration,
        deadline: Instant,
    ) -> Result<Vec<PoppedMessage>> {
        let mut found = Vec::new();
        let mut failure = None;
        let mut failures = 0;
        for place in places {
            while found.len() < max {
                let wanted = POP_MAX.min(max - found.len());
                match self.pop(place, wanted, invisible, Duration::ZERO).await {
                    Ok((count, messages)) => {
                        found.extend(messages);
                        // Fewer than asked for: the place is empty.
                        if count < wanted {
                            break;
                        }
                    }
                    Err(error) => {
                        warn!(group = self.group(), broker_name = place.broker_name, %error, "nothing received");
                        failures += 1;
                        failure = Some(error);
                        break;
                    }
                }
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        if let Some(error) = failure.filter(|_| failures == places.len()) {
            return Err(error);
        }
        let hold = deadline.saturating_duration_since(Instant::now()).min(HOLD_MAX);
        if hold.is_zero() {
            return Ok(found);
        }
        if let [place] = places {
            return Ok(self.pop(place, POP_MAX.min(max), invisible, hold).await?.1);
        }
        let mut notices: FuturesUnordered<_> = places.iter().map(|place| self.notice(place, hold)).collect();
        while let Some(notice) = notices.next().await {
            match notice {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => debug!(group = self.group(), %error, "no notice"),
            }
        }
        Ok(found)
    }

    /// Where to ask. Never empty.
    async fn places(&self) -> Result<Vec<Place<'_>>> {
        let mut places = Vec::new();
        for subscription in &self.shared.subscriptions {
            match &self.shared.assignment {
                Assignment::All => {
                    let route = self.shared.client.inner.routes.get(&subscription.topic).await?;
                    // Sorted by broker name.
                    let mut names: Vec<&str> =
                        route.read_queues().iter().map(|queue| queue.broker_name.as_str()).collect();
                    names.dedup();
                    places.extend(names.into_iter().map(|name| Place {
                        subscription,
                        broker_name: name.to_owned(),
                        queue_id: -1,
                    }));
                }
                Assignment::Broker(strategy) => places.extend(self.assigned(subscription, strategy).await?),
            }
        }
        if places.is_empty() {
            let topics: Vec<&str> = self.shared.subscriptions.iter().map(|s| s.topic.as_str()).collect();
            let reason = "no queue that can be read, or none given to this member".to_owned();
            return Err(ClientError::NoRoute { topic: topics.join(", "), reason });
        }
        Ok(places)
    }

    /// What the brokers give this member (400). Source: RocketMQ 5.3 MQClientInstance.queryAssignment.
    async fn assigned<'a>(
        &self,
        subscription: &'a SubscriptionData,
        strategy: &str,
    ) -> Result<Vec<Place<'a>>> {
        let inner = &self.shared.client.inner;
        let body = QueryAssignmentRequest {
            client_id: inner.client_id.clone(),
            consumer_group: self.group().to_owned(),
            message_model: MessageModel::Clustering,
            strategy_name: strategy.to_owned(),
            topic: subscription.topic.clone(),
        };
        let route = inner.routes.get(&subscription.topic).await?;
        let broker_name = route.brokers().keys().next().cloned().unwrap_or_default();
        let limit = inner.remote.call_timeout();
        let code = RequestCode::QueryAssignment;
        let (address, frame) = self
            .ask(&subscription.topic, &broker_name, code, ExtFields::new(), bodies::encode(&body), limit)
            .await?;
        if frame.header.response_code() != ResponseCode::Success {
            return Err(refusal(&address, &frame));
        }
        let answer: QueryAssignmentResponse =
            bodies::decode(&frame.body).map_err(|error| ClientError::malformed(&address, error))?;
        let given = answer.message_queue_assignments.unwrap_or_default().into_iter();
        Ok(given
            .map(|given| Place {
                subscription,
                broker_name: given.message_queue.broker_name,
                queue_id: given.message_queue.queue_id,
            })
            .collect())
    }

    /// One request. Gives how many messages the broker handed out, and those that the subscription selects.
    async fn pop(
        &self,
        place: &Place<'_>,
        max: usize,
        invisible: Duration,
        hold: Duration,
    ) -> Result<(usize, Vec<PoppedMessage>)> {
        let topic = &place.subscription.topic;
        let header = PopMessageRequest {
            consumer_group: self.group(),
            topic,
            queue_id: place.queue_id,
            max_message_nums: i32::try_from(max).unwrap_or(i32::MAX),
            invisible_time_ms: ms(invisible),
            poll_time_ms: ms(hold),
            // The broker puts its own time here: clocks that differ would make it give up at once.
            // Source: RocketMQ 5.3 PopMessageProcessor.processRequest.
            born_time: 0,
            init_mode: match self.shared.start {
                StartAt::Earliest => 0,
                StartAt::Latest => 1,
            },
            expression_type: place.subscription.expression_type.as_deref(),
            expression: Some(&place.subscription.sub_string),
            order: self.shared.ordered,
            attempt_id: None,
        };
        let limit = self.shared.client.inner.remote.call_timeout() + hold;
        let code = RequestCode::PopMessage;
        let (address, frame) =
            self.ask(topic, &place.broker_name, code, header.encode(), Bytes::new(), limit).await?;
        match frame.header.response_code() {
            ResponseCode::Success => {}
            ResponseCode::PollingFull | ResponseCode::PollingTimeout | ResponseCode::PullNotFound => {
                return Ok((0, Vec::new()));
            }
            _ => return Err(refusal(&address, &frame)),
        }
        let malformed = |reason: String| ClientError::malformed(&address, reason);
        let header =
            PopMessageResponse::decode(&frame.header.ext).map_err(|error| malformed(error.to_string()))?;
        let all = popped::read(topic, &place.broker_name, &header, &frame.body).map_err(malformed)?;
        let count = all.len();
        let bytes = all.iter().map(|message| message.body().len()).sum();
        let event = Event::Received { topic, group: self.group(), messages: count, bytes };
        self.shared.client.inner.metrics.event(event);
        Ok((count, self.selected(place.subscription, all).await))
    }

    /// Brokers select by the hash of the tag; what only shares it is acknowledged here.
    /// Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.processPopResult.
    async fn selected(
        &self,
        subscription: &SubscriptionData,
        messages: Vec<PoppedMessage>,
    ) -> Vec<PoppedMessage> {
        if subscription.tags_set.is_empty() {
            return messages;
        }
        let wanted = |message: &PoppedMessage| {
            message.tag().is_some_and(|tag| subscription.tags_set.iter().any(|known| known == tag))
        };
        let (wanted, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(wanted);
        for outcome in self.ack_many(&others).await {
            if let Err(error) = outcome {
                warn!(group = self.group(), %error, "a message of another tag is not acknowledged");
            }
        }
        wanted
    }

    /// Waits until a broker says that a place has a message, or the time is over.
    async fn notice(&self, place: &Place<'_>, hold: Duration) -> Result<bool> {
        let topic = &place.subscription.topic;
        let header = NotificationRequest {
            consumer_group: self.group(),
            topic,
            queue_id: place.queue_id,
            poll_time_ms: ms(hold),
            born_time: 0,
            order: self.shared.ordered,
            attempt_id: None,
        };
        let limit = self.shared.client.inner.remote.call_timeout() + hold;
        let code = RequestCode::Notification;
        let (address, frame) =
            self.ask(topic, &place.broker_name, code, header.encode(), Bytes::new(), limit).await?;
        if frame.header.response_code() != ResponseCode::Success {
            return Err(refusal(&address, &frame));
        }
        let header = NotificationResponse::decode(&frame.header.ext)
            .map_err(|error| ClientError::malformed(&address, error))?;
        Ok(header.has_message)
    }

    /// Asks the leader of a broker name; the answer may be any code.
    pub(super) async fn ask(
        &self,
        topic: &str,
        broker_name: &str,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
        limit: Duration,
    ) -> Result<(String, Frame)> {
        let inner = &self.shared.client.inner;
        let route = inner.routes.get(topic).await?;
        let address = route.leader_or_any(broker_name).ok_or_else(|| ClientError::NoRoute {
            topic: topic.to_owned(),
            reason: format!("{broker_name} is gone"),
        })?;
        match inner.remote.ask(address, code, ext, body, limit).await {
            Ok(frame) => {
                // A success hints at nothing, whatever it is called here.
                let answer = refusal(address, &frame);
                if answer.hints_at_stale_route() {
                    inner.routes.suspect(address, &answer);
                }
                Ok((address.to_owned(), frame))
            }
            Err(error) => {
                inner.routes.suspect(address, &error);
                Err(error)
            }
        }
    }
}

/// Claims that a fresh route, or a moment, may help. To ask again does no harm: messages that an unknown answer brought come
/// again when their time is over.
fn may_pass(error: &ClientError) -> bool {
    error.hints_at_stale_route() || error.may_be_repeated()
}

/// A time in ms, as it travels.
pub(super) fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
