//! What is promised: one group of exactly these nodes.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut};

/// One attempt at forming: the group and all its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) group: String,
    /// Full node ids.
    pub(crate) nodes: BTreeSet<u64>,
}

const NODES_MAX: u32 = 1024;

impl Token {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u16_le(u16::try_from(self.group.len()).expect("group names are short"));
        out.put_slice(self.group.as_bytes());
        put_nodes(&mut out, &self.nodes);
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Token> {
        let size = usize::from(bytes.try_get_u16_le().ok()?);
        let (group, rest) = bytes.split_at_checked(size)?;
        let group = String::from_utf8(group.to_vec()).ok()?;
        let mut rest = rest;
        let nodes = get_nodes(&mut rest)?;
        rest.is_empty().then_some(Token { group, nodes })
    }
}

pub(super) fn put_nodes(out: &mut impl BufMut, nodes: &BTreeSet<u64>) {
    out.put_u32_le(u32::try_from(nodes.len()).expect("a group has few nodes"));
    nodes.iter().for_each(|node| out.put_u64_le(*node));
}

pub(super) fn get_nodes(bytes: &mut impl Buf) -> Option<BTreeSet<u64>> {
    let count = bytes.try_get_u32_le().ok().filter(|count| *count <= NODES_MAX)?;
    (0..count).map(|_| bytes.try_get_u64_le().ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tokens_come_back_as_written() {
        let token = Token { group: "broker-a".into(), nodes: [3, 9, 1 << 60].into() };
        let bytes = token.encode();
        assert_eq!(Token::decode(&bytes).unwrap(), token);
        for end in 0..bytes.len() {
            assert_eq!(Token::decode(&bytes[..end]), None, "cut at {end}");
        }
    }
}
