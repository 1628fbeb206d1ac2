//! Clusters and brokers: who is there, their settings and figures.

use std::collections::BTreeMap;

use flotilla_remoting::bodies::{BrokerData, BrokerStatsData, ClusterInfo, KvTable};
use flotilla_remoting::headers::{
    AddWritePermResponse, ViewBrokerStatsDataRequest, WipeWritePermResponse, WritePermRequest,
};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};

use super::AdminClient;
use super::name_servers::{parse_properties, write_properties};
use super::reach::{Answer, Ask};
use crate::error::{ClientError, Result};
use crate::routes::LEADER;

/// What the name servers know of brokers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Broker names by cluster.
    pub clusters: BTreeMap<String, Vec<String>>,
    /// Replicas by broker name.
    pub brokers: BTreeMap<String, BrokerData>,
}

impl Cluster {
    /// Address of each broker name's leader. A broker name without leader is left out.
    pub fn leaders(&self) -> BTreeMap<&str, &str> {
        self.brokers
            .iter()
            .filter_map(|(name, broker)| Some((name.as_str(), broker.broker_addrs.get(&LEADER)?.as_str())))
            .collect()
    }

    /// Every replica: broker name, id (0 leads) and address.
    pub fn replicas(&self) -> impl Iterator<Item = (&str, i64, &str)> {
        self.brokers.iter().flat_map(|(name, broker)| {
            broker.broker_addrs.iter().map(|(id, address)| (name.as_str(), *id, address.as_str()))
        })
    }
}

/// What a replica tells of itself (28). Texts by name; which names there are differs between servers and releases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerInfo {
    /// Everything as it came.
    pub table: BTreeMap<String, String>,
}

impl BrokerInfo {
    /// A text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.table.get(name).map(String::as_str)
    }

    /// A number; `None` also when the text is none.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.trim().parse().ok()
    }

    /// The rates of the last 10, 60 and 600 seconds, as far as they are there: `putTps`, `getTransferredTps`, ...
    pub fn rates(&self, name: &str) -> Vec<f64> {
        let text = self.get(name).unwrap_or_default();
        text.split_whitespace().map_while(|rate| rate.parse().ok()).collect()
    }

    /// Release that the replica says it is, such as `V5_5_0`.
    pub fn version(&self) -> Option<&str> {
        self.get("brokerVersionDesc")
    }

    /// End of this replica's log, in bytes.
    pub fn log_end(&self) -> Option<i64> {
        self.number("commitLogMaxOffset")
    }

    /// Start of this replica's log, in bytes.
    pub fn log_start(&self) -> Option<i64> {
        self.number("commitLogMinOffset")
    }
}

/// Statistics that a broker keeps (315): what is counted, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatsKind<'a> {
    /// Messages written to a topic.
    TopicPuts(&'a str),
    /// Bytes written to a topic.
    TopicPutBytes(&'a str),
    /// Messages that a group got from a topic.
    GroupGets(&'a str, &'a str),
    /// Bytes that a group got from a topic.
    GroupGetBytes(&'a str, &'a str),
    /// Messages of a topic that a group sent back.
    SendBacks(&'a str, &'a str),
    /// Messages written to the brokers of a cluster.
    BrokerPuts(&'a str),
    /// Messages read from the brokers of a cluster.
    BrokerGets(&'a str),
    /// Any other, by name and key as the server has them.
    Named(&'a str, &'a str),
}

impl StatsKind<'_> {
    /// Name and key on the wire. Source: RocketMQ 5.3 Stats, BrokerStatsManager.buildStatsKey.
    pub fn name_and_key(&self) -> (&str, String) {
        let of_group = |topic: &str, group: &str| format!("{topic}@{group}");
        match self {
            StatsKind::TopicPuts(topic) => ("TOPIC_PUT_NUMS", (*topic).to_owned()),
            StatsKind::TopicPutBytes(topic) => ("TOPIC_PUT_SIZE", (*topic).to_owned()),
            StatsKind::GroupGets(topic, group) => ("GROUP_GET_NUMS", of_group(topic, group)),
            StatsKind::GroupGetBytes(topic, group) => ("GROUP_GET_SIZE", of_group(topic, group)),
            StatsKind::SendBacks(topic, group) => ("SNDBCK_PUT_NUMS", of_group(topic, group)),
            StatsKind::BrokerPuts(cluster) => ("BROKER_PUT_NUMS", (*cluster).to_owned()),
            StatsKind::BrokerGets(cluster) => ("BROKER_GET_NUMS", (*cluster).to_owned()),
            StatsKind::Named(name, key) => (name, (*key).to_owned()),
        }
    }
}

impl AdminClient {
    /// Clusters, broker names and the addresses of their replicas, as one name server knows them.
    ///
    /// # Errors
    /// No name server answered.
    pub async fn cluster(&self) -> Result<Cluster> {
        let ask = Ask::new(RequestCode::GetBrokerClusterInfo, ExtFields::new());
        let info: ClusterInfo = self.at_a_name_server(&ask).await?.body()?;
        Ok(Cluster { clusters: info.cluster_addr_table, brokers: info.broker_addr_table })
    }

    /// What the replica at an address tells of itself. Every replica answers, leader or not.
    ///
    /// # Errors
    /// It can't be reached, or refused.
    pub async fn broker_info(&self, address: &str) -> Result<BrokerInfo> {
        let ask = Ask::new(RequestCode::GetBrokerRuntimeInfo, ExtFields::new());
        let body: KvTable = self.at(address, &ask).await?.body()?;
        Ok(BrokerInfo { table: body.table })
    }

    /// Settings of the replica at an address, by name.
    ///
    /// # Errors
    /// It can't be reached, or refused.
    pub async fn broker_config(&self, address: &str) -> Result<BTreeMap<String, String>> {
        let answer = self.at(address, &Ask::new(RequestCode::GetBrokerConfig, ExtFields::new())).await?;
        parse_properties(&answer.frame.body).map_err(|error| ClientError::malformed(address, error))
    }

    /// Changes settings of the replica at an address. At RocketMQ other replicas keep theirs; at Flotilla the settings that can
    /// be changed are those of the whole group.
    ///
    /// # Errors
    /// `Invalid` for a name or value that can't travel; `Refused` for settings that may not be
    /// changed so (NO_PERMISSION), or have no effect there.
    pub async fn update_broker_config(&self, address: &str, settings: &[(&str, &str)]) -> Result<()> {
        let ask = Ask::new(RequestCode::UpdateBrokerConfig, ExtFields::new());
        self.at(address, &ask.with_body(write_properties(settings)?)).await.map(drop)
    }

    /// Takes the write permission from all topics of a broker name, at every name server, until the broker's table of topics
    /// changes. Gives the number of topics by name server.
    ///
    /// # Errors
    /// A name server can't be reached; those before it have done it.
    pub async fn wipe_write_permission(&self, broker_name: &str) -> Result<BTreeMap<String, i32>> {
        let ext = WritePermRequest { broker_name }.encode();
        let answers = self.at_name_servers(&Ask::new(RequestCode::WipeWritePermOfBroker, ext)).await?;
        let count = |(address, answer): (String, Answer)| {
            let header = answer.header(WipeWritePermResponse::decode)?;
            Ok((address, header.wipe_topic_count))
        };
        answers.into_iter().map(count).collect()
    }

    /// Gives all topics of a broker name read and write permission again, at every name server.
    ///
    /// # Errors
    /// As [`AdminClient::wipe_write_permission`].
    pub async fn add_write_permission(&self, broker_name: &str) -> Result<BTreeMap<String, i32>> {
        let ext = WritePermRequest { broker_name }.encode();
        let answers = self.at_name_servers(&Ask::new(RequestCode::AddWritePermOfBroker, ext)).await?;
        let count = |(address, answer): (String, Answer)| {
            let header = answer.header(AddWritePermResponse::decode)?;
            Ok((address, header.add_topic_count))
        };
        answers.into_iter().map(count).collect()
    }

    /// Figures of the last minute, hour and day, kept by the replica at an address; `None` when it has counted nothing yet.
    ///
    /// # Errors
    /// It can't be reached, or refused for another reason.
    pub async fn broker_stats(&self, address: &str, kind: StatsKind<'_>) -> Result<Option<BrokerStatsData>> {
        let (stats_name, stats_key) = kind.name_and_key();
        let ext = ViewBrokerStatsDataRequest { stats_name, stats_key: &stats_key }.encode();
        match self.at(address, &Ask::new(RequestCode::ViewBrokerStatsData, ext)).await {
            Ok(answer) => answer.body().map(Some),
            // Source: RocketMQ 5.3 AdminBrokerProcessor.ViewBrokerStatsData: `The stats <%s> <%s> not exist`.
            Err(ClientError::Refused { code: ResponseCode::SystemError, remark, .. })
                if remark.contains("not exist") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_are_those_with_id_0() {
        let broker = |ids: &[i64]| BrokerData {
            broker_addrs: ids.iter().map(|id| (*id, format!("h:{id}"))).collect(),
            ..BrokerData::default()
        };
        let brokers = [("a".to_owned(), broker(&[0, 1])), ("b".to_owned(), broker(&[1]))].into();
        let cluster = Cluster { brokers, ..Cluster::default() };
        assert_eq!(cluster.leaders(), [("a", "h:0")].into());
        assert_eq!(cluster.replicas().count(), 3);
    }

    #[test]
    fn rates_may_be_missing() {
        let table = [("putTps", "0.19 0.36 "), ("commitLogMaxOffset", "42"), ("brokerVersionDesc", "V5_5_0")];
        let info =
            BrokerInfo { table: table.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect() };
        assert_eq!(info.rates("putTps"), [0.19, 0.36]);
        assert_eq!(info.rates("getTps"), [0.0; 0]);
        assert_eq!((info.log_end(), info.log_start(), info.version()), (Some(42), None, Some("V5_5_0")));
    }
}
