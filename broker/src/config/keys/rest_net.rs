//! The rest of `NettyServerConfig`, `NettyClientConfig` and `AuthConfig`: known, without effect.
//!
//! Source of the names and defaults: RocketMQ 5.5.0 and 4.9.8 NettyServerConfig and NettyClientConfig, 5.5.0
//! AuthConfig. Where a default depends on the machine, a usual one stands here.

use super::reasons::CONNECTIONS;
use super::{COUNT, Key, Kind, LONG, rest};

const NO_ACCESS_CONTROL: &str = "access control is not available yet";
const OUTGOING: &str = "connections that the broker makes have fixed settings";

#[rustfmt::skip] // One line per key reads as the table that it is.
pub(super) const KEYS: &[Key] = &[
    rest("enableShutdownGracefully", Kind::Bool, "false", CONNECTIONS),
    rest("serverAsyncSemaphoreValue", COUNT, "64", CONNECTIONS),
    rest("serverNettyWorkerGroupEnable", Kind::Bool, "true", CONNECTIONS),
    rest("serverOnewaySemaphoreValue", COUNT, "256", CONNECTIONS),
    rest("serverSocketBacklog", COUNT, "1024", CONNECTIONS),
    rest("shutdownWaitTimeSeconds", COUNT, "30", CONNECTIONS),
    rest("writeBufferHighWaterMark", COUNT, "0", CONNECTIONS),
    rest("writeBufferLowWaterMark", COUNT, "0", CONNECTIONS),
    rest("aclCacheExpiredSecond", COUNT, "600", NO_ACCESS_CONTROL),
    rest("aclCacheMaxNum", COUNT, "1000", NO_ACCESS_CONTROL),
    rest("aclCacheRefreshSecond", COUNT, "60", NO_ACCESS_CONTROL),
    rest("authConfigPath", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authenticationMetadataProvider", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authenticationProvider", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authenticationStrategy", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authenticationWhitelist", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authorizationMetadataProvider", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authorizationProvider", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authorizationStrategy", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("authorizationWhitelist", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("clusterName", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("configName", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("initAuthenticationUser", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("innerClientAuthenticationCredentials", Kind::Text, "", NO_ACCESS_CONTROL),
    rest("migrateAuthFromV1Enabled", Kind::Bool, "false", NO_ACCESS_CONTROL),
    rest("statefulAuthenticationCacheExpiredSecond", COUNT, "60", NO_ACCESS_CONTROL),
    rest("statefulAuthenticationCacheMaxNum", COUNT, "10000", NO_ACCESS_CONTROL),
    rest("statefulAuthorizationCacheExpiredSecond", COUNT, "60", NO_ACCESS_CONTROL),
    rest("statefulAuthorizationCacheMaxNum", COUNT, "10000", NO_ACCESS_CONTROL),
    rest("userCacheExpiredSecond", COUNT, "600", NO_ACCESS_CONTROL),
    rest("userCacheMaxNum", COUNT, "1000", NO_ACCESS_CONTROL),
    rest("userCacheRefreshSecond", COUNT, "60", NO_ACCESS_CONTROL),
    rest("channelNotActiveInterval", LONG, "60000", OUTGOING),
    rest("clientAsyncSemaphoreValue", COUNT, "65535", OUTGOING),
    rest("clientCallbackExecutorThreads", COUNT, "4", OUTGOING),
    rest("clientChannelMaxIdleTimeSeconds", COUNT, "120", OUTGOING),
    rest("clientCloseSocketIfTimeout", Kind::Bool, "true", OUTGOING),
    rest("clientOnewaySemaphoreValue", COUNT, "65535", OUTGOING),
    rest("clientPooledByteBufAllocatorEnable", Kind::Bool, "false", OUTGOING),
    rest("clientSocketRcvBufSize", COUNT, "0", OUTGOING),
    rest("clientSocketSndBufSize", COUNT, "0", OUTGOING),
    rest("clientWorkerThreads", COUNT, "4", OUTGOING),
    rest("connectTimeoutMillis", COUNT, "3000", OUTGOING),
    rest("disableCallbackExecutor", Kind::Bool, "false", OUTGOING),
    rest("disableNettyWorkerGroup", Kind::Bool, "false", OUTGOING),
    rest("enableReconnectForGoAway", Kind::Bool, "true", OUTGOING),
    rest("isScanAvailableNameSrv", Kind::Bool, "true", OUTGOING),
    rest("maxReconnectIntervalTimeSeconds", LONG, "60", OUTGOING),
    rest("socksProxyConfig", Kind::Text, "{}", OUTGOING),
];
