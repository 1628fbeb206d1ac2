//! Request codes. Source: RocketMQ 5.3 RequestCode; the ACL codes 50 to 54 are of the 4.9 line only.

use super::codes;

codes! {
    /// What a request asks for. A number without a name stays `Unknown` and keeps its number.
    pub enum RequestCode {
        SendMessage = 10, "SEND_MESSAGE";
        PullMessage = 11, "PULL_MESSAGE";
        QueryMessage = 12, "QUERY_MESSAGE";
        QueryBrokerOffset = 13, "QUERY_BROKER_OFFSET";
        QueryConsumerOffset = 14, "QUERY_CONSUMER_OFFSET";
        UpdateConsumerOffset = 15, "UPDATE_CONSUMER_OFFSET";
        UpdateAndCreateTopic = 17, "UPDATE_AND_CREATE_TOPIC";
        UpdateAndCreateTopicList = 18, "UPDATE_AND_CREATE_TOPIC_LIST";
        GetAllTopicConfig = 21, "GET_ALL_TOPIC_CONFIG";
        GetTopicConfigList = 22, "GET_TOPIC_CONFIG_LIST";
        GetTopicNameList = 23, "GET_TOPIC_NAME_LIST";
        UpdateBrokerConfig = 25, "UPDATE_BROKER_CONFIG";
        GetBrokerConfig = 26, "GET_BROKER_CONFIG";
        TriggerDeleteFiles = 27, "TRIGGER_DELETE_FILES";
        GetBrokerRuntimeInfo = 28, "GET_BROKER_RUNTIME_INFO";
        SearchOffsetByTimestamp = 29, "SEARCH_OFFSET_BY_TIMESTAMP";
        GetMaxOffset = 30, "GET_MAX_OFFSET";
        GetMinOffset = 31, "GET_MIN_OFFSET";
        GetEarliestMessageStoreTime = 32, "GET_EARLIEST_MSG_STORETIME";
        ViewMessageById = 33, "VIEW_MESSAGE_BY_ID";
        Heartbeat = 34, "HEART_BEAT";
        UnregisterClient = 35, "UNREGISTER_CLIENT";
        ConsumerSendMessageBack = 36, "CONSUMER_SEND_MSG_BACK";
        EndTransaction = 37, "END_TRANSACTION";
        GetConsumerListByGroup = 38, "GET_CONSUMER_LIST_BY_GROUP";
        CheckTransactionState = 39, "CHECK_TRANSACTION_STATE";
        NotifyConsumerIdsChanged = 40, "NOTIFY_CONSUMER_IDS_CHANGED";
        LockBatchMq = 41, "LOCK_BATCH_MQ";
        UnlockBatchMq = 42, "UNLOCK_BATCH_MQ";
        GetAllConsumerOffset = 43, "GET_ALL_CONSUMER_OFFSET";
        GetAllDelayOffset = 45, "GET_ALL_DELAY_OFFSET";
        CheckClientConfig = 46, "CHECK_CLIENT_CONFIG";
        GetClientConfig = 47, "GET_CLIENT_CONFIG";
        UpdateAndCreateAclConfig = 50, "UPDATE_AND_CREATE_ACL_CONFIG";
        DeleteAclConfig = 51, "DELETE_ACL_CONFIG";
        GetBrokerClusterAclInfo = 52, "GET_BROKER_CLUSTER_ACL_INFO";
        UpdateGlobalWhiteAddrsConfig = 53, "UPDATE_GLOBAL_WHITE_ADDRS_CONFIG";
        GetBrokerClusterAclConfig = 54, "GET_BROKER_CLUSTER_ACL_CONFIG";
        GetTimerCheckPoint = 60, "GET_TIMER_CHECK_POINT";
        GetTimerMetrics = 61, "GET_TIMER_METRICS";
        PutKvConfig = 100, "PUT_KV_CONFIG";
        GetKvConfig = 101, "GET_KV_CONFIG";
        DeleteKvConfig = 102, "DELETE_KV_CONFIG";
        RegisterBroker = 103, "REGISTER_BROKER";
        UnregisterBroker = 104, "UNREGISTER_BROKER";
        GetRouteInfoByTopic = 105, "GET_ROUTEINFO_BY_TOPIC";
        GetBrokerClusterInfo = 106, "GET_BROKER_CLUSTER_INFO";
        UpdateAndCreateSubscriptionGroup = 200, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP";
        GetAllSubscriptionGroupConfig = 201, "GET_ALL_SUBSCRIPTIONGROUP_CONFIG";
        GetTopicStatsInfo = 202, "GET_TOPIC_STATS_INFO";
        GetConsumerConnectionList = 203, "GET_CONSUMER_CONNECTION_LIST";
        GetProducerConnectionList = 204, "GET_PRODUCER_CONNECTION_LIST";
        WipeWritePermOfBroker = 205, "WIPE_WRITE_PERM_OF_BROKER";
        GetAllTopicListFromNameServer = 206, "GET_ALL_TOPIC_LIST_FROM_NAMESERVER";
        DeleteSubscriptionGroup = 207, "DELETE_SUBSCRIPTIONGROUP";
        GetConsumeStats = 208, "GET_CONSUME_STATS";
        SuspendConsumer = 209, "SUSPEND_CONSUMER";
        ResumeConsumer = 210, "RESUME_CONSUMER";
        ResetConsumerOffsetInConsumer = 211, "RESET_CONSUMER_OFFSET_IN_CONSUMER";
        ResetConsumerOffsetInBroker = 212, "RESET_CONSUMER_OFFSET_IN_BROKER";
        AdjustConsumerThreadPool = 213, "ADJUST_CONSUMER_THREAD_POOL";
        WhoConsumeTheMessage = 214, "WHO_CONSUME_THE_MESSAGE";
        DeleteTopicInBroker = 215, "DELETE_TOPIC_IN_BROKER";
        DeleteTopicInNamesrv = 216, "DELETE_TOPIC_IN_NAMESRV";
        RegisterTopicInNamesrv = 217, "REGISTER_TOPIC_IN_NAMESRV";
        GetKvListByNamespace = 219, "GET_KVLIST_BY_NAMESPACE";
        ResetConsumerClientOffset = 220, "RESET_CONSUMER_CLIENT_OFFSET";
        GetConsumerStatusFromClient = 221, "GET_CONSUMER_STATUS_FROM_CLIENT";
        InvokeBrokerToResetOffset = 222, "INVOKE_BROKER_TO_RESET_OFFSET";
        InvokeBrokerToGetConsumerStatus = 223, "INVOKE_BROKER_TO_GET_CONSUMER_STATUS";
        GetTopicsByCluster = 224, "GET_TOPICS_BY_CLUSTER";
        UpdateAndCreateSubscriptionGroupList = 225, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST";
        QueryTopicConsumeByWho = 300, "QUERY_TOPIC_CONSUME_BY_WHO";
        RegisterFilterServer = 301, "REGISTER_FILTER_SERVER";
        RegisterMessageFilterClass = 302, "REGISTER_MESSAGE_FILTER_CLASS";
        QueryConsumeTimeSpan = 303, "QUERY_CONSUME_TIME_SPAN";
        GetSystemTopicListFromNs = 304, "GET_SYSTEM_TOPIC_LIST_FROM_NS";
        GetSystemTopicListFromBroker = 305, "GET_SYSTEM_TOPIC_LIST_FROM_BROKER";
        CleanExpiredConsumeQueue = 306, "CLEAN_EXPIRED_CONSUMEQUEUE";
        GetConsumerRunningInfo = 307, "GET_CONSUMER_RUNNING_INFO";
        QueryCorrectionOffset = 308, "QUERY_CORRECTION_OFFSET";
        ConsumeMessageDirectly = 309, "CONSUME_MESSAGE_DIRECTLY";
        SendMessageV2 = 310, "SEND_MESSAGE_V2";
        GetUnitTopicList = 311, "GET_UNIT_TOPIC_LIST";
        GetHasUnitSubTopicList = 312, "GET_HAS_UNIT_SUB_TOPIC_LIST";
        GetHasUnitSubUnunitTopicList = 313, "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST";
        CloneGroupOffset = 314, "CLONE_GROUP_OFFSET";
        ViewBrokerStatsData = 315, "VIEW_BROKER_STATS_DATA";
        CleanUnusedTopic = 316, "CLEAN_UNUSED_TOPIC";
        GetBrokerConsumeStats = 317, "GET_BROKER_CONSUME_STATS";
        UpdateNamesrvConfig = 318, "UPDATE_NAMESRV_CONFIG";
        GetNamesrvConfig = 319, "GET_NAMESRV_CONFIG";
        SendBatchMessage = 320, "SEND_BATCH_MESSAGE";
        QueryConsumeQueue = 321, "QUERY_CONSUME_QUEUE";
        QueryDataVersion = 322, "QUERY_DATA_VERSION";
        ResumeCheckHalfMessage = 323, "RESUME_CHECK_HALF_MESSAGE";
        SendReplyMessage = 324, "SEND_REPLY_MESSAGE";
        SendReplyMessageV2 = 325, "SEND_REPLY_MESSAGE_V2";
        PushReplyMessageToClient = 326, "PUSH_REPLY_MESSAGE_TO_CLIENT";
        AddWritePermOfBroker = 327, "ADD_WRITE_PERM_OF_BROKER";
        GetAllProducerInfo = 328, "GET_ALL_PRODUCER_INFO";
        DeleteExpiredCommitLog = 329, "DELETE_EXPIRED_COMMITLOG";
        QueryTopicsByConsumer = 343, "QUERY_TOPICS_BY_CONSUMER";
        QuerySubscriptionByConsumer = 345, "QUERY_SUBSCRIPTION_BY_CONSUMER";
        GetTopicConfig = 351, "GET_TOPIC_CONFIG";
        GetSubscriptionGroupConfig = 352, "GET_SUBSCRIPTIONGROUP_CONFIG";
        UpdateAndGetGroupForbidden = 353, "UPDATE_AND_GET_GROUP_FORBIDDEN";
        CheckRocksdbCqWriteProgress = 354, "CHECK_ROCKSDB_CQ_WRITE_PROGRESS";
        ExportRocksdbConfigToJson = 355, "EXPORT_ROCKSDB_CONFIG_TO_JSON";
        LitePullMessage = 361, "LITE_PULL_MESSAGE";
        RecallMessage = 370, "RECALL_MESSAGE";
        QueryAssignment = 400, "QUERY_ASSIGNMENT";
        SetMessageRequestMode = 401, "SET_MESSAGE_REQUEST_MODE";
        GetAllMessageRequestMode = 402, "GET_ALL_MESSAGE_REQUEST_MODE";
        UpdateAndCreateStaticTopic = 513, "UPDATE_AND_CREATE_STATIC_TOPIC";
        GetBrokerMemberGroup = 901, "GET_BROKER_MEMBER_GROUP";
        AddBroker = 902, "ADD_BROKER";
        RemoveBroker = 903, "REMOVE_BROKER";
        BrokerHeartbeat = 904, "BROKER_HEARTBEAT";
        NotifyMinBrokerIdChange = 905, "NOTIFY_MIN_BROKER_ID_CHANGE";
        ExchangeBrokerHaInfo = 906, "EXCHANGE_BROKER_HA_INFO";
        GetBrokerHaStatus = 907, "GET_BROKER_HA_STATUS";
        ResetMasterFlushOffset = 908, "RESET_MASTER_FLUSH_OFFSET";
        ControllerAlterSyncStateSet = 1001, "CONTROLLER_ALTER_SYNC_STATE_SET";
        ControllerElectMaster = 1002, "CONTROLLER_ELECT_MASTER";
        ControllerRegisterBroker = 1003, "CONTROLLER_REGISTER_BROKER";
        ControllerGetReplicaInfo = 1004, "CONTROLLER_GET_REPLICA_INFO";
        ControllerGetMetadataInfo = 1005, "CONTROLLER_GET_METADATA_INFO";
        ControllerGetSyncStateData = 1006, "CONTROLLER_GET_SYNC_STATE_DATA";
        GetBrokerEpochCache = 1007, "GET_BROKER_EPOCH_CACHE";
        NotifyBrokerRoleChanged = 1008, "NOTIFY_BROKER_ROLE_CHANGED";
        UpdateControllerConfig = 1009, "UPDATE_CONTROLLER_CONFIG";
        GetControllerConfig = 1010, "GET_CONTROLLER_CONFIG";
        CleanBrokerData = 1011, "CLEAN_BROKER_DATA";
        ControllerGetNextBrokerId = 1012, "CONTROLLER_GET_NEXT_BROKER_ID";
        ControllerApplyBrokerId = 1013, "CONTROLLER_APPLY_BROKER_ID";
        UpdateColdDataFlowCtrConfig = 2001, "UPDATE_COLD_DATA_FLOW_CTR_CONFIG";
        RemoveColdDataFlowCtrConfig = 2002, "REMOVE_COLD_DATA_FLOW_CTR_CONFIG";
        GetColdDataFlowCtrInfo = 2003, "GET_COLD_DATA_FLOW_CTR_INFO";
        SetCommitLogReadMode = 2004, "SET_COMMITLOG_READ_MODE";
        AuthCreateUser = 3001, "AUTH_CREATE_USER";
        AuthUpdateUser = 3002, "AUTH_UPDATE_USER";
        AuthDeleteUser = 3003, "AUTH_DELETE_USER";
        AuthGetUser = 3004, "AUTH_GET_USER";
        AuthListUser = 3005, "AUTH_LIST_USER";
        AuthCreateAcl = 3006, "AUTH_CREATE_ACL";
        AuthUpdateAcl = 3007, "AUTH_UPDATE_ACL";
        AuthDeleteAcl = 3008, "AUTH_DELETE_ACL";
        AuthGetAcl = 3009, "AUTH_GET_ACL";
        AuthListAcl = 3010, "AUTH_LIST_ACL";
        PopMessage = 200050, "POP_MESSAGE";
        AckMessage = 200051, "ACK_MESSAGE";
        PeekMessage = 200052, "PEEK_MESSAGE";
        ChangeMessageInvisibleTime = 200053, "CHANGE_MESSAGE_INVISIBLETIME";
        Notification = 200054, "NOTIFICATION";
        PollingInfo = 200055, "POLLING_INFO";
        PopRollback = 200056, "POP_ROLLBACK";
        BatchAckMessage = 200151, "BATCH_ACK_MESSAGE";
    }
}

/// First request code that does not survive the 16 bits of a binary header unharmed.
const WIDE: i32 = 0x1_0000;

impl RequestCode {
    /// The code meant by the 16 bits of a binary header: the pop codes (200050 and up) arrive cut to their lower half,
    /// which no other code occupies. Source: vector `pop_request_code_truncation_rocketmq`.
    pub fn from_binary_header(code: i32) -> RequestCode {
        let wide = code.wrapping_add(3 * WIDE);
        match RequestCode::from_i32(code) {
            RequestCode::Unknown(_) if code >= 0 => match RequestCode::from_i32(wide) {
                RequestCode::Unknown(_) => RequestCode::Unknown(code),
                known => known,
            },
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_come_back() {
        for code in -10..210_000 {
            assert_eq!(RequestCode::from_i32(code).as_i32(), code);
        }
        assert_eq!(RequestCode::from_i32(310), RequestCode::SendMessageV2);
        assert_eq!(RequestCode::SendMessageV2.name(), Some("SEND_MESSAGE_V2"));
        assert_eq!(RequestCode::Unknown(9999).name(), None);
        assert_eq!(RequestCode::from_i32(34).to_string(), "34 HEART_BEAT");
        assert_eq!(RequestCode::from_i32(9999).to_string(), "9999");
    }

    #[test]
    fn every_code_survives_the_binary_header() {
        for code in RequestCode::ALL {
            let cut = code.as_i32() & 0xFFFF;
            assert_eq!(RequestCode::from_binary_header(cut), *code, "{code}");
        }
        assert_eq!(RequestCode::from_binary_header(9999), RequestCode::Unknown(9999));
    }
}
