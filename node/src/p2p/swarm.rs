//! The task that owns the swarm: dials pinned peers, keeps a queue for each, repeats what is not acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::futures::stream::FuturesUnordered;
use libp2p::futures::{FutureExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Event, Message, OutboundRequestId, ProtocolSupport, ResponseChannel};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot, watch};
use torus_statement::Index;

use super::codec::Messages;
use super::{ACK_TIMEOUT, Ack, IN_FLIGHT, Inbound, P2pError, Peer, QUEUE, QUEUE_BYTES};
use crate::names::Names;
use crate::place::{Place, multiaddr};

const REDIAL: Duration = Duration::from_secs(1);
/// How often the name of a peer that is not connected is asked for.
const ASK: Duration = Duration::from_secs(3);

#[derive(NetworkBehaviour)]
struct Behaviour {
    messages: request_response::Behaviour<Messages>,
    // Only members get past the handshake, and each only a few connections.
    members: allow_block_list::Behaviour<AllowedPeers>,
    limits: connection_limits::Behaviour,
}

struct Link {
    peer: Peer,
    queue: VecDeque<Arc<Vec<u8>>>,
    in_flight: HashMap<OutboundRequestId, Arc<Vec<u8>>>,
    connections: usize,
    asked: Option<Instant>,
}

/// The task's ends of what it is spoken to by.
pub(super) struct Ends {
    pub(super) outgoing: mpsc::Receiver<(Index, Vec<u8>)>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) count: watch::Sender<usize>,
}

/// Where a name leads; nowhere, if it does not resolve.
type Found = libp2p::futures::future::BoxFuture<'static, (PeerId, Vec<Multiaddr>)>;
type Answer = libp2p::futures::future::BoxFuture<'static, Option<ResponseChannel<()>>>;

pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    links: HashMap<PeerId, Link>,
    by_index: HashMap<Index, PeerId>,
    ends: Ends,
    answers: FuturesUnordered<Answer>,
    names: Option<Arc<Names>>,
    lookups: FuturesUnordered<Found>,
}

impl Task {
    pub(super) fn new(
        key: Keypair,
        listen: Multiaddr,
        peers: Vec<Peer>,
        names: Option<Arc<Names>>,
        ends: Ends,
    ) -> Result<Self, P2pError> {
        let build = |error: &dyn std::fmt::Display| P2pError::Build(error.to_string());
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .map_err(|error| build(&error))?
            .with_behaviour(|_| {
                let limits = ConnectionLimits::default()
                    .with_max_established_per_peer(Some(4))
                    .with_max_pending_incoming(Some(64));
                Behaviour {
                    messages: request_response::Behaviour::new(
                        [(StreamProtocol::new("/torus/messages/1"), ProtocolSupport::Full)],
                        request_response::Config::default()
                            .with_request_timeout(ACK_TIMEOUT)
                            .with_max_concurrent_streams(4 * IN_FLIGHT),
                    ),
                    members: allow_block_list::Behaviour::default(),
                    limits: connection_limits::Behaviour::new(limits),
                }
            })
            .map_err(|error| build(&error))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
            .build();
        swarm.listen_on(listen.clone()).map_err(|error| P2pError::Listen(listen, error.to_string()))?;
        let mut links = HashMap::new();
        let mut by_index = HashMap::new();
        for peer in peers {
            swarm.behaviour_mut().members.allow_peer(peer.id);
            by_index.insert(peer.index, peer.id);
            let (queue, in_flight) = (VecDeque::new(), HashMap::new());
            links.insert(peer.id, Link { peer, queue, in_flight, connections: 0, asked: None });
        }
        let (answers, lookups) = (FuturesUnordered::new(), FuturesUnordered::new());
        Ok(Self { swarm, links, by_index, ends, answers, names, lookups })
    }

    pub(super) async fn run(mut self) {
        let mut redial = tokio::time::interval(REDIAL);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(channel) = self.answers.next(), if !self.answers.is_empty() => {
                    if let Some(channel) = channel {
                        // The peer may have gone; it repeats.
                        let _ = self.swarm.behaviour_mut().messages.send_response(channel, ());
                    }
                }
                Some((id, addresses)) = self.lookups.next(), if !self.lookups.is_empty() => self.dial(id, addresses),
                message = self.ends.outgoing.recv() => match message {
                    Some((to, bytes)) => self.enqueue(to, bytes),
                    None => return,
                },
                _ = redial.tick() => {
                    self.dial_missing();
                    for id in self.links.keys().copied().collect::<Vec<_>>() {
                        self.pump(id);
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, to: Index, bytes: Vec<u8>) {
        let Some(id) = self.by_index.get(&to).copied() else { return };
        if let Some(link) = self.links.get_mut(&id) {
            let held: usize = link.queue.iter().chain(link.in_flight.values()).map(|waiting| waiting.len()).sum();
            if link.queue.len() >= QUEUE || held.saturating_add(bytes.len()) > QUEUE_BYTES {
                tracing::warn!(member = %to, "the queue to a member is full; a message is dropped");
                return;
            }
            link.queue.push_back(Arc::new(bytes));
        }
        self.pump(id);
    }

    fn pump(&mut self, id: PeerId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        while link.connections > 0 && link.in_flight.len() < IN_FLIGHT {
            let Some(bytes) = link.queue.pop_front() else { return };
            let request = self.swarm.behaviour_mut().messages.send_request(&id, bytes.to_vec());
            link.in_flight.insert(request, bytes);
        }
    }

    /// Dials who is not connected; whose place is a name, when that has led somewhere.
    fn dial_missing(&mut self) {
        let now = Instant::now();
        let mut known = Vec::new();
        for link in self.links.values_mut().filter(|link| link.connections == 0) {
            let id = link.peer.id;
            match (link.peer.place.address(), &self.names) {
                (Some(address), _) => known.push((id, vec![multiaddr(address)])),
                (None, Some(names)) if link.asked.is_none_or(|asked| now.duration_since(asked) >= ASK) => {
                    link.asked = Some(now);
                    let (names, place) = (Arc::clone(names), link.peer.place.clone());
                    self.lookups.push(async move { (id, find(&place, &names).await) }.boxed());
                }
                _ => {}
            }
        }
        for (id, addresses) in known {
            self.dial(id, addresses);
        }
    }

    fn dial(&mut self, id: PeerId, addresses: Vec<Multiaddr>) {
        let connected = self.links.get(&id).is_none_or(|link| link.connections > 0);
        if addresses.is_empty() || connected {
            return;
        }
        // A port of its own: sharing the listener's takes a `bind`, which a node that serves may not.
        let options = DialOpts::peer_id(id).addresses(addresses).allocate_new_port().build();
        // Already dialling is fine; unreachable is tried again in a second.
        let _ = self.swarm.dial(options);
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Messages(event)) => self.on_message(event),
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                if let Some(link) = self.links.get_mut(&peer_id) {
                    link.connections += 1;
                }
                self.recount();
                self.pump(peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => {
                if let Some(link) = self.links.get_mut(&peer_id) {
                    link.connections = num_established as usize;
                }
                self.recount();
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening for members"),
            SwarmEvent::ListenerClosed { reason, .. } => tracing::error!(?reason, "the p2p listener has closed"),
            _ => {}
        }
    }

    fn on_message(&mut self, event: Event<Vec<u8>, ()>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some(link) = self.links.get(&peer) else { return };
                let (ack, acked) = oneshot::channel();
                let inbound = Inbound { from: link.peer.index, bytes: request, ack: Ack(ack) };
                // A full channel drops the message unacknowledged: the peer repeats it later.
                if self.ends.inbound.try_send(inbound).is_ok() {
                    self.answers.push(async move { acked.await.ok().map(|()| channel) }.boxed());
                }
            }
            Event::Message { peer, message: Message::Response { request_id, .. }, .. } => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.in_flight.remove(&request_id);
                }
                self.pump(peer);
            }
            Event::OutboundFailure { peer, request_id, .. } => {
                if let Some(link) = self.links.get_mut(&peer)
                    && let Some(bytes) = link.in_flight.remove(&request_id)
                {
                    link.queue.push_front(bytes);
                }
                // Sent again at the next acknowledgement, connection or tick, so that a refusing peer is not hammered.
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn recount(&self) {
        let connected = self.links.values().filter(|link| link.connections > 0).count();
        self.ends.count.send_replace(connected);
    }
}

async fn find(place: &Place, names: &Names) -> Vec<Multiaddr> {
    match place.resolve(names).await {
        Ok(found) => found.into_iter().map(multiaddr).collect(),
        Err(error) => {
            tracing::debug!(%error, "a member is not dialled");
            Vec::new()
        }
    }
}
