//! The configured members of a group: `n0-host:port;n1-host:port`.
//!
//! The first dash of a peer splits its name from its address, so a host name may hold dashes; an IPv6 address stands in
//! brackets. A name is `n` and the peer's index. Source: RocketMQ 5.3 `dLegerPeers`, DLedger `PeerConfig` form.

use std::fmt;

use thiserror::Error;

/// Largest peer index; it has 16 bits in a node id.
pub const PEER_INDEX_MAX: u16 = u16::MAX;

/// One configured member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Index of the peer, the number in its name.
    pub index: u16,
    /// Host name or address, without brackets.
    pub host: String,
    /// Raft port.
    pub port: u16,
}

impl Peer {
    /// `host:port`, with brackets around an IPv6 address, as the resolver takes it.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}-{}", self.index, self.address())
    }
}

/// Why a list of peers cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum PeersError {
    /// No peer at all.
    #[error("no peer is named")]
    Empty,
    /// A peer that cannot be read.
    #[error("peer `{text}`: {reason}")]
    Malformed {
        /// The peer as it was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two peers of one index.
    #[error("peer n{0} is named twice")]
    Twice(u16),
    /// Two peers at one address.
    #[error("peers n{0} and n{1} have the same address")]
    SameAddress(u16, u16),
}

/// Reads a list of peers and returns it ordered by index.
///
/// # Errors
/// The text is not a list of distinct peers; the message names the peer.
pub fn parse_peers(text: &str) -> Result<Vec<Peer>, PeersError> {
    let mut peers = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        peers.push(parse_peer(part)?);
    }
    peers.sort_by_key(|peer| peer.index);
    if peers.is_empty() {
        return Err(PeersError::Empty);
    }
    for (at, peer) in peers.iter().enumerate() {
        for other in &peers[at + 1..] {
            if other.index == peer.index {
                return Err(PeersError::Twice(peer.index));
            }
            if other.host == peer.host && other.port == peer.port {
                return Err(PeersError::SameAddress(peer.index, other.index));
            }
        }
    }
    Ok(peers)
}

/// Reads a peer's name, `n0`, as `dLegerSelfId` gives it.
///
/// # Errors
/// The text is not `n` and a number of at most 16 bits.
pub fn parse_peer_name(text: &str) -> Result<u16, PeersError> {
    let malformed = |reason| PeersError::Malformed { text: text.to_owned(), reason };
    let digits = text.strip_prefix('n').ok_or_else(|| malformed("a name is `n` and a number"))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("a name is `n` and a number"));
    }
    digits.parse().map_err(|_| malformed("the number is above 65535"))
}

fn parse_peer(text: &str) -> Result<Peer, PeersError> {
    let malformed = |reason| PeersError::Malformed { text: text.to_owned(), reason };
    let (name, address) =
        text.split_once('-').ok_or_else(|| malformed("a dash between name and address is missing"))?;
    let index = parse_peer_name(name.trim())?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| malformed("the port is missing"))?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(|| malformed("the bracket is not closed"))?,
        None if host.contains(':') => return Err(malformed("an IPv6 address stands in brackets")),
        None => host,
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(malformed("the host is missing"));
    }
    let port = port.parse().map_err(|_| malformed("the port is not a number up to 65535"))?;
    if port == 0 {
        return Err(malformed("the port is 0"));
    }
    Ok(Peer { index, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_names_dashes_and_ipv6() {
        let peers =
            parse_peers("n2-my-host-1.example:40913; n0-127.0.0.1:40911;n1-[fe80::1]:40912;").unwrap();
        assert_eq!(peers.iter().map(|peer| peer.index).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(peers[2].host, "my-host-1.example");
        assert_eq!(peers[1].host, "fe80::1");
        assert_eq!(peers[1].address(), "[fe80::1]:40912");
        assert_eq!(peers[0].to_string(), "n0-127.0.0.1:40911");
    }

    #[test]
    fn refuses_what_cannot_be_a_group() {
        for text in [
            "",
            ";",
            "n0",
            "0-host:1",
            "n-host:1",
            "n70000-host:1",
            "n0-host",
            "n0-:1",
            "n0-host:x",
            "n0-host:0",
            "n0-fe80::1:5",
            "n0-[fe80::1:5",
            "n0-a:1;n0-b:2",
            "n0-a:1;n1-a:1",
            "n+1-a:1",
        ] {
            assert!(parse_peers(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_read_alone() {
        assert_eq!(parse_peer_name("n12").unwrap(), 12);
        assert!(parse_peer_name("m1").is_err());
    }
}
