//! Addresses as text and as values.

use std::net::SocketAddr;

/// Host and port of `host:port`, split at the **last** colon; brackets around an IPv6 host are taken off. `None` when
/// there is no host or no port.
/// Source: RocketMQ 5.3 NetworkUtil/RemotingHelper, which split at the last colon.
pub fn split_address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host, port))
}

/// The address with an IPv4-mapped IPv6 host (`::ffff:10.0.0.5`) written as the IPv4 host that it is, so that a peer has
/// one text whichever socket it came in by.
pub fn normalised(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn split_address_takes_the_last_colon_and_brackets_off() {
        assert_eq!(split_address("127.0.0.1:9876"), Some(("127.0.0.1", 9876)));
        assert_eq!(split_address("a-host.local:1"), Some(("a-host.local", 1)));
        assert_eq!(split_address("[::1]:9876"), Some(("::1", 9876)));
        assert_eq!(split_address("::1:9876"), Some(("::1", 9876)));
        for bad in ["", "host", ":1", "host:", "host:x", "host:70000"] {
            assert_eq!(split_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mapped_peer_is_written_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:10.0.0.5]:77".parse().unwrap();
        assert_eq!(normalised(mapped).to_string(), "10.0.0.5:77");
        let v6: SocketAddr = "[::1]:77".parse().unwrap();
        assert_eq!(normalised(v6), v6);
    }
}
