//! The engine's list of the other members: by IP address alone, since the engine asks name servers by datagrams.
//!
//! Each member is in it by its peer id, without an address, for as long as the engine runs: it may come in wherever it
//! calls from, and whether or not anybody knows where it is. Addresses beside that say where to dial it, and may change.
//! When a member has gone, the engine would take whoever calls from one of its addresses for it, by whatever key: such a
//! stranger is shown out, and the address told anew.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use malachitebft_app::types::PeerId as EnginePeer;
use malachitebft_app_channel::NetworkRequest;
use malachitebft_network::{PeerInfo, PersistentPeerError};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use torus_statement::{EpochConfig, Index};
use tracing::{info, warn};

use super::failure::NotStarted;
use super::settings::peer_id;

/// How long the engine's network may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Addresses that lead to nobody are told again after this: the engine gives up on one where somebody else answered.
const AGAIN: Duration = Duration::from_secs(20);

/// The list, as far as the engine is known to have it.
pub(super) struct Peers {
    requests: mpsc::Sender<NetworkRequest>,
    ids: HashMap<PeerId, Index>,
    members: Mutex<BTreeMap<Index, Listed>>,
    /// Strangers who are being shown out.
    leaving: std::sync::Mutex<HashSet<PeerId>>,
}

struct Listed {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    told: Instant,
    connected: bool,
}

/// What the engine is told at its start, and the list to keep.
pub(super) struct First(BTreeMap<Index, (PeerId, Vec<Multiaddr>)>);

impl First {
    /// The other members, each pinned to the peer id that its key certificate names, at these addresses.
    pub(super) fn new(
        config: &EpochConfig,
        me: Index,
        addresses: &BTreeMap<Index, Vec<SocketAddr>>,
    ) -> Result<Self, NotStarted> {
        let others = config.sizes().members().filter(|index| *index != me);
        let listed = others.map(|index| {
            let peer = config.member(index).and_then(|keys| peer_id(&keys.p2p)).ok_or(NotStarted::Peer(index))?;
            let known = addresses.get(&index).map_or(&[][..], Vec::as_slice);
            Ok((index, (peer, known.iter().map(|address| pinned(*address, peer)).collect())))
        });
        Ok(Self(listed.collect::<Result<_, NotStarted>>()?))
    }

    /// The addresses, and every member without one.
    pub(super) fn all(&self) -> Vec<Multiaddr> {
        let entries = |(peer, addresses): &(PeerId, Vec<Multiaddr>)| {
            addresses.iter().cloned().chain([Multiaddr::empty().with(Protocol::P2p(*peer))]).collect::<Vec<_>>()
        };
        self.0.values().flat_map(entries).collect()
    }

    /// The list of an engine that has started with it.
    pub(super) fn kept(self, requests: mpsc::Sender<NetworkRequest>) -> Peers {
        let told = Instant::now();
        let ids = self.0.iter().map(|(index, (peer, _))| (*peer, *index)).collect();
        let listed = |(index, (peer, addresses))| (index, Listed { peer, addresses, told, connected: false });
        let members = Mutex::new(self.0.into_iter().map(listed).collect());
        Peers { requests, ids, members, leaving: std::sync::Mutex::default() }
    }
}

impl Peers {
    /// Tells the engine where a member is. Nothing changes while it is connected, since to take an address away ends the
    /// connection; and nothing if none is found, since what was there may still be right.
    pub(super) async fn seek(&self, member: Index, found: &[SocketAddr]) {
        let mut members = self.members.lock().await;
        let Some(listed) = members.get_mut(&member) else { return };
        let connected = self.is_connected(listed.peer).await;
        let was = std::mem::replace(&mut listed.connected, connected);
        if found.is_empty() || connected {
            return;
        }
        let wanted: Vec<Multiaddr> = found.iter().map(|address| pinned(*address, listed.peer)).collect();
        if wanted != listed.addresses {
            info!(%member, ?found, "the engine is told where a member is");
        } else if !was && listed.told.elapsed() < AGAIN {
            return;
        }
        listed.told = Instant::now();
        for address in std::mem::take(&mut listed.addresses) {
            let gone = self.ask(NetworkRequest::remove_persistent_peer(&self.requests, address.clone())).await;
            if !matches!(gone, Some(Ok(()) | Err(PersistentPeerError::NotFound))) {
                listed.addresses.push(address);
            }
        }
        for address in wanted {
            let there = self.ask(NetworkRequest::add_persistent_peer(&self.requests, address.clone())).await;
            if matches!(there, Some(Ok(()) | Err(PersistentPeerError::AlreadyExists)))
                && !listed.addresses.contains(&address)
            {
                listed.addresses.push(address);
            }
        }
    }

    /// How many of these peers are members. The others are shown out.
    pub(super) fn count(self: &Arc<Self>, connected: &HashMap<PeerId, PeerInfo>) -> usize {
        for (peer, info) in connected.iter().filter(|(peer, _)| !self.ids.contains_key(peer)) {
            self.escort(*peer, info.address.clone());
        }
        connected.keys().filter(|peer| self.ids.contains_key(peer)).count()
    }

    /// Whether this is the p2p key of another member.
    pub(super) fn is_member(&self, peer: &EnginePeer) -> bool {
        PeerId::from_bytes(&peer.to_bytes()).is_ok_and(|peer| self.ids.contains_key(&peer))
    }

    /// Has a stranger shown out, unless that is under way.
    fn escort(self: &Arc<Self>, stranger: PeerId, from: Multiaddr) {
        if !self.leaving(|leaving| leaving.insert(stranger)) {
            return;
        }
        warn!(peer = %stranger, address = %from, "a stranger calls from a member's address, and is shown out");
        let list = Arc::clone(self);
        tokio::spawn(async move {
            list.show_out(stranger, &from).await;
            list.leaving(|leaving| leaving.remove(&stranger));
        });
    }

    fn leaving<T>(&self, with: impl FnOnce(&mut HashSet<PeerId>) -> T) -> T {
        with(&mut self.leaving.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn show_out(&self, stranger: PeerId, from: &Multiaddr) {
        let members = self.members.lock().await;
        let all = members.values().flat_map(|listed| &listed.addresses);
        for address in all.filter(|address| bare(address) == bare(from)) {
            // Told anew, the address is the member's again.
            self.ask(NetworkRequest::remove_persistent_peer(&self.requests, address.clone())).await;
            self.ask(NetworkRequest::add_persistent_peer(&self.requests, address.clone())).await;
        }
        // Who is taken out of the list is disconnected.
        let place = Multiaddr::empty().with(Protocol::P2p(stranger));
        self.ask(NetworkRequest::add_persistent_peer(&self.requests, place.clone())).await;
        self.ask(NetworkRequest::remove_persistent_peer(&self.requests, place)).await;
    }

    /// Whether a member is connected; one of which nobody can say so counts as connected, and is asked for again.
    async fn is_connected(&self, peer: PeerId) -> bool {
        let dump = self.ask(NetworkRequest::dump_state(&self.requests)).await.flatten();
        dump.is_none_or(|dump| dump.peers.contains_key(&peer))
    }

    async fn ask<T, E>(&self, request: impl Future<Output = Result<T, E>>) -> Option<T> {
        timeout(ANSWER, request).await.ok()?.ok()
    }
}

fn pinned(address: SocketAddr, peer: PeerId) -> Multiaddr {
    Multiaddr::empty().with(address.ip().into()).with(Protocol::Tcp(address.port())).with(Protocol::P2p(peer))
}

/// Without the peer id.
fn bare(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(member: PeerId) -> (Arc<Peers>, mpsc::Receiver<NetworkRequest>) {
        let (requests, asked) = mpsc::channel(8);
        let known = BTreeMap::from([(Index::new(2).unwrap(), (member, Vec::new()))]);
        (Arc::new(First(known).kept(requests)), asked)
    }

    #[tokio::test]
    async fn a_stranger_is_shown_out_once_at_a_time_however_often_he_is_counted() {
        let (list, mut asked) = list(PeerId::random());
        let (stranger, other) = (PeerId::random(), PeerId::random());
        let place: Multiaddr = "/ip4/192.0.2.1/tcp/7002".parse().unwrap();
        (0..3).for_each(|_| list.escort(stranger, place.clone()));
        // The engine has not answered yet: he is asked out by one task, and nobody waits behind it for him.
        let first = asked.recv().await.unwrap();
        assert_eq!(list.leaving(|leaving| leaving.len()), 1);
        tokio::task::yield_now().await;
        assert!(asked.try_recv().is_err());
        list.escort(other, place.clone());
        assert_eq!(list.leaving(|leaving| leaving.len()), 2);
        // Each is put into the engine's list and taken out of it, answered or not; then he may be shown out again.
        drop(first);
        for _ in 0..3 {
            drop(asked.recv().await.unwrap());
        }
        while list.leaving(|leaving| !leaving.is_empty()) {
            tokio::task::yield_now().await;
        }
        assert!(asked.try_recv().is_err());
        list.escort(stranger, place);
        assert!(asked.recv().await.is_some());
    }

    #[test]
    fn only_members_are_obeyed() {
        let member = PeerId::random();
        let (list, _asked) = list(member);
        let engines = |peer: PeerId| EnginePeer::from_bytes(&peer.to_bytes()).unwrap();
        assert!(list.is_member(&engines(member)));
        assert!(!list.is_member(&engines(PeerId::random())));
    }
}
