//! Response codes. Source: RocketMQ 5.3 RemotingSysResponseCode and ResponseCode.
//!
//! Two of them are easily misused: 11 to a send means "stored" to clients, and 2 is not retried by the Go client; a
//! replica that does not lead answers 14.

use super::codes;

/// Part of the remark with which Flotilla answers SERVICE_NOT_AVAILABLE to a write that it may have done, because leadership
/// changed under it: the code is the one that official clients try again, the remark tells the difference.
pub const OUTCOME_UNKNOWN: &str = "the outcome is not known";

codes! {
    /// Outcome of a request. A number without a name stays `Unknown` and keeps its number.
    pub enum ResponseCode {
        Success = 0, "SUCCESS";
        SystemError = 1, "SYSTEM_ERROR";
        SystemBusy = 2, "SYSTEM_BUSY";
        RequestCodeNotSupported = 3, "REQUEST_CODE_NOT_SUPPORTED";
        TransactionFailed = 4, "TRANSACTION_FAILED";
        FlushDiskTimeout = 10, "FLUSH_DISK_TIMEOUT";
        SlaveNotAvailable = 11, "SLAVE_NOT_AVAILABLE";
        FlushSlaveTimeout = 12, "FLUSH_SLAVE_TIMEOUT";
        MessageIllegal = 13, "MESSAGE_ILLEGAL";
        ServiceNotAvailable = 14, "SERVICE_NOT_AVAILABLE";
        VersionNotSupported = 15, "VERSION_NOT_SUPPORTED";
        NoPermission = 16, "NO_PERMISSION";
        TopicNotExist = 17, "TOPIC_NOT_EXIST";
        TopicExistAlready = 18, "TOPIC_EXIST_ALREADY";
        PullNotFound = 19, "PULL_NOT_FOUND";
        PullRetryImmediately = 20, "PULL_RETRY_IMMEDIATELY";
        PullOffsetMoved = 21, "PULL_OFFSET_MOVED";
        QueryNotFound = 22, "QUERY_NOT_FOUND";
        SubscriptionParseFailed = 23, "SUBSCRIPTION_PARSE_FAILED";
        SubscriptionNotExist = 24, "SUBSCRIPTION_NOT_EXIST";
        SubscriptionNotLatest = 25, "SUBSCRIPTION_NOT_LATEST";
        SubscriptionGroupNotExist = 26, "SUBSCRIPTION_GROUP_NOT_EXIST";
        FilterDataNotExist = 27, "FILTER_DATA_NOT_EXIST";
        FilterDataNotLatest = 28, "FILTER_DATA_NOT_LATEST";
        InvalidParameter = 29, "INVALID_PARAMETER";
        TransactionShouldCommit = 200, "TRANSACTION_SHOULD_COMMIT";
        TransactionShouldRollback = 201, "TRANSACTION_SHOULD_ROLLBACK";
        TransactionStateUnknow = 202, "TRANSACTION_STATE_UNKNOW";
        TransactionStateGroupWrong = 203, "TRANSACTION_STATE_GROUP_WRONG";
        NoBuyerId = 204, "NO_BUYER_ID";
        NotInCurrentUnit = 205, "NOT_IN_CURRENT_UNIT";
        ConsumerNotOnline = 206, "CONSUMER_NOT_ONLINE";
        ConsumeMsgTimeout = 207, "CONSUME_MSG_TIMEOUT";
        NoMessage = 208, "NO_MESSAGE";
        PollingFull = 209, "POLLING_FULL";
        PollingTimeout = 210, "POLLING_TIMEOUT";
        BrokerNotExist = 211, "BROKER_NOT_EXIST";
        BrokerDispatchNotComplete = 212, "BROKER_DISPATCH_NOT_COMPLETE";
        BroadcastConsumption = 213, "BROADCAST_CONSUMPTION";
        FlowControl = 215, "FLOW_CONTROL";
        NotLeaderForQueue = 501, "NOT_LEADER_FOR_QUEUE";
        IllegalOperation = 604, "ILLEGAL_OPERATION";
        GoAway = 1500, "GO_AWAY";
        FencedMasterEpoch = 2000, "FENCED_MASTER_EPOCH";
        FencedSyncStateSetEpoch = 2001, "FENCED_SYNC_STATE_SET_EPOCH";
        InvalidMaster = 2002, "INVALID_MASTER";
        InvalidReplicas = 2003, "INVALID_REPLICAS";
        MasterNotAvailable = 2004, "MASTER_NOT_AVAILABLE";
        InvalidRequest = 2005, "INVALID_REQUEST";
        BrokerNotAlive = 2006, "BROKER_NOT_ALIVE";
        NotLeader = 2007, "NOT_LEADER";
        BrokerMetadataNotExist = 2008, "BROKER_METADATA_NOT_EXIST";
        InvalidCleanBrokerMetadata = 2009, "INVALID_CLEAN_BROKER_METADATA";
        BrokerNeedToBeRegistered = 2010, "BROKER_NEED_TO_BE_REGISTERED";
        MasterStillExist = 2011, "MASTER_STILL_EXIST";
        ElectMasterFailed = 2012, "ELECT_MASTER_FAILED";
        AlterSyncStateSetFailed = 2013, "ALTER_SYNC_STATE_SET_FAILED";
        BrokerIdInvalid = 2014, "BROKER_ID_INVALID";
        JraftInternalError = 2015, "JRAFT_INTERNAL_ERROR";
        BrokerLiveInfoNotExists = 2016, "BROKER_LIVE_INFO_NOT_EXISTS";
        UserNotExist = 3001, "USER_NOT_EXIST";
        PolicyNotExist = 3002, "POLICY_NOT_EXIST";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_come_back() {
        for code in -10..4_000 {
            assert_eq!(ResponseCode::from_i32(code).as_i32(), code);
        }
        assert_eq!(ResponseCode::from_i32(19), ResponseCode::PullNotFound);
        assert_eq!(ResponseCode::TopicNotExist.name(), Some("TOPIC_NOT_EXIST"));
    }

    #[test]
    fn no_code_exceeds_what_the_go_client_can_hold() {
        // The Go client keeps the code in an int16.
        assert!(ResponseCode::ALL.iter().all(|code| i16::try_from(code.as_i32()).is_ok()));
    }
}
