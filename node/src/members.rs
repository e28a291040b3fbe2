//! Where this member listens and where the others are, read from the epoch's config and the operator's words.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use libp2p::multiaddr::Multiaddr;
use torus_statement::{EpochConfig, Index};

use crate::names::{Names, NoServer};
use crate::p2p::{Peer, peer_id};
use crate::place::{Place, multiaddr};

/// The members as a node starts with them.
pub(crate) struct Members {
    /// Where this one listens: for envelopes, and for the engine.
    pub(crate) listen: (Multiaddr, Multiaddr),
    /// The others, where they take envelopes.
    pub(crate) peers: Vec<Peer>,
    /// The others' engines.
    pub(crate) engines: Vec<(Index, Place)>,
    /// Whom to ask for names; nobody if no other member's endpoint is one.
    pub(crate) names: Option<Arc<Names>>,
    /// TCP ports that are listened on.
    pub(crate) bind: Vec<u16>,
    /// TCP ports that are connected to.
    pub(crate) connect: Vec<u16>,
}

/// The members cannot be reached as the config has it, or this one cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadMembers {
    #[error("member {0} has no endpoint")]
    None(Index),
    #[error("the endpoint {1} of member {0} cannot be used: {2}")]
    Endpoint(Index, String, String),
    #[error("the p2p key of member {0} is no Ed25519 key")]
    Key(Index),
    #[error(
        "the endpoint {0} of this member is a name: say by --listen-members IP at which address of this machine to listen"
    )]
    Listen(String),
    #[error(
        "--listen-members {0}: it must be one address of this machine; to listen at all of them takes a socket to the \
         system that a locked-down node may not keep"
    )]
    NotOne(IpAddr),
    #[error("the endpoints of other members are names: {0}")]
    Names(#[from] NoServer),
}

impl Members {
    /// Reads the config for a member that listens at this address, or else at its endpoint's own.
    pub(crate) fn of(
        config: &EpochConfig,
        me: Index,
        listen: Option<IpAddr>,
        resolvers: &[SocketAddr],
    ) -> Result<Self, BadMembers> {
        let mut all = Self {
            listen: (Multiaddr::empty(), Multiaddr::empty()),
            peers: vec![],
            engines: vec![],
            names: None,
            bind: vec![],
            connect: vec![],
        };
        for index in config.sizes().members() {
            let endpoint = config.keys().endpoints.get(index.slot()).ok_or(BadMembers::None(index))?;
            let read = |text: &str| {
                Place::parse(text).map_err(|why| BadMembers::Endpoint(index, text.to_owned(), why.to_string()))
            };
            let (p2p, bft) = (read(&endpoint.p2p)?, read(&endpoint.bft)?);
            let ports = [p2p.port(), bft.port()];
            if index == me {
                all.bind.extend(ports);
                all.listen = (own(&p2p, &endpoint.p2p, listen)?, own(&bft, &endpoint.bft, listen)?);
                continue;
            }
            all.connect.extend(ports);
            let id = config.member(index).and_then(|keys| peer_id(&keys.p2p)).ok_or(BadMembers::Key(index))?;
            all.peers.push(Peer { index, id, place: p2p });
            all.engines.push((index, bft));
        }
        let mut places = all.peers.iter().map(|peer| &peer.place).chain(all.engines.iter().map(|(_, place)| place));
        if places.any(|place| place.address().is_none()) {
            let names = Names::new(resolvers)?;
            all.connect.extend(names.ports());
            all.names = Some(Arc::new(names));
        }
        Ok(all)
    }
}

/// Where to listen: at the endpoint's port, and its address unless another is given.
fn own(place: &Place, text: &str, listen: Option<IpAddr>) -> Result<Multiaddr, BadMembers> {
    if let Some(ip) = listen.filter(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err(BadMembers::NotOne(ip));
    }
    let given = listen.map(|ip| SocketAddr::new(ip, place.port()));
    given.or(place.address()).map(multiaddr).ok_or_else(|| BadMembers::Listen(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_listens_at_its_endpoint_or_where_its_operator_says_at_the_same_port() {
        let here: IpAddr = "10.0.0.5".parse().unwrap();
        let own = |text: &str, listen| own(&Place::parse(text).unwrap(), text, listen);
        assert_eq!(own("/ip4/192.0.2.1/tcp/7", None).unwrap().to_string(), "/ip4/192.0.2.1/tcp/7");
        for text in ["/ip4/192.0.2.1/tcp/7", "/dns/one.test/tcp/7"] {
            assert_eq!(own(text, Some(here)).unwrap().to_string(), "/ip4/10.0.0.5/tcp/7");
        }
        let refused = own("/dns/one.test/tcp/7", None).unwrap_err().to_string();
        assert!(refused.contains("/dns/one.test/tcp/7") && refused.contains("--listen-members"), "{refused}");
        for all in ["0.0.0.0", "::"] {
            let refused = own("/dns/one.test/tcp/7", Some(all.parse().unwrap())).unwrap_err().to_string();
            assert!(refused.contains("--listen-members"), "{refused}");
        }
    }
}
