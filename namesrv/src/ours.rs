//! The mark of our own brokers on their requests to the name server. Others ignore unknown fields, so the same requests
//! also go to Apache's name servers.

use flotilla_remoting::ExtFields;

/// Ext field; `1` marks a broker of ours.
pub const MARK: &str = "flotilla";

/// Ext field of REGISTER_BROKER and BROKER_HEARTBEAT: the index up to which the replica has applied its group's log,
/// decimal. In a heartbeat of Apache's brokers the same field is the end of their log.
pub const APPLIED: &str = "maxOffset";

/// Claims that a request comes from one of our brokers.
pub fn is_ours(fields: &ExtFields) -> bool {
    fields.get(MARK) == Some("1")
}

/// The applied index that a broker of ours tells.
pub fn applied(fields: &ExtFields) -> Option<u64> {
    let applied = fields.get(APPLIED).filter(|_| is_ours(fields))?;
    applied.parse().ok()
}
