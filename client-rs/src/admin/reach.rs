//! Who is asked: the leader of a broker name, of all that have a topic, of a cluster; every name server.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies::{self, BrokerData};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::names::retry_topic;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::AdminClient;
use crate::error::{ClientError, Result};
use crate::limits::{SUSPECT_PAUSE_MAX, SUSPECT_PAUSE_MIN};
use crate::remote::success;
use crate::routes::LEADER;

/// Which brokers a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every broker name that the name servers know.
    All,
    /// The broker names of a cluster.
    Cluster(String),
    /// One broker name.
    Broker(String),
}

/// Where the address of a leader is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'a> {
    /// The route of a topic that the client keeps: for what is asked often.
    Kept(&'a str),
    /// The route of a topic, asked for each time.
    Topic(&'a str),
    /// The list of brokers.
    Cluster,
}

/// An answer and who gave it.
pub(super) struct Answer {
    pub(super) address: String,
    pub(super) frame: Frame,
}

impl Answer {
    /// The body, read.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T> {
        bodies::decode(&self.frame.body).map_err(|error| ClientError::malformed(&self.address, error))
    }

    /// A part of the answer, read by `read`.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn header<'a, T, E: std::fmt::Display>(
        &'a self,
        read: impl FnOnce(&'a ExtFields) -> std::result::Result<T, E>,
    ) -> Result<T> {
        read(&self.frame.header.ext).map_err(|error| ClientError::malformed(&self.address, error))
    }
}

/// A request to send to several.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) code: RequestCode,
    pub(super) ext: ExtFields,
    pub(super) body: Bytes,
    /// Time for one attempt, instead of the client's.
    pub(super) limit: Option<Duration>,
    /// Doing it twice does no harm.
    pub(super) repeatable: bool,
    /// Codes besides success that are an answer.
    pub(super) accepted: &'static [ResponseCode],
}

impl Ask {
    pub(super) fn new(code: RequestCode, ext: ExtFields) -> Ask {
        Ask { code, ext, body: Bytes::new(), limit: None, repeatable: true, accepted: &[] }
    }

    pub(super) fn with_body(mut self, body: Bytes) -> Ask {
        self.body = body;
        self
    }

    pub(super) fn within(mut self, limit: Duration) -> Ask {
        self.limit = Some(limit);
        self
    }

    pub(super) fn accepting(mut self, codes: &'static [ResponseCode]) -> Ask {
        self.accepted = codes;
        self
    }

    pub(super) fn once(mut self) -> Ask {
        self.repeatable = false;
        self
    }
}

impl AdminClient {
    /// Asks an address, once.
    pub(super) async fn at(&self, address: &str, ask: &Ask) -> Result<Answer> {
        let limit = ask.limit.unwrap_or(self.inner().remote.call_timeout());
        self.at_within(address, ask, limit).await
    }

    async fn at_within(&self, address: &str, ask: &Ask, limit: Duration) -> Result<Answer> {
        let remote = &self.inner().remote;
        let frame = remote.ask(address, ask.code, ask.ext.clone(), ask.body.clone(), limit).await?;
        let accepted = ask.accepted.contains(&frame.header.response_code());
        let frame = if accepted { frame } else { success(address, frame)? };
        Ok(Answer { address: address.to_owned(), frame })
    }

    /// Asks the leader of a broker name, and again while that may be another one by now.
    pub(super) async fn at_leader(&self, by: By<'_>, broker_name: &str, ask: &Ask) -> Result<Answer> {
        let deadline = Instant::now() + self.patience;
        let limit = ask.limit.unwrap_or(self.inner().remote.call_timeout());
        let mut pause = SUSPECT_PAUSE_MIN;
        let mut fresh = false;
        loop {
            let failure = match self.leader(by, broker_name, fresh).await {
                Ok(address) => match self.at_within(&address, ask, limit).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        if error.hints_at_stale_route() {
                            self.inner().routes.suspect(&address, &error);
                        }
                        error
                    }
                },
                Err(error) => error,
            };
            let repeat = may_pass(&failure) && (ask.repeatable || !failure.outcome_is_unknown());
            if !repeat || Instant::now() + pause >= deadline {
                return Err(failure);
            }
            debug!(broker_name, code = %ask.code, %failure, "asked again");
            sleep(pause).await;
            pause = (pause * 2).min(SUSPECT_PAUSE_MAX);
            fresh = true;
        }
    }

    /// Address of a broker name's leader; of any replica when there is none, for servers whose replicas hand calls on.
    async fn leader(&self, by: By<'_>, broker_name: &str, fresh: bool) -> Result<String> {
        let found = match by {
            By::Kept(topic) => {
                let routes = &self.inner().routes;
                let route = if fresh { routes.refresh(topic).await? } else { routes.get(topic).await? };
                route.brokers().get(broker_name).and_then(leader_or_any)
            }
            By::Topic(topic) => {
                let route = self.inner().routes.look(topic).await?;
                route
                    .broker_datas
                    .iter()
                    .find(|broker| broker.broker_name == broker_name)
                    .and_then(leader_or_any)
            }
            By::Cluster => {
                let info = self.cluster().await?;
                info.brokers.get(broker_name).and_then(leader_or_any)
            }
        };
        found.ok_or_else(|| ClientError::NoRoute {
            topic: broker_name.to_owned(),
            reason: "the name servers know no such broker, or none of its replicas".into(),
        })
    }

    /// Asks the leader of every broker name that has a topic; answers by broker name.
    ///
    /// # Errors
    /// `NoRoute` when no broker has it; the first failure.
    pub(super) async fn at_leaders_of(&self, topic: &str, ask: &Ask) -> Result<BTreeMap<String, Answer>> {
        let route = self.inner().routes.look(topic).await?;
        let names: Vec<String> = route.broker_datas.into_iter().map(|broker| broker.broker_name).collect();
        self.at_each(By::Topic(topic), names.iter(), ask).await
    }

    /// Asks the leader of every broker name of a scope.
    ///
    /// # Errors
    /// `NoRoute` when the scope names nothing that is known; the first failure.
    pub(super) async fn at_scope(&self, scope: &Scope, ask: &Ask) -> Result<BTreeMap<String, Answer>> {
        let names = self.broker_names(scope).await?;
        self.at_each(By::Cluster, names.iter(), ask).await
    }

    /// Asks the brokers that serve a group: those of its retry topic, else of the topic, else all.
    /// Source: RocketMQ 5.3 DefaultMQAdminExtImpl.examineConsumeStats, without its last resort, a failure.
    pub(super) async fn at_brokers_of_group(
        &self,
        group: &str,
        topic: Option<&str>,
        ask: &Ask,
    ) -> Result<BTreeMap<String, Answer>> {
        let retry = retry_topic(group);
        for topic in std::iter::once(retry.as_str()).chain(topic) {
            match self.at_leaders_of(topic, ask).await {
                Err(ClientError::NoRoute { topic: unknown, .. }) if unknown == topic => {}
                other => return other,
            }
        }
        self.at_scope(&Scope::All, ask).await
    }

    async fn at_each(
        &self,
        by: By<'_>,
        broker_names: impl Iterator<Item = &String>,
        ask: &Ask,
    ) -> Result<BTreeMap<String, Answer>> {
        let asked = broker_names.map(|broker_name| async move {
            Ok((broker_name.clone(), self.at_leader(by, broker_name, ask).await?))
        });
        futures::future::try_join_all(asked).await.map(|answers| answers.into_iter().collect())
    }

    /// Asks every name server, one after the other.
    ///
    /// # Errors
    /// The first failure: name servers after it were not asked.
    pub(super) async fn at_name_servers(&self, ask: &Ask) -> Result<BTreeMap<String, Answer>> {
        let mut answers = BTreeMap::new();
        for address in self.inner().routes.name_server_addresses().await? {
            let answer = self.at(&address, ask).await?;
            answers.insert(address, answer);
        }
        Ok(answers)
    }

    /// Asks the name servers in turn until one answers.
    pub(super) async fn at_a_name_server(&self, ask: &Ask) -> Result<Answer> {
        let routes = &self.inner().routes;
        let (address, frame) = routes.ask_name_server(ask.code, ask.ext.clone(), ask.body.clone()).await?;
        let frame = success(&address, frame)?;
        Ok(Answer { address, frame })
    }

    pub(super) async fn broker_names(&self, scope: &Scope) -> Result<Vec<String>> {
        let cluster = self.cluster().await?;
        let (what, names): (&str, Vec<String>) = match scope {
            Scope::All => ("all brokers", cluster.brokers.into_keys().collect()),
            Scope::Cluster(name) => (name, cluster.clusters.get(name).cloned().unwrap_or_default()),
            Scope::Broker(name) => {
                (name, cluster.brokers.contains_key(name).then(|| name.clone()).into_iter().collect())
            }
        };
        if names.is_empty() {
            let reason = "the name servers know no such broker".into();
            return Err(ClientError::NoRoute { topic: what.to_owned(), reason });
        }
        Ok(names)
    }
}

/// Address of the leader, else that of another replica.
fn leader_or_any(broker: &BrokerData) -> Option<String> {
    let addresses = &broker.broker_addrs;
    addresses.get(&LEADER).or_else(|| addresses.values().next()).cloned()
}

/// Claims that the same call may succeed in a moment, at this server or another: an election, a restart. A topic or group that
/// does not exist is not among these: a fresh answer says the same.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::NotSent { .. } | ClientError::Unknown { .. } | ClientError::Busy(_) => true,
        ClientError::Refused { code, .. } => matches!(
            code,
            ResponseCode::ServiceNotAvailable
                | ResponseCode::SystemBusy
                | ResponseCode::FlowControl
                | ResponseCode::NotLeader
                | ResponseCode::NotLeaderForQueue
                | ResponseCode::GoAway
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_election_explains_is_asked_again_and_nothing_else() {
        let refused = |code| ClientError::Refused { address: "a".into(), code, remark: String::new() };
        assert!(may_pass(&refused(ResponseCode::ServiceNotAvailable)));
        assert!(may_pass(&ClientError::Unknown { address: "a".into(), reason: String::new() }));
        for code in [ResponseCode::TopicNotExist, ResponseCode::SystemError, ResponseCode::NoPermission] {
            assert!(!may_pass(&refused(code)), "{code}");
        }
        assert!(!may_pass(&ClientError::NoRoute { topic: "t".into(), reason: String::new() }));
    }

    #[test]
    fn the_leader_comes_before_other_replicas() {
        let broker = |ids: &[i64]| BrokerData {
            broker_addrs: ids.iter().map(|id| (*id, format!("a:{id}"))).collect(),
            ..BrokerData::default()
        };
        assert_eq!(leader_or_any(&broker(&[0, 2])), Some("a:0".into()));
        // Java's replicas without a number yet have negative ids.
        assert_eq!(leader_or_any(&broker(&[-1, 0])), Some("a:0".into()));
        assert_eq!(leader_or_any(&broker(&[2])), Some("a:2".into()));
        assert_eq!(leader_or_any(&broker(&[])), None);
    }
}
