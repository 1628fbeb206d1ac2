//! The address under which clients and peers reach this machine, when `brokerIP1` doesn't say.
//!
//! The kernel's routing table knows: a UDP socket "connected" to a name server or peer has the source address
//! that packets to it would carry (connecting UDP sends nothing). So bridges of container run-times are
//! chosen only when the way really leads through them, which a list of interface names can't promise.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// Finds the local address towards a target (`host:port`).
pub trait AddressProbe {
    /// # Errors
    /// The target can't be resolved, or no route leads there.
    fn towards(&self, target: &str) -> io::Result<IpAddr>;
}

/// Asks the routing table. May resolve names, so it blocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteProbe;

impl AddressProbe for RouteProbe {
    fn towards(&self, target: &str) -> io::Result<IpAddr> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in target.to_socket_addrs()? {
            match source_towards(address) {
                Ok(source) => return Ok(source),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn source_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

/// An address and the reason for it, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub address: IpAddr,
    pub because: String,
}

/// Tries the targets in order and prefers the first answer that is not loopback.
pub(super) fn choose<'a>(
    targets: impl Iterator<Item = &'a str>,
    probe: &dyn AddressProbe,
) -> Result<Chosen, String> {
    let mut loopback = None;
    let mut failures = Vec::new();
    for target in targets {
        match probe.towards(target) {
            Ok(address) => {
                let chosen = Chosen { address, because: format!("the route to {target} leaves from it") };
                if !address.is_loopback() {
                    return Ok(chosen);
                }
                loopback = loopback.or(Some(chosen));
            }
            Err(error) => failures.push(format!("{target}: {error}")),
        }
    }
    loopback.ok_or_else(|| match failures.is_empty() {
        true => "nothing to reach: neither namesrvAddr nor a peer is set".to_owned(),
        false => failures.join("; "),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Fixed;

    impl AddressProbe for Fixed {
        fn towards(&self, target: &str) -> io::Result<IpAddr> {
            match target {
                "ns:9876" => Ok(IpAddr::from([127, 0, 0, 1])),
                "peer:40911" => Ok(IpAddr::from([10, 0, 0, 7])),
                _ => Err(io::Error::other("unreachable")),
            }
        }
    }

    #[test]
    fn a_real_address_is_preferred_over_loopback() {
        let chosen = choose(["lost:1", "ns:9876", "peer:40911"].into_iter(), &Fixed).unwrap();
        assert_eq!(chosen.address, IpAddr::from([10, 0, 0, 7]));
        assert!(chosen.because.contains("peer:40911"), "{chosen:?}");
        let chosen = choose(["ns:9876", "lost:1"].into_iter(), &Fixed).unwrap();
        assert!(chosen.address.is_loopback());
    }

    #[test]
    fn no_answer_tells_every_failure() {
        let error = choose(["a:1", "b:2"].into_iter(), &Fixed).unwrap_err();
        assert_eq!(error, "a:1: unreachable; b:2: unreachable");
        assert!(choose(std::iter::empty(), &Fixed).is_err());
    }

    #[test]
    fn the_route_to_loopback_leaves_from_loopback() {
        assert!(RouteProbe.towards("127.0.0.1:9").unwrap().is_loopback());
    }
}
