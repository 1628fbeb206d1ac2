//! Messages in the stored layout, short form, IPv4, not stamped: what a broker's encoder writes, without its settings.

/// A message.
pub fn stored(topic: &str, queue_id: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 88];
    bytes[4..8].copy_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
    bytes[12..16].copy_from_slice(&queue_id.to_be_bytes());
    bytes[84..88].copy_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.push(topic.len() as u8);
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&0_u16.to_be_bytes());
    let size = bytes.len() as u32;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}
