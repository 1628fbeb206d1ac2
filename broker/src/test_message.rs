//! The smallest message that a log takes, for tests: without a body, and with zeros wherever nothing else is said.

/// A message that lacks its stamps. Layout: `flotilla_remoting::message`.
pub(crate) fn message(topic: &str, queue_id: u32, properties: &str) -> Vec<u8> {
    let mut bytes = vec![0; 88];
    bytes[4..8].copy_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
    bytes[12..16].copy_from_slice(&queue_id.to_be_bytes());
    bytes.push(topic.len() as u8);
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&(properties.len() as u16).to_be_bytes());
    bytes.extend_from_slice(properties.as_bytes());
    let size = bytes.len() as u32;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}
