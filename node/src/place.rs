//! Where a member is reached, as the epoch's config says it: an address or a name, and a TCP port.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::{self, Multiaddr, Protocol};

use crate::names::{Names, Unresolved, is_name};

/// A member's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String, Family),
}

/// Which addresses of a name count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

/// A place that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPlace(String);

impl Place {
    /// Reads a multiaddress. One that stands for all of a machine's is none that others could reach.
    pub fn parse(text: &str) -> Result<Self, BadPlace> {
        let address: Multiaddr =
            text.parse().map_err(|error: multiaddr::Error| BadPlace(format!("it is no multiaddress: {error}")))?;
        let parts: Vec<Protocol<'_>> = address.iter().collect();
        let named = |name: &str, family| Host::Name(name.to_owned(), family);
        let (host, port) = match parts.as_slice() {
            [Protocol::Ip4(ip), Protocol::Tcp(port)] => (Host::Address((*ip).into()), *port),
            [Protocol::Ip6(ip), Protocol::Tcp(port)] => (Host::Address((*ip).into()), *port),
            [Protocol::Dns(name), Protocol::Tcp(port)] => (named(name, Family::Any), *port),
            [Protocol::Dns4(name), Protocol::Tcp(port)] => (named(name, Family::V4), *port),
            [Protocol::Dns6(name), Protocol::Tcp(port)] => (named(name, Family::V6), *port),
            _ => return Err(BadPlace("it must be /ip4, /ip6, /dns, /dns4 or /dns6 and then /tcp and a port".into())),
        };
        match &host {
            Host::Address(ip) if ip.is_unspecified() || ip.is_multicast() => {
                Err(BadPlace("it is no address of one machine".into()))
            }
            Host::Name(name, _) if !is_name(name) => Err(BadPlace(format!("{name:?} is no name of a host"))),
            _ if port == 0 => Err(BadPlace("port 0 is none".into())),
            _ => Ok(Self { host, port }),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if it is one and not a name.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Address(ip) => Some(SocketAddr::new(*ip, self.port)),
            Host::Name(..) => None,
        }
    }

    /// The addresses that its name has now, at least one; those of its family.
    pub async fn resolve(&self, names: &Names) -> Result<Vec<SocketAddr>, Unresolved> {
        let (name, family) = match &self.host {
            Host::Address(ip) => return Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name, family) => (name, *family),
        };
        let mut found = names.resolve(name).await?;
        found.retain(|ip| match family {
            Family::Any => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        });
        if found.is_empty() {
            return Err(Unresolved::new(name, "it has no address of the family that the endpoint asks for"));
        }
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect())
    }
}

/// An address as the p2p library has it.
pub fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::empty().with(address.ip().into()).with(Protocol::Tcp(address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_address_or_name_and_one_port() {
        assert_eq!(Place::parse("/ip4/192.0.2.1/tcp/7001").unwrap().address(), Some("192.0.2.1:7001".parse().unwrap()));
        assert_eq!(Place::parse("/ip6/2001:db8::1/tcp/7").unwrap().address(), Some("[2001:db8::1]:7".parse().unwrap()));
        for text in ["/dns/one.example.org/tcp/7001", "/dns4/one.example.org/tcp/7001", "/dns6/one/tcp/7001"] {
            let place = Place::parse(text).unwrap();
            assert_eq!((place.address(), place.port()), (None, 7001), "{text}");
        }
        for text in [
            "one.example.org:7001",
            "/dns/one.example.org",
            "/dns//tcp/1",
            "/dns/./tcp/1",
            "/dns/a..b/tcp/1",
            "/dns/*.example.org/tcp/1",
            "/dnsaddr/one.example.org/tcp/1",
            "/dns/one.example.org/udp/1",
            "/dns/one.example.org/tcp/1/ws",
            "/dns/one.example.org/tcp/0",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip6/::/tcp/1",
            "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWGRvf7qVQDrNR5nfYD6rKrbgeTi9x8RrbdxbmsPvxL4mw",
        ] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
        let long = format!("/dns/{}/tcp/1", "a".repeat(64));
        assert!(Place::parse(&long).is_err());
    }
}
