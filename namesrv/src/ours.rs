//! The mark of our own brokers on their requests to the name server. Others ignore unknown fields, so the same requests
//! also go to Apache's name servers.

use flotilla_remoting::ExtFields;

/// Ext field; `1` marks a broker of ours.
pub const MARK: &str = "flotilla";

/// Ext field: the index up to which the replica has applied its group's log, decimal.
pub const APPLIED: &str = "flotillaApplied";

/// Claims that a request comes from one of our brokers.
pub fn is_ours(fields: &ExtFields) -> bool {
    fields.get(MARK) == Some("1")
}

/// The applied index, when it is there and a number.
pub fn applied(fields: &ExtFields) -> Option<u64> {
    fields.get(APPLIED)?.parse().ok()
}
