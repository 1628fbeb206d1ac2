//! Consumer groups: create or change (200), delete (207), list (201), settings (352), who consumes what (300, 343, 345).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_remoting::bodies::{
    self, GroupList, MessageRequestMode, QuerySubscriptionResponse, SetMessageRequestMode, SubscriptionData,
    SubscriptionGroupConfig, SubscriptionGroupWrapper, TopicList,
};
use flotilla_remoting::headers::{
    DeleteSubscriptionGroupRequest, GetSubscriptionGroupConfigRequest, GroupTopicRequest, TopicRequest,
};
use flotilla_remoting::names;
use flotilla_remoting::{ExtFields, RequestCode};

use super::AdminClient;
use super::reach::{Ask, By, Scope};
use crate::error::{ClientError, Result};

impl AdminClient {
    /// Creates a consumer group, or changes its settings, at the leader of every broker name of a scope.
    ///
    /// # Errors
    /// `Invalid` for a name that no broker takes; `NoRoute` when the scope names no broker; `Refused`.
    pub async fn create_group(&self, settings: &SubscriptionGroupConfig, scope: &Scope) -> Result<()> {
        names::check_group(&settings.group_name).map_err(|error| ClientError::Invalid(error.to_string()))?;
        let ask = Ask::new(RequestCode::UpdateAndCreateSubscriptionGroup, ExtFields::new());
        self.at_scope(scope, &ask.with_body(bodies::encode(settings))).await.map(drop)
    }

    /// Deletes a consumer group at the brokers of a scope, and its retry and dead-letter topics with their messages; with
    /// `offsets` what it has committed too. A group that does not exist is deleted without complaint.
    /// Source: RocketMQ 5.3 DeleteSubscriptionGroupCommand.
    ///
    /// # Errors
    /// `NoRoute` when the scope names no broker; `Refused`.
    pub async fn delete_group(&self, group: &str, offsets: bool, scope: &Scope) -> Result<()> {
        let ext = DeleteSubscriptionGroupRequest { group_name: group, clean_offset: offsets }.encode();
        self.at_scope(scope, &Ask::new(RequestCode::DeleteSubscriptionGroup, ext)).await?;
        for topic in [names::retry_topic(group), names::dlq_topic(group)] {
            self.delete_topic(&topic, scope).await?;
        }
        Ok(())
    }

    /// All consumer groups of all brokers, sorted; those of the system too.
    ///
    /// # Errors
    /// A broker can't be reached.
    pub async fn groups(&self) -> Result<Vec<String>> {
        let ask = Ask::new(RequestCode::GetAllSubscriptionGroupConfig, ExtFields::new());
        let mut groups = BTreeSet::new();
        for answer in self.at_scope(&Scope::All, &ask).await?.values() {
            groups.extend(answer.body::<SubscriptionGroupWrapper>()?.subscription_group_table.into_keys());
        }
        Ok(groups.into_iter().collect())
    }

    /// Settings of all groups of a broker name, by group.
    ///
    /// # Errors
    /// `NoRoute` for an unknown broker name.
    pub async fn group_configs(
        &self,
        broker_name: &str,
    ) -> Result<BTreeMap<String, SubscriptionGroupConfig>> {
        let ask = Ask::new(RequestCode::GetAllSubscriptionGroupConfig, ExtFields::new());
        let answer = self.at_leader(By::Cluster, broker_name, &ask).await?;
        Ok(answer.body::<SubscriptionGroupWrapper>()?.subscription_group_table)
    }

    /// Settings of a group at a broker name. A broker that creates groups on first use creates it.
    ///
    /// # Errors
    /// `Refused` with SUBSCRIPTION_GROUP_NOT_EXIST; `NoRoute` for an unknown broker name.
    pub async fn group_config(&self, broker_name: &str, group: &str) -> Result<SubscriptionGroupConfig> {
        let ext = GetSubscriptionGroupConfigRequest { group }.encode();
        let ask = Ask::new(RequestCode::GetSubscriptionGroupConfig, ext);
        self.at_leader(By::Cluster, broker_name, &ask).await?.body()
    }

    /// Groups that consume a topic, or have committed offsets in it, sorted.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic.
    pub async fn groups_of_topic(&self, topic: &str) -> Result<Vec<String>> {
        let ask = Ask::new(RequestCode::QueryTopicConsumeByWho, TopicRequest { topic }.encode());
        let mut groups = BTreeSet::new();
        for answer in self.at_leaders_of(topic, &ask).await?.values() {
            groups.extend(answer.body::<GroupList>()?.group_list);
        }
        Ok(groups.into_iter().collect())
    }

    /// Topics that a group has committed offsets in, sorted.
    ///
    /// # Errors
    /// A broker can't be reached.
    pub async fn topics_of_group(&self, group: &str) -> Result<Vec<String>> {
        let ext = GetSubscriptionGroupConfigRequest { group }.encode();
        let ask = Ask::new(RequestCode::QueryTopicsByConsumer, ext);
        let mut topics = BTreeSet::new();
        for answer in self.at_brokers_of_group(group, None, &ask).await?.values() {
            topics.extend(answer.body::<TopicList>()?.topic_list);
        }
        Ok(topics.into_iter().collect())
    }

    /// What a group's members subscribe of a topic; `None` when none of them is online.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic.
    pub async fn subscription(&self, group: &str, topic: &str) -> Result<Option<SubscriptionData>> {
        let ext = GroupTopicRequest { group, topic }.encode();
        let ask = Ask::new(RequestCode::QuerySubscriptionByConsumer, ext);
        for answer in self.at_leaders_of(topic, &ask).await?.values() {
            if let Some(found) = answer.body::<QuerySubscriptionResponse>()?.subscription_data {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Says how consumers that let brokers share out queues read a topic (401): by pull or by pop, and how many other members
    /// share a queue in pop mode (0: all). Flotilla has no pop yet and refuses.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic; `Refused`.
    pub async fn set_request_mode(
        &self,
        topic: &str,
        group: &str,
        mode: MessageRequestMode,
        pop_share_queues: i32,
    ) -> Result<()> {
        let body = SetMessageRequestMode {
            consumer_group: group.to_owned(),
            mode,
            pop_share_queue_num: pop_share_queues,
            topic: topic.to_owned(),
        };
        let ask = Ask::new(RequestCode::SetMessageRequestMode, ExtFields::new());
        self.at_leaders_of(topic, &ask.with_body(bodies::encode(&body))).await.map(drop)
    }
}
