//! Transactions: codes 37 and 39.
//!
//! Source: RocketMQ 5.3 EndTransactionRequestHeader, CheckTransactionStateRequestHeader.

use super::header;

header! {
    /// Request header of END_TRANSACTION (37), one-way from clients.
    pub struct EndTransactionRequest<'a> {
        /// Producer group.
        producer_group: &'a str => "producerGroup";
        /// Queue offset of the half message.
        half_queue_offset: i64 => "tranStateTableOffset";
        /// Log position of the half message.
        commit_log_offset: i64 => "commitLogOffset";
        /// 8 commit, 12 rollback, 0 unknown.
        commit_or_rollback: i32 => "commitOrRollback";
        /// Answers a check of the broker.
        from_transaction_check: bool => "fromTransactionCheck";
        /// Unique id of the message.
        message_id: &'a str => "msgId";
        /// Transaction id.
        transaction_id: Option<&'a str> => "transactionId";
        /// Topic, sent by newer clients.
        topic: Option<&'a str> => "topic";
        /// Broker name that the client believes to address.
        broker_name: Option<&'a str> => "bname";
    }
}

header! {
    /// Request header of CHECK_TRANSACTION_STATE (39), one-way from broker to producer; the body is the half message.
    pub struct CheckTransactionStateRequest<'a> {
        /// Topic.
        topic: Option<&'a str> => "topic";
        /// Queue offset of the half message.
        half_queue_offset: i64 => "tranStateTableOffset";
        /// Log position of the half message.
        commit_log_offset: i64 => "commitLogOffset";
        /// Unique id of the message.
        message_id: Option<&'a str> => "msgId";
        /// Transaction id.
        transaction_id: Option<&'a str> => "transactionId";
        /// Offset id of the half message.
        offset_message_id: Option<&'a str> => "offsetMsgId";
        /// Broker name.
        broker_name: Option<&'a str> => "bname";
    }
}
