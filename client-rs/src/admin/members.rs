//! Producers and consumers that are online (203, 204, 328), and what consumers tell of themselves (223, 307, 309).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flotilla_remoting::bodies::{
    ConsumeDirectlyResult, ConsumerConnection, ConsumerRunningInfo, ConsumerStatusBody, MessageQueue,
    ProducerConnection, ProducerInfo, ProducerTable,
};
use flotilla_remoting::headers::{
    ConsumeMessageDirectlyRequest, GetConsumerConnectionListRequest, GetConsumerRunningInfoRequest,
    GetConsumerStatusRequest, GetProducerConnectionListRequest,
};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};

use super::AdminClient;
use super::reach::{Ask, By, Scope};
use crate::error::{ClientError, Result};
use crate::received::ReceivedMessage;

/// A broker passes such calls on and waits 10 s for the client. Source: RocketMQ 5.3 Broker2Client, AdminBrokerProcessor.
const RELAYED: Duration = Duration::from_secs(12);

impl AdminClient {
    /// Members of a consumer group that are online, with their subscriptions; `None` when there is none.
    ///
    /// # Errors
    /// A broker can't be reached.
    pub async fn consumers(&self, group: &str) -> Result<Option<ConsumerConnection>> {
        let ext = GetConsumerConnectionListRequest { consumer_group: group }.encode();
        let ask = Ask::new(RequestCode::GetConsumerConnectionList, ext);
        let mut all: Option<ConsumerConnection> = None;
        for broker_name in self.brokers_of_group(group).await? {
            let part: ConsumerConnection = match self.at_leader(By::Cluster, &broker_name, &ask).await {
                Ok(answer) => answer.body()?,
                Err(error) if error.code() == Some(ResponseCode::ConsumerNotOnline) => continue,
                Err(error) => return Err(error),
            };
            match &mut all {
                None => all = Some(part),
                // Members tell every broker the same.
                Some(all) => {
                    let known: BTreeSet<String> =
                        all.connection_set.iter().map(|member| member.client_id.clone()).collect();
                    let new =
                        part.connection_set.into_iter().filter(|member| !known.contains(&member.client_id));
                    all.connection_set.extend(new);
                    all.subscription_table.extend(part.subscription_table);
                }
            }
        }
        Ok(all.filter(|all| !all.connection_set.is_empty()))
    }

    /// Members of a producer group that are online; `None` when there is none. The topic tells which brokers they talk to.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic.
    pub async fn producers(&self, group: &str, topic: &str) -> Result<Option<ProducerConnection>> {
        let ext = GetProducerConnectionListRequest { producer_group: group }.encode();
        let ask = Ask::new(RequestCode::GetProducerConnectionList, ext);
        let mut all = ProducerConnection::default();
        let route = self.topic_route(topic).await?;
        for broker in &route.broker_datas {
            let part: ProducerConnection =
                match self.at_leader(By::Topic(topic), &broker.broker_name, &ask).await {
                    Ok(answer) => answer.body()?,
                    // Source: RocketMQ 5.3 AdminBrokerProcessor.getProducerConnectionList: `the producer group[..] not exist`.
                    Err(ClientError::Refused { code: ResponseCode::SystemError, remark, .. })
                        if remark.contains("not exist") =>
                    {
                        continue;
                    }
                    Err(error) => return Err(error),
                };
            for member in part.connection_set {
                if all.connection_set.iter().all(|known| known.client_id != member.client_id) {
                    all.connection_set.push(member);
                }
            }
        }
        Ok((!all.connection_set.is_empty()).then_some(all))
    }

    /// All producers that are online at the brokers of a scope, by group.
    ///
    /// # Errors
    /// `NoRoute` when the scope names no broker.
    pub async fn all_producers(&self, scope: &Scope) -> Result<BTreeMap<String, Vec<ProducerInfo>>> {
        let ask = Ask::new(RequestCode::GetAllProducerInfo, ExtFields::new());
        let mut all: BTreeMap<String, Vec<ProducerInfo>> = BTreeMap::new();
        for answer in self.at_scope(scope, &ask).await?.values() {
            for (group, members) in answer.body::<ProducerTable>()?.data {
                let known = all.entry(group).or_default();
                for member in members {
                    if known.iter().all(|other| other.client_id != member.client_id) {
                        known.push(member);
                    }
                }
            }
        }
        Ok(all)
    }

    /// What a member of a consumer group is doing: its queues, rates and settings; with `stacks` also its stack traces, if it is
    /// written in Java.
    ///
    /// # Errors
    /// `Refused` when the member is not online, or does not answer within 10 s.
    pub async fn running_info(
        &self,
        group: &str,
        client_id: &str,
        stacks: bool,
    ) -> Result<ConsumerRunningInfo> {
        let header =
            GetConsumerRunningInfoRequest { consumer_group: group, client_id, jstack_enable: stacks };
        let ask = Ask::new(RequestCode::GetConsumerRunningInfo, header.encode()).within(RELAYED);
        self.at_first(group, &ask).await?.body()
    }

    /// Queue offsets that the online members of a group are at in a topic, by client; of one member or of all.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic; `Refused` when none is online.
    pub async fn consumer_status(
        &self,
        group: &str,
        topic: &str,
        client_id: Option<&str>,
    ) -> Result<BTreeMap<String, BTreeMap<MessageQueue, i64>>> {
        let ext = GetConsumerStatusRequest { topic, group, client_addr: client_id }.encode();
        let ask = Ask::new(RequestCode::InvokeBrokerToGetConsumerStatus, ext).within(RELAYED);
        let mut all = BTreeMap::new();
        for answer in self.at_leaders_of(topic, &ask).await?.values() {
            all.extend(answer.body::<ConsumerStatusBody>()?.consumer_table.unwrap_or_default());
        }
        Ok(all)
    }

    /// Lets a member of a consumer group work on a message now, whether it was consumed before or not.
    ///
    /// Not repeated when its outcome is unknown.
    ///
    /// # Errors
    /// `Refused` when the member is not online, or does not answer within 10 s.
    pub async fn consume_directly(
        &self,
        group: &str,
        client_id: &str,
        message: &ReceivedMessage,
    ) -> Result<ConsumeDirectlyResult> {
        let queue = message.queue();
        let id = message.offset_message_id();
        let header = ConsumeMessageDirectlyRequest {
            consumer_group: group,
            client_id: Some(client_id),
            message_id: Some(&id),
            broker_name: (!queue.broker_name.is_empty()).then_some(queue.broker_name.as_str()),
            topic: Some(&queue.topic),
            topic_sys_flag: None,
            group_sys_flag: None,
        };
        let ask = Ask::new(RequestCode::ConsumeMessageDirectly, header.encode()).within(RELAYED).once();
        if queue.broker_name.is_empty() {
            return self.at(&message.store_host().to_string(), &ask).await?.body();
        }
        self.at_leader(By::Topic(&queue.topic), &queue.broker_name, &ask).await?.body()
    }

    /// Asks the first broker that serves a group.
    async fn at_first(&self, group: &str, ask: &Ask) -> Result<super::reach::Answer> {
        let names = self.brokers_of_group(group).await?;
        let first = names.first().expect("never empty");
        self.at_leader(By::Cluster, first, ask).await
    }

    /// Broker names that serve a group: those of its retry topic, which every group gets that ever was online; else all.
    async fn brokers_of_group(&self, group: &str) -> Result<Vec<String>> {
        match self.topic_route(&flotilla_remoting::names::retry_topic(group)).await {
            Ok(route) if !route.broker_datas.is_empty() => {
                Ok(route.broker_datas.into_iter().map(|broker| broker.broker_name).collect())
            }
            Ok(_) | Err(ClientError::NoRoute { .. }) => self.broker_names(&Scope::All).await,
            Err(error) => Err(error),
        }
    }
}
