//! Keys of a name server's configuration file.
//!
//! Source of the names and defaults: RocketMQ 5.5.0 NamesrvConfig, NettyServerConfig; 4.9.8 the same.

use flotilla_broker::config::{Effect, Key, Kind, Table};

pub const NAME_SERVER: Table = Table { parts: &[KEYS] };

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    about: &'static str,
) -> Key {
    Key { name, aliases: &[], kind, default, effect, about }
}

const USED: Effect = Effect::Used;
const SHARED_RUNTIME: Effect =
    Effect::None("requests share one run-time instead of pools of threads with queues");
const CONNECTIONS: Effect = Effect::None("connections share one run-time, and each has bounded queues");
const WARM_UP: Effect = Effect::None(
    "a name server that has just started waits with routes until brokers had the time to register",
);
const COUNT: Kind = Kind::Integer(0, i32::MAX as u64);
const LONG: Kind = Kind::Integer(0, i64::MAX as u64);

#[rustfmt::skip] // One line per key reads as the table that it is.
const KEYS: &[Key] = &[
    key("bindAddress", Kind::Text, "0.0.0.0", USED, "address that the port listens on"),
    key("listenPort", Kind::Integer(0, 65_535), "9876", USED, "port for clients and brokers; 0 = a free one"),
    key("adminListen", Kind::Listen, "", Effect::Mapped("own key"), "address of the HTTP administration (health, metrics); empty = off"),
    key("kvConfigPath", Kind::Text, "", USED, "file of the key-values; empty = below --data, or memory only"),
    key("configStorePath", Kind::Text, "", USED, "file of what tools change of these settings; empty = below --data, or memory only"),
    key("configBlackList", Kind::Text, "configBlackList;configStorePath;kvConfigPath", USED, "keys that UPDATE_NAMESRV_CONFIG refuses, separated by ';'"),
    key("orderMessageEnable", Kind::Bool, "false", USED, "routes carry the order configuration"),
    key("returnOrderTopicConfigToBroker", Kind::Bool, "true", USED, "registrations are answered with the order configuration"),
    key("enableAllTopicList", Kind::Bool, "true", USED, "the list of all topics is answered"),
    key("enableTopicList", Kind::Bool, "true", USED, "lists of topics are answered"),
    key("scanNotActiveBrokerInterval", LONG, "5000", USED, "pause between scans for silent brokers, ms"),
    key("supportActingMaster", Kind::Bool, "false", USED, "a slave of Apache's brokers may act as their master"),
    key("deleteTopicWithBrokerRegistration", Kind::Bool, "false", USED, "topics that a registration does not name are deleted"),
    key("enableControllerInNamesrv", Kind::Bool, "false", Effect::Mapped("true refuses the start: there is no controller here"), "run a controller within the name server"),
    key("notifyMinBrokerIdChanged", Kind::Bool, "false", Effect::None("brokers find their group by Raft"), "tell brokers who acts as master"),
    key("needWaitForService", Kind::Bool, "false", WARM_UP, "wait before routes are answered"),
    key("waitSecondsForService", COUNT, "45", WARM_UP, "how long to wait, s"),
    key("rocketmqHome", Kind::Text, "", Effect::None("there is no installation folder"), "installation folder"),
    key("productEnvName", Kind::Text, "center", Effect::None("it has none in RocketMQ either"), "name of the environment"),
    key("clusterTest", Kind::Bool, "false", Effect::None("there is no environment to ask for missing routes"), "ask another environment for missing routes"),
    key("clientRequestThreadPoolNums", COUNT, "8", SHARED_RUNTIME, "threads for route queries"),
    key("clientRequestThreadPoolQueueCapacity", COUNT, "50000", SHARED_RUNTIME, "queue of route queries"),
    key("defaultThreadPoolNums", COUNT, "16", SHARED_RUNTIME, "threads for other requests"),
    key("defaultThreadPoolQueueCapacity", COUNT, "10000", SHARED_RUNTIME, "queue of other requests"),
    key("unRegisterBrokerQueueCapacity", COUNT, "3000", SHARED_RUNTIME, "queue of unregistrations"),
    key("serverWorkerThreads", COUNT, "8", CONNECTIONS, "network threads"),
    key("serverSelectorThreads", COUNT, "3", CONNECTIONS, "network threads"),
    key("serverCallbackExecutorThreads", COUNT, "0", CONNECTIONS, "network threads"),
    key("serverOnewaySemaphoreValue", COUNT, "256", CONNECTIONS, "one-way requests at once"),
    key("serverAsyncSemaphoreValue", COUNT, "64", CONNECTIONS, "requests at once"),
    key("serverChannelMaxIdleTimeSeconds", COUNT, "120", CONNECTIONS, "a silent connection is closed after this time, s"),
    key("serverSocketSndBufSize", COUNT, "0", CONNECTIONS, "socket buffer, bytes"),
    key("serverSocketRcvBufSize", COUNT, "0", CONNECTIONS, "socket buffer, bytes"),
    key("serverSocketBacklog", COUNT, "1024", CONNECTIONS, "connections that wait to be accepted"),
    key("serverPooledByteBufAllocatorEnable", Kind::Bool, "true", CONNECTIONS, "buffer pool"),
    key("serverNettyWorkerGroupEnable", Kind::Bool, "true", CONNECTIONS, "network threads"),
    key("writeBufferHighWaterMark", COUNT, "0", CONNECTIONS, "bytes that wait to be written"),
    key("writeBufferLowWaterMark", COUNT, "0", CONNECTIONS, "bytes that wait to be written"),
    key("enableShutdownGracefully", Kind::Bool, "false", CONNECTIONS, "let requests end before a stop"),
    key("shutdownWaitTimeSeconds", COUNT, "30", CONNECTIONS, "how long to let them, s"),
    key("useEpollNativeSelector", Kind::Bool, "false", CONNECTIONS, "network selector"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_sound() {
        let mut seen = std::collections::HashSet::new();
        for key in NAME_SERVER.iter() {
            assert!(seen.insert(key.name), "{} stands twice", key.name);
            assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
        }
    }

    #[test]
    fn what_a_name_server_shows_to_tools_can_stand_in_its_file() {
        let shown = flotilla_namesrv::setting_names();
        let unknown: Vec<_> =
            shown.iter().filter(|name| !NAME_SERVER.iter().any(|key| key.name == **name)).collect();
        assert_eq!(unknown, Vec::<&&str>::new());
    }
}
