//! CONSUMER_SEND_MSG_BACK (36): a consumer could not deal with a message. It is stored once more, for another try after a delay
//! that grows with the tries, or in the dead-letter queue of the group.
//!
//! Runs on the leader. The message is found by its commit-log offset, which is the same on every replica, so it does not matter
//! which leader stored it. What the client is told after a failure makes it send the message to its retry topic by itself.
// Source: RocketMQ 5.3 AbstractSendMessageProcessor#consumerSendMsgBack, its checks in their order.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_core::rules::{
    BackDecision, decide_send_back, delayed_properties, group_to_make, retry_times_max, returned_properties,
};
use flotilla_core::{Command, Perm, TopicConfig};
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::ConsumerSendMessageBackRequest;
use flotilla_remoting::message::{MessageError, MessageView, properties};
use flotilla_remoting::names;
use tokio::runtime::Handle;
use tracing::debug;

use super::dead_letter::make_dlq;
use super::queues::{message_at, readable};
use super::respond::{bad_header, done};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::group::encoder::Encoder;
use crate::group::work::{Messages, NewMessage, SendAnswer, SendWork};
use crate::leader::LeaderCalls;
use crate::metrics::{Cause, DeadLetters, Metrics};
use crate::series::Series;

/// Topic flag of a retry topic that a unit-mode consumer makes. Source: TopicSysFlag 5.3.3.
const TOPIC_SYS_FLAG_UNIT_SUB: i32 = 2;

/// Serves 36. Runs on the leader.
#[derive(Clone)]
pub struct SendBackHandler {
    pub inner: Arc<SendBacks>,
}

pub struct SendBacks {
    pub group: Group,
    pub leader: Arc<LeaderCalls>,
    pub log: LogReader,
    pub encoder: Encoder,
    pub runtime: Handle,
    pub broker_name: String,
    pub metrics: Metrics,
    pub series: Arc<Series>,
    /// Name of the topic where delayed messages wait.
    pub schedule_topic: Arc<str>,
}

type Refusal = (ResponseCode, String);

/// What the client asks for.
struct Wish {
    group: String,
    /// Commit-log offset of the message.
    offset: i64,
    level: i32,
    times_max: Option<i32>,
    unit_mode: bool,
    client_version: i32,
}

/// What the checks that need no message have found.
enum Checked {
    /// The group wants no retries: the message counts as consumed.
    Nothing,
    /// The group or its retry topic has to be made first.
    Needs(Command),
    Retry(Retry),
}

/// The group's rules and its retry topic.
struct Retry {
    topic: Arc<str>,
    queue_id: u32,
    times_max: i32,
}

impl Handler for SendBackHandler {
    fn handle(&self, call: Call) {
        let inner = self.inner.clone();
        self.inner.runtime.spawn(async move { inner.take_back(call).await });
    }
}

impl SendBacks {
    async fn take_back(&self, call: Call) {
        let wish = match ConsumerSendMessageBackRequest::decode(&call.request.header.ext) {
            Ok(request) => Wish {
                group: request.group.to_owned(),
                offset: request.offset,
                level: request.delay_level,
                times_max: request.max_reconsume_times,
                unit_mode: request.unit_mode,
                client_version: call.request.header.version,
            },
            Err(error) => return bad_header(call, &error),
        };
        match self.store(&call, &wish).await {
            Ok(None) => done(call),
            Ok(Some(store)) => self.send(call, &wish.group, store),
            Err((code, remark)) => {
                self.metrics.rejected(cause(code));
                call.refuse(code, remark);
            }
        }
    }

    /// The message as it is to be stored; nothing when the group wants none.
    async fn store(&self, call: &Call, wish: &Wish) -> Result<Option<Store>, Refusal> {
        let mut checked = self.check(wish)?;
        // The group and then its topic, at most.
        for _ in 0..2 {
            let Checked::Needs(command) = checked else { break };
            self.make(command, call).await?;
            checked = self.check(wish)?;
        }
        let retry = match checked {
            Checked::Nothing => return Ok(None),
            Checked::Retry(retry) => retry,
            Checked::Needs(_) => {
                let remark = format!("topic[{}] not exist", names::retry_topic(&wish.group));
                return Err((ResponseCode::SystemError, remark));
            }
        };
        let record = self.find(call, wish.offset).await.ok_or_else(|| {
            (ResponseCode::SystemError, format!("look message by offset failed, {}", wish.offset))
        })?;
        let (view, _) = MessageView::parse(&record).expect("it was parsed when it was found");
        match decide_send_back(view.reconsume_times(), retry.times_max, wish.level) {
            BackDecision::DeadLetter => self.dead_letter(call, &wish.group, &record, &view).await.map(Some),
            BackDecision::Retry { level } => {
                let level = self.group.tables().settings().delay_levels.capped(level);
                let text = returned(&view, i32::try_from(level).unwrap_or(i32::MAX));
                let text = delayed_properties(&text, level, &retry.topic, retry.queue_id);
                let message = self.again(&record, &view, &self.schedule_topic, text)?;
                let topic = self.schedule_topic.clone();
                let origin = origin(&view).to_owned();
                Ok(Some(Store { topic, queue_id: level - 1, message, origin, dead_letter: None }))
            }
        }
    }

    fn check(&self, wish: &Wish) -> Result<Checked, Refusal> {
        let tables = self.group.tables();
        let Some(group) = tables.group(&wish.group) else {
            if let Some(group) = group_to_make(&tables, &wish.group) {
                return Ok(Checked::Needs(Command::CreateGroup(group)));
            }
            let remark = format!("subscription group not exist, {}", wish.group);
            return Err((ResponseCode::SubscriptionGroupNotExist, remark));
        };
        if !tables.settings().broker_permission.is_writable() {
            let remark = format!("the broker[{}] sending message is forbidden", self.broker_name);
            return Err((ResponseCode::NoPermission, remark));
        }
        if group.retry_queue_count == 0 {
            return Ok(Checked::Nothing);
        }
        let name = names::retry_topic(&wish.group);
        let Some(topic) = tables.topic(&name) else {
            let sys_flag = if wish.unit_mode { TOPIC_SYS_FLAG_UNIT_SUB } else { 0 };
            let topic = TopicConfig::new(name, group.retry_queue_count, Perm::READ_WRITE);
            return Ok(Checked::Needs(Command::CreateTopic(TopicConfig { sys_flag, ..topic })));
        };
        if !topic.perm.is_writable() {
            return Err((
                ResponseCode::NoPermission,
                format!("the topic[{name}] sending message is forbidden"),
            ));
        }
        // A topic that was made with fewer queues than the group has now is read in those only.
        let queues = group.retry_queue_count.min(topic.read_queue_count).max(1);
        Ok(Checked::Retry(Retry {
            topic: topic.name.clone(),
            queue_id: rand::random_range(0..queues),
            times_max: retry_times_max(group, wish.client_version, wish.times_max),
        }))
    }

    /// The stored message. A replica that consumers pull from may have applied more than this leader has, so a miss is believed
    /// only after the leader has applied all that was committed.
    async fn find(&self, call: &Call, offset: i64) -> Option<Bytes> {
        let read = || {
            let (log, group) = (self.log.clone(), self.group.clone());
            tokio::task::spawn_blocking(move || message_at(&log, offset, &readable(&group)))
        };
        if let Some(found) = read().await.ok().flatten() {
            return Some(found);
        }
        self.group.replica().read_index(call.deadline).await.ok()?;
        read().await.ok().flatten()
    }

    async fn dead_letter(
        &self,
        call: &Call,
        group: &str,
        record: &Bytes,
        view: &MessageView<'_>,
    ) -> Result<Store, Refusal> {
        let name = names::dlq_topic(group);
        let known = self.group.tables().topic(&name).map(|topic| topic.name.clone());
        let topic = match known {
            Some(topic) => topic,
            None => {
                self.make(make_dlq(&name), call).await?;
                Arc::from(name)
            }
        };
        let message = self.again(record, view, &topic, returned(view, 0))?;
        let origin = origin(view).to_owned();
        let dead_letter = Some(self.metrics.dead_letters(&origin, group));
        debug!(group, topic = origin, id = %view.offset_message_id(), "message becomes a dead letter");
        Ok(Store { topic, queue_id: 0, message, origin, dead_letter })
    }

    async fn make(&self, command: Command, call: &Call) -> Result<(), Refusal> {
        match self.leader.propose(command, call.deadline).await {
            Ok(_) => Ok(()),
            Err(error) => Err((ResponseCode::SystemError, format!("topic could not be made: {error}"))),
        }
    }

    /// The same message, consumed in vain once more.
    fn again(
        &self,
        record: &Bytes,
        view: &MessageView<'_>,
        topic: &str,
        properties: String,
    ) -> Result<NewMessage, Refusal> {
        let message = NewMessage {
            size: 0,
            flag: view.flag(),
            sys_flag: view.sys_flag().0,
            born_timestamp: view.born_timestamp(),
            born_host: view.born_host(),
            reconsume_times: view.reconsume_times().saturating_add(1),
            body: record.slice_ref(view.body()),
            properties,
            complete: true,
        };
        match self.encoder.size(topic, &message) {
            Ok(size) => Ok(NewMessage { size, ..message }),
            Err(MessageError::PropertiesTooLong { .. }) => {
                Err((ResponseCode::SystemError, "PROPERTIES_SIZE_EXCEEDED".to_owned()))
            }
            Err(_) => Err((ResponseCode::SystemError, "MESSAGE_ILLEGAL".to_owned())),
        }
    }

    fn send(&self, call: Call, group: &str, store: Store) {
        let Store { topic, queue_id, message, origin, dead_letter } = store;
        let series = self.series.topic(&topic);
        let group = self.series.group(&origin, group);
        let (messages, answer) = (Messages::One(message), SendAnswer::TakenBack { group });
        let work = SendWork { call, topic, queue_id, messages, answer, series, dead_letter };
        if let Err(work) = self.group.send(Box::new(work)) {
            self.metrics.rejected(Cause::Busy);
            work.call.refuse(ResponseCode::SystemError, "OS_PAGE_CACHE_BUSY");
        }
    }
}

/// The topic that a message was first sent to.
fn origin<'a>(view: &MessageView<'a>) -> &'a str {
    view.property(properties::RETRY_TOPIC).unwrap_or_else(|| view.topic())
}

fn returned(view: &MessageView<'_>, level: i32) -> String {
    returned_properties(view.properties(), view.topic(), &view.offset_message_id().to_string(), level)
}

fn cause(code: ResponseCode) -> Cause {
    match code {
        ResponseCode::NoPermission => Cause::Permission,
        ResponseCode::SubscriptionGroupNotExist => Cause::NotFound,
        _ => Cause::Internal,
    }
}

/// A message as it is stored again.
struct Store {
    topic: Arc<str>,
    queue_id: u32,
    message: NewMessage,
    /// The topic that it was first sent to.
    origin: String,
    /// Counters of the group's dead letters, when it is one.
    dead_letter: Option<Arc<DeadLetters>>,
}
