//! What administrators' tools do: topics, groups, offsets, brokers, name servers, messages.
//!
//! | file             | subject                                                                       |
//! |------------------|-------------------------------------------------------------------------------|
//! | `reach.rs`       | who is asked: the leader of a broker name, all of them, all name servers        |
//! | `topics.rs`      | topics: create, delete, list, route, figures, settings                          |
//! | `groups.rs`      | consumer groups: create, delete, list, settings, who consumes what              |
//! | `progress.rs`    | how far groups are                                                              |
//! | `offsets.rs`     | committed offsets: read, write, reset, clone                                    |
//! | `queues.rs`      | ends of queues, offsets by time, units of a queue                               |
//! | `cluster.rs`     | clusters, brokers, their settings and figures                                   |
//! | `members.rs`     | producers and consumers that are online                                         |
//! | `messages.rs`    | messages by id, key and place                                                   |
//! | `name_servers.rs`| settings and key-value configuration of name servers                            |
//!
//! Source of all: RocketMQ 5.3 DefaultMQAdminExtImpl, MQAdminImpl, MQClientAPIImpl; tried at servers of 5.5.0.

mod cluster;
mod groups;
mod members;
mod messages;
mod name_servers;
mod offsets;
mod progress;
mod queues;
mod reach;
mod topics;

use std::sync::Arc;
use std::time::Duration;

pub use cluster::{BrokerInfo, Cluster, StatsKind};
pub use flotilla_remoting::bodies::{
    BrokerData, BrokerStatsData, BrokerStatsItem, ConsumeDirectlyResult, ConsumeQueueData, ConsumeStatus,
    ConsumerConnection, ConsumerRunningInfo, GroupRetryPolicy, MessageRequestMode, ProducerConnection,
    ProducerInfo, QueryConsumeQueueResponse as ConsumeQueue, SubscriptionData,
    SubscriptionGroupConfig as GroupSettings, TopicConfig, TopicOffset, TopicRouteData, TopicStatsTable,
};
pub use flotilla_remoting::headers::BoundaryType;
pub use messages::{KeyQuery, Pulled};
pub use offsets::ResetTo;
pub use progress::{Progress, QueueProgress};
pub use reach::Scope;
pub use topics::{MessageType, TopicSettings};

use crate::client::{Client, Inner};

/// Administration of one cluster or several. Cheap to clone.
///
/// Every call finds its servers by itself: what changes something goes to the leader of each broker name concerned, what only
/// name servers know goes to all of them. A call to a leader that is gone, or leads no more, is repeated with a fresh route until
/// [`AdminClient::patience`] has passed; all calls that are repeated can be done twice without harm. Calls to an address, and
/// those to all name servers, are made once. The first error ends a call that concerns several servers: those asked before have
/// done it, and repeating the call is safe.
///
/// All methods can be dropped half-way: what was sent may still be done.
///
/// ```no_run
/// # async fn example() -> flotilla_client::Result<()> {
/// use flotilla_client::Client;
/// use flotilla_client::admin::{AdminClient, Scope, TopicSettings};
/// let admin = AdminClient::new(&Client::connect("127.0.0.1:9876")?);
/// admin.create_topic("orders", &TopicSettings::queues(8), &Scope::All).await?;
/// for (queue, ends) in admin.topic_stats("orders").await?.offset_table {
///     println!("{queue:?}: {} to {}", ends.min_offset, ends.max_offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AdminClient {
    client: Client,
    patience: Duration,
}

impl AdminClient {
    /// Time for a call including its repetitions, unless set otherwise: longer than an election.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// An admin client that shares the connections of a client.
    pub fn new(client: &Client) -> AdminClient {
        AdminClient { client: client.clone(), patience: AdminClient::PATIENCE }
    }

    /// Sets how long a call is repeated while its broker has no leader. Zero tries once.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> AdminClient {
        self.patience = patience;
        self
    }

    /// The client that the connections belong to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.client.inner
    }
}
