//! Vault-to-vault envelopes and nodes' statements over libp2p, between the pinned members of the config only.
//!
//! Every message is one request to one peer, repeated until the peer's node says that its vault has taken it. The
//! transport authenticates nodes; what is inside is sealed and signed by vaults, so a peer can only delay.

#[cfg(test)]
mod again;
mod codec;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod swarm;

use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot, watch};
use torus_statement::Index;

use crate::names::Names;
use crate::place::Place;

/// Most bytes of a message.
pub const MAX_MESSAGE: usize = torus_statement::envelope::MAX_ENVELOPE + (64 << 10);
/// Most messages that wait for one peer; a new one beyond is refused, and key generation repeats it later.
const QUEUE: usize = 4096;
/// Most bytes that wait for one peer: a few batches of the largest committee.
const QUEUE_BYTES: usize = 32 << 20;
/// Messages to one peer that may be unacknowledged at a time.
const IN_FLIGHT: usize = 16;
/// How long a peer may take to acknowledge before the message is sent again.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A member to talk to.
#[derive(Clone, Debug)]
pub struct Peer {
    /// His index.
    pub index: Index,
    /// Pinned by the key certificate.
    pub id: PeerId,
    /// Where he listens.
    pub place: Place,
}

/// A message from a pinned member.
#[derive(Debug)]
pub struct Inbound {
    /// Who sent it.
    pub from: Index,
    /// The message.
    pub bytes: Vec<u8>,
    /// To be acknowledged once the vault has taken it (or will never take it); dropping it makes the sender repeat.
    pub ack: Ack,
}

/// Acknowledges one message.
#[derive(Debug)]
pub struct Ack(oneshot::Sender<()>);

/// Sends messages to members.
#[derive(Clone)]
pub struct P2p {
    out: mpsc::Sender<(Index, Vec<u8>)>,
    connected: watch::Receiver<usize>,
}

/// Why the transport cannot start.
#[derive(Debug, thiserror::Error)]
pub enum P2pError {
    /// The listen address cannot be used.
    #[error("cannot listen on {0} for other members ({1}); is the port free, the address this machine's?")]
    Listen(Multiaddr, String),
    /// The transport cannot be built.
    #[error("the p2p transport cannot be built: {0}")]
    Build(String),
}

/// Listens, connects to all peers, and keeps connecting. Inbound messages go to the returned receiver. Peers whose places
/// are names are looked for among these.
pub fn start(
    key: Keypair,
    listen: Multiaddr,
    peers: Vec<Peer>,
    names: Option<Arc<Names>>,
) -> Result<(P2p, mpsc::Receiver<Inbound>), P2pError> {
    let (out, outgoing) = mpsc::channel(QUEUE);
    let (inbound, incoming) = mpsc::channel(64);
    let (count, connected) = watch::channel(0);
    let task = swarm::Task::new(key, listen, peers, names, swarm::Ends { outgoing, inbound, count })?;
    tokio::spawn(task.run());
    Ok((P2p { out, connected }, incoming))
}

/// The peer id of a member's certified p2p key.
pub fn peer_id(p2p_key: &[u8; 32]) -> Option<PeerId> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(p2p_key).ok()?;
    Some(PeerId::from_public_key(&key.into()))
}

impl Ack {
    /// Tells the sender that he need not repeat.
    pub fn accept(self) {
        // The sender may be gone; then he repeats, which is harmless.
        let _ = self.0.send(());
    }
}

impl P2p {
    /// Queues a message; waits while the transport is busy.
    pub async fn send(&self, to: Index, bytes: Vec<u8>) {
        if self.out.send((to, bytes)).await.is_err() {
            tracing::error!("the p2p task has ended");
        }
    }

    /// How many members are connected.
    pub fn connected(&self) -> usize {
        *self.connected.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::multiaddr;

    fn at(peer: &Peer) -> Multiaddr {
        multiaddr(peer.place.address().unwrap())
    }

    fn member(index: u8, port: u16) -> (Keypair, Peer) {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let place = Place::parse(&format!("/ip4/127.0.0.1/tcp/{port}")).unwrap();
        (key, Peer { index: Index::new(index).unwrap(), id, place })
    }

    async fn next(incoming: &mut mpsc::Receiver<Inbound>) -> Option<Inbound> {
        tokio::time::timeout(Duration::from_secs(10), incoming.recv()).await.ok().flatten()
    }

    #[tokio::test]
    async fn members_reach_each_other_repeat_what_is_not_taken_and_meet_no_stranger() {
        let ((key1, one), (key2, two)) = (member(1, 21_871), member(2, 21_872));
        let (first, _from_two) = start(key1, at(&one), vec![two.clone()], None).unwrap();

        // Queued before the peer exists; delivered when it does.
        first.send(two.index, vec![1; 1 << 20]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (_second, mut from_one) = start(key2, at(&two), vec![one.clone()], None).unwrap();
        let message = next(&mut from_one).await.unwrap();
        assert_eq!((message.from, message.bytes.len()), (one.index, 1 << 20));

        // Not taken: it comes again.
        drop(message.ack);
        let again = next(&mut from_one).await.unwrap();
        assert_eq!(again.bytes.len(), 1 << 20);
        again.ack.accept();
        assert_eq!(first.connected(), 1);

        // A stranger who knows the address gets nothing through, whoever's index he takes.
        let (key3, three) = member(3, 21_873);
        let (stranger, _) = start(key3, at(&three), vec![two.clone()], None).unwrap();
        stranger.send(two.index, vec![3]).await;
        let nothing = tokio::time::timeout(Duration::from_secs(2), from_one.recv()).await;
        assert!(nothing.is_err(), "a stranger's message arrived");
    }
}
