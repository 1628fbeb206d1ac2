//! Topics: create or change (17), delete (215, 216, 102), list (206, 224), route (105), figures (202), settings (21, 351).

use std::collections::BTreeMap;

use flotilla_remoting::bodies::{
    PERM_READ, PERM_WRITE, TopicConfig, TopicConfigWrapper, TopicFilterType, TopicList, TopicRouteData,
    TopicStatsTable,
};
use flotilla_remoting::headers::{
    CreateTopicRequest, DeleteTopicInNamesrvRequest, GetTopicsByClusterRequest, TopicRequest,
};
use flotilla_remoting::names::{self, AUTO_CREATE_TOPIC};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use tracing::warn;

use super::AdminClient;
use super::name_servers::ORDER_NAMESPACE;
use super::reach::{Ask, By, Scope};
use crate::error::{ClientError, Result};
use crate::routes::LEADER;

/// Kind of messages that a topic is for; brokers of 5.x that check it refuse others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// No kind is said.
    Unspecified,
    /// Ordinary ones.
    Normal,
    /// In order.
    Fifo,
    /// Delayed.
    Delay,
    /// Transactional.
    Transaction,
    /// All kinds.
    Mixed,
}

impl MessageType {
    /// Value of the attribute `message.type`. Source: RocketMQ 5.3 TopicMessageType.
    pub fn name(self) -> &'static str {
        match self {
            MessageType::Unspecified => "UNSPECIFIED",
            MessageType::Normal => "NORMAL",
            MessageType::Fifo => "FIFO",
            MessageType::Delay => "DELAY",
            MessageType::Transaction => "TRANSACTION",
            MessageType::Mixed => "MIXED",
        }
    }
}

/// Settings of a topic to create or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Queues to write, at each broker name.
    pub write_queues: u32,
    /// Queues to read, at each broker name: to have fewer queues, fewer are written first, and read when the rest is empty.
    pub read_queues: u32,
    /// Messages can be read.
    pub readable: bool,
    /// Messages can be written.
    pub writable: bool,
    /// Order matters more than availability: brokers that can't write refuse messages instead of sending them elsewhere.
    pub ordered: bool,
    /// Kind of messages; `None` leaves what is set.
    pub message_type: Option<MessageType>,
    /// More attributes: a value to set, or `None` to remove.
    pub attributes: BTreeMap<String, Option<String>>,
}

impl Default for TopicSettings {
    /// 8 queues, read and write: mqadmin's defaults.
    fn default() -> TopicSettings {
        TopicSettings::queues(8)
    }
}

impl TopicSettings {
    /// As many queues to read and to write at each broker name.
    pub fn queues(count: u32) -> TopicSettings {
        TopicSettings {
            write_queues: count,
            read_queues: count,
            readable: true,
            writable: true,
            ordered: false,
            message_type: None,
            attributes: BTreeMap::new(),
        }
    }

    /// Sets the kind of messages.
    #[must_use]
    pub fn message_type(mut self, message_type: MessageType) -> TopicSettings {
        self.message_type = Some(message_type);
        self
    }

    /// Settings that a broker told, to change some of them. Attributes stay as they are unless they are named again.
    pub fn of(config: &TopicConfig) -> TopicSettings {
        TopicSettings {
            write_queues: u32::try_from(config.write_queue_nums).unwrap_or(0),
            read_queues: u32::try_from(config.read_queue_nums).unwrap_or(0),
            readable: config.is_readable(),
            writable: config.is_writable(),
            ordered: config.order,
            message_type: None,
            attributes: BTreeMap::new(),
        }
    }

    fn perm(&self) -> i32 {
        let bit = |set: bool, bit: i32| if set { bit } else { 0 };
        bit(self.readable, PERM_READ) | bit(self.writable, PERM_WRITE)
    }

    /// `+name=value,-name`; `None` when nothing is to change. Source: RocketMQ 5.3 AttributeParser.
    fn attribute_text(&self) -> Result<Option<String>> {
        let kind = self.message_type.map(|kind| ("message.type", Some(kind.name())));
        let named = self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let mut parts = Vec::new();
        for (name, value) in kind.into_iter().chain(named) {
            if name.is_empty()
                || [name, value.unwrap_or_default()].iter().any(|text| text.contains([',', '=']))
            {
                return Err(ClientError::Invalid(format!("attribute {name:?}: neither , nor = can travel")));
            }
            parts.push(match value {
                Some(value) => format!("+{name}={value}"),
                None => format!("-{name}"),
            });
        }
        Ok((!parts.is_empty()).then(|| parts.join(",")))
    }
}

impl AdminClient {
    /// Creates a topic, or changes its settings, at the leader of every broker name of a scope. When it returns, the name
    /// servers know.
    ///
    /// # Errors
    /// `Invalid` for a name or settings that no broker takes; `NoRoute` when the scope names no broker; `Refused` with the
    /// server's reason.
    pub async fn create_topic(&self, topic: &str, settings: &TopicSettings, scope: &Scope) -> Result<()> {
        names::check_topic(topic).map_err(|error| ClientError::Invalid(error.to_string()))?;
        let count = |count: u32| {
            let count = i32::try_from(count).ok().filter(|count| *count > 0);
            count.ok_or_else(|| ClientError::Invalid("a topic has at least one queue".into()))
        };
        let attributes = settings.attribute_text()?;
        let header = CreateTopicRequest {
            topic,
            default_topic: Some(AUTO_CREATE_TOPIC),
            read_queue_nums: count(settings.read_queues)?,
            write_queue_nums: count(settings.write_queues)?,
            perm: settings.perm(),
            topic_filter_type: Some(TopicFilterType::SingleTag.name()),
            topic_sys_flag: Some(0),
            order: settings.ordered,
            attributes: attributes.as_deref(),
            force: None,
        };
        self.at_scope(scope, &Ask::new(RequestCode::UpdateAndCreateTopic, header.encode())).await?;
        if self.inner().routes.known(topic).is_some() {
            // What this client knew of it is old. A failure leaves that to the timer.
            let _ = self.inner().routes.refresh(topic).await;
        }
        Ok(())
    }

    /// Deletes a topic with its messages: at the brokers of a scope, at every name server, and its order configuration.
    /// A topic that does not exist is deleted without complaint.
    ///
    /// Other replicas than leaders are asked too, as mqadmin does, but need not answer.
    /// Source: RocketMQ 5.3 DefaultMQAdminExtImpl.deleteTopic, CommandUtil.fetchMasterAndSlaveAddrByClusterName.
    ///
    /// # Errors
    /// `NoRoute` when the scope names no broker; the first refusal; for one broker name also when no name server can say
    /// whether others have the topic: it is deleted at that one then.
    pub async fn delete_topic(&self, topic: &str, scope: &Scope) -> Result<()> {
        let ask = Ask::new(RequestCode::DeleteTopicInBroker, TopicRequest { topic }.encode());
        let names = self.broker_names(scope).await?;
        self.at_scope(scope, &ask).await?;
        for (name, id, address) in self.cluster().await?.replicas() {
            if id == LEADER || !names.iter().any(|known| known == name) {
                continue;
            }
            if let Err(error) = self.at(address, &ask).await {
                warn!(topic, address, %error, "topic not deleted at a replica, which will learn it from its leader");
            }
        }
        let cluster_name = match scope {
            Scope::Cluster(name) => Some(name.as_str()),
            Scope::All | Scope::Broker(_) => None,
        };
        let gone = match scope {
            // Other brokers may still have it.
            Scope::Broker(_) => match self.topic_route(topic).await {
                Ok(route) => route.broker_datas.iter().all(|broker| names.contains(&broker.broker_name)),
                Err(ClientError::NoRoute { topic: unknown, .. }) if unknown == topic => true,
                // Not known: the name servers would forget the topic at brokers that still have it.
                Err(error) => return Err(error),
            },
            Scope::All | Scope::Cluster(_) => true,
        };
        if gone {
            let ext = DeleteTopicInNamesrvRequest { topic, cluster_name }.encode();
            self.at_name_servers(&Ask::new(RequestCode::DeleteTopicInNamesrv, ext)).await?;
            self.delete_kv(ORDER_NAMESPACE, topic).await?;
        }
        Ok(())
    }

    /// All topics that the name servers know, sorted; those of the system, of retries and dead letters too.
    ///
    /// # Errors
    /// No name server answered.
    pub async fn topics(&self) -> Result<Vec<String>> {
        let ask = Ask::new(RequestCode::GetAllTopicListFromNameServer, ExtFields::new());
        Ok(sorted(self.at_a_name_server(&ask).await?.body()?))
    }

    /// All topics of a cluster, sorted; none for an unknown cluster.
    ///
    /// # Errors
    /// No name server answered.
    pub async fn topics_of_cluster(&self, cluster: &str) -> Result<Vec<String>> {
        let ext = GetTopicsByClusterRequest { cluster }.encode();
        Ok(sorted(self.at_a_name_server(&Ask::new(RequestCode::GetTopicsByCluster, ext)).await?.body()?))
    }

    /// Route of a topic as the name servers have it now.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic.
    pub async fn topic_route(&self, topic: &str) -> Result<TopicRouteData> {
        self.inner().routes.look(topic).await
    }

    /// First and next queue offset of every queue of a topic, from the leader of each broker name.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic; a broker that can't be reached.
    pub async fn topic_stats(&self, topic: &str) -> Result<TopicStatsTable> {
        let ask = Ask::new(RequestCode::GetTopicStatsInfo, TopicRequest { topic }.encode());
        let mut all = TopicStatsTable::default();
        for answer in self.at_leaders_of(topic, &ask).await?.values() {
            let part: TopicStatsTable = answer.body()?;
            all.topic_put_tps += part.topic_put_tps;
            all.offset_table.extend(part.offset_table);
        }
        Ok(all)
    }

    /// [`AdminClient::topic_stats`] as the replica at an address tells it. A follower of Flotilla hands the call on to its
    /// leader; a slave of RocketMQ tells its own.
    ///
    /// # Errors
    /// It can't be reached, or refused.
    pub async fn topic_stats_at(&self, address: &str, topic: &str) -> Result<TopicStatsTable> {
        let ask = Ask::new(RequestCode::GetTopicStatsInfo, TopicRequest { topic }.encode());
        self.at(address, &ask).await?.body()
    }

    /// Settings of a topic by broker name.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic.
    pub async fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, TopicConfig>> {
        let ask = Ask::new(RequestCode::GetTopicConfig, TopicRequest { topic }.encode());
        let answers = self.at_leaders_of(topic, &ask).await?;
        answers.into_iter().map(|(name, answer)| Ok((name, answer.body()?))).collect()
    }

    /// Settings of all topics of a broker name, by topic.
    ///
    /// # Errors
    /// `NoRoute` for an unknown broker name.
    pub async fn topic_configs(&self, broker_name: &str) -> Result<BTreeMap<String, TopicConfig>> {
        // Without header fields the answer comes in one piece. Source: RocketMQ 5.3 AdminBrokerProcessor.getAllTopicConfig.
        let ask = Ask::new(RequestCode::GetAllTopicConfig, ExtFields::new());
        let answer = self.at_leader(By::Cluster, broker_name, &ask).await?;
        Ok(answer.body::<TopicConfigWrapper>()?.topic_config_table)
    }

    /// Whether a topic has a route.
    ///
    /// # Errors
    /// No name server answered.
    pub async fn topic_exists(&self, topic: &str) -> Result<bool> {
        match self.topic_route(topic).await {
            Ok(_) => Ok(true),
            Err(ClientError::NoRoute { .. }) => Ok(false),
            Err(error) if error.code() == Some(ResponseCode::TopicNotExist) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn sorted(list: TopicList) -> Vec<String> {
    let mut topics = list.topic_list;
    topics.sort();
    topics.dedup();
    topics
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn attributes_carry_their_sign() {
        let mut settings = TopicSettings::queues(1);
        assert_eq!(settings.attribute_text().unwrap(), None);
        settings = settings.message_type(MessageType::Fifo);
        settings.attributes.insert("cleanup.policy".into(), None);
        assert_eq!(settings.attribute_text().unwrap().unwrap(), "+message.type=FIFO,-cleanup.policy");
        settings.attributes.insert("a".into(), Some("b,c".into()));
        assert!(matches!(settings.attribute_text(), Err(ClientError::Invalid(_))));
    }

    #[test]
    fn settings_come_back_from_what_a_broker_tells() {
        let config = TopicConfig {
            perm: PERM_READ,
            read_queue_nums: 4,
            write_queue_nums: 2,
            ..TopicConfig::default()
        };
        let settings = TopicSettings::of(&config);
        assert_eq!((settings.read_queues, settings.write_queues), (4, 2));
        assert!(settings.readable && !settings.writable);
        assert_eq!(settings.perm(), PERM_READ);
    }
}
