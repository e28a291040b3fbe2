//! What this node says to others beside votes, and how much it listens to. Nothing here waits.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use malachitebft_app::engine::network::{Msg, NetworkRef};
use malachitebft_app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app::types::PeerId;
use malachitebft_codec::Codec;
use malachitebft_core_consensus::LivenessMsg;
use malachitebft_core_types::{PolkaCertificate, Round, SignedMessage, SignedProposal, SignedVote};
use malachitebft_network::{Channel, Event};
use torus_statement::SignedVote as PlainVote;
use tracing::warn;

use super::codec::EngineCodec;
use super::context::{BlockId, EngineVote, Height, Sig, Torus};
use super::part::{MAX_TRANSACTIONS, MAX_TRANSACTIONS_BYTES, Part};

/// Most bytes of transactions that a peer may hand over in a second.
const PEER_BYTES: usize = 4 << 20;
/// Most peers that are counted; there are at most 29 others.
const PEERS: usize = 64;

/// The engine's network, and this node's place in it.
pub(super) struct Gossip {
    network: NetworkRef<Torus>,
    me: PeerId,
    stream: u64,
}

/// A bound on what each peer may hand over.
#[derive(Default)]
pub(super) struct Gate(HashMap<PeerId, (Option<Instant>, usize)>);

impl Gossip {
    pub(super) fn new(network: NetworkRef<Torus>, me: PeerId) -> Self {
        Self { network, me, stream: 0 }
    }

    /// A block behind its signed proposal.
    pub(super) fn block(&mut self, proposal: SignedProposal<Torus>, block: Bytes) {
        self.part(Part::Block { proposal, block });
    }

    /// Transactions, in as many messages as their bounds ask for.
    pub(super) fn transactions(&mut self, transactions: Vec<Bytes>) {
        let mut batch = Vec::new();
        let mut size = 0usize;
        for transaction in transactions {
            // Four bytes of length each, and the list's own.
            let bytes = transaction.len().saturating_add(4);
            if batch.len() == MAX_TRANSACTIONS || size.saturating_add(bytes) > MAX_TRANSACTIONS_BYTES.saturating_sub(8)
            {
                self.part(Part::Transactions(std::mem::take(&mut batch)));
                size = 0;
            }
            size = size.saturating_add(bytes);
            batch.push(transaction);
        }
        if !batch.is_empty() {
            self.part(Part::Transactions(batch));
        }
    }

    /// The height that this node works at.
    pub(super) fn at(&mut self, height: u64) {
        self.part(Part::At(height));
    }

    /// Votes and a polka to the other members.
    pub(super) fn votes(&self, votes: &[PlainVote], polka: &[PlainVote]) {
        for message in liveness(votes, polka) {
            self.send(Msg::PublishLivenessMsg(message));
        }
    }

    /// Votes and a polka to this node's own engine, as if a peer had sent them.
    pub(super) fn feed(&self, votes: &[PlainVote], polka: &[PlainVote]) {
        for message in liveness(votes, polka) {
            if let Ok(bytes) = EngineCodec.encode(&message) {
                self.send(Msg::NewEvent(Event::LivenessMessage(Channel::Liveness, self.me, bytes)));
            }
        }
    }

    fn part(&mut self, part: Part) {
        self.stream = self.stream.wrapping_add(1);
        let id = StreamId::new(Bytes::copy_from_slice(&self.stream.to_be_bytes()));
        self.send(Msg::PublishProposalPart(StreamMessage::new(id, 0, StreamContent::Data(part))));
    }

    fn send(&self, message: Msg<Torus>) {
        // Fails only while the engine stops; its loop learns that by itself.
        if self.network.cast(message).is_err() {
            warn!("the engine's network is gone");
        }
    }
}

impl Gate {
    /// Whether a peer may hand over so many bytes now.
    pub(super) fn admits(&mut self, peer: PeerId, bytes: usize, now: Instant) -> bool {
        if !self.0.contains_key(&peer) && self.0.len() >= PEERS {
            self.0.clear();
        }
        let (since, used) = self.0.entry(peer).or_default();
        if since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            *since = Some(now);
            *used = 0;
        }
        *used = used.saturating_add(bytes);
        *used <= PEER_BYTES
    }
}

fn liveness(votes: &[PlainVote], polka: &[PlainVote]) -> Vec<LivenessMsg<Torus>> {
    let signed = |vote: &PlainVote| -> SignedVote<Torus> {
        SignedMessage::new(EngineVote::new(&vote.vote, vote.voter), Sig(vote.signature.to_bytes()))
    };
    let mut messages: Vec<_> = votes.iter().map(|vote| LivenessMsg::Vote(signed(vote))).collect();
    if let Some((vote, block)) = polka.first().and_then(|first| Some((first.vote, first.vote.block?))) {
        messages.push(LivenessMsg::PolkaCertificate(PolkaCertificate::new(
            Height(vote.height),
            Round::new(vote.round),
            BlockId(block),
            polka.iter().map(signed).collect(),
        )));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_floods_is_cut_off_until_the_next_second_and_others_are_not() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let peer = |id: libp2p::PeerId| PeerId::from_bytes(&id.to_bytes()).unwrap();
        let (flooder, other) = (peer(libp2p::PeerId::random()), peer(libp2p::PeerId::random()));
        assert!(gate.admits(flooder, PEER_BYTES, now));
        assert!(!gate.admits(flooder, 1, now));
        assert!(gate.admits(other, 1, now));
        assert!(gate.admits(flooder, 1, now + Duration::from_secs(1)));
    }
}
