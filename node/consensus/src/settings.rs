//! What the engine is told at its start: whom it speaks with, by which names, and how long it waits.

use std::time::Duration;

use libp2p::identity::{PublicKey, ed25519};
use libp2p::{Multiaddr, PeerId};
use malachitebft_app::config::NodeConfig;
use malachitebft_config as config;
use malachitebft_core_types::LinearTimeouts;
use torus_statement::config::TimeConstants;
use torus_statement::{EpochConfig, Index};

/// How long the engine waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For a proposal, in round 0; each round adds half of it.
    pub propose: Duration,
    /// For the rest of the votes once a quorum voted differently; each round adds half of it.
    pub vote: Duration,
    /// A block at least this often.
    pub heartbeat: Duration,
}

/// The engine's config.
pub(super) struct EngineConfig {
    pub(super) moniker: String,
    consensus: config::ConsensusConfig,
    sync: config::ValueSyncConfig,
}

impl EngineConfig {
    pub(super) fn new(config: &EpochConfig, index: Index, listen: Multiaddr, peers: Vec<Multiaddr>) -> Self {
        let chain: String = config.committee().chain.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let named = |what: &str| format!("/torus/{chain}/{what}/v1");
        let p2p = config::P2pConfig {
            listen_addr: listen,
            persistent_peers: peers,
            persistent_peers_only: true,
            discovery: config::DiscoveryConfig {
                enabled: false,
                // Members may share a host, as on a developer's machine.
                max_connections_per_ip: 64,
                ..Default::default()
            },
            protocol_names: config::ProtocolNames {
                consensus: named("consensus"),
                discovery_kad: named("discovery-kad"),
                discovery_regres: named("discovery"),
                sync: named("sync"),
                validator_proof: named("validator-proof"),
            },
            channel_names: config::ChannelNames {
                consensus: named("topic/consensus"),
                proposal_parts: named("topic/parts"),
                sync: named("topic/sync"),
                liveness: named("topic/liveness"),
            },
            ..Default::default()
        };
        Self {
            moniker: format!("member-{index}"),
            consensus: config::ConsensusConfig {
                enabled: true,
                p2p,
                value_payload: config::ValuePayload::ProposalAndParts,
                ..Default::default()
            },
            sync: config::ValueSyncConfig { status_update_interval: Duration::from_secs(2), ..Default::default() },
        }
    }
}

impl NodeConfig for EngineConfig {
    fn moniker(&self) -> &str {
        &self.moniker
    }

    fn consensus(&self) -> &config::ConsensusConfig {
        &self.consensus
    }

    fn consensus_mut(&mut self) -> &mut config::ConsensusConfig {
        &mut self.consensus
    }

    fn value_sync(&self) -> &config::ValueSyncConfig {
        &self.sync
    }

    fn value_sync_mut(&mut self) -> &mut config::ValueSyncConfig {
        &mut self.sync
    }
}

impl Timing {
    /// The defaults, with the heartbeat that the network agreed on.
    pub fn of(times: &TimeConstants) -> Self {
        Self {
            propose: Duration::from_secs(1),
            vote: Duration::from_millis(500),
            heartbeat: Duration::from_millis(times.heartbeat.into()),
        }
    }
}

/// The engine's timeouts.
pub(super) fn timeouts(timing: &Timing) -> LinearTimeouts {
    let half = |duration: Duration| duration.checked_div(2).unwrap_or(duration);
    LinearTimeouts {
        propose: timing.propose,
        propose_delta: half(timing.propose),
        prevote: timing.vote,
        prevote_delta: half(timing.vote),
        precommit: timing.vote,
        precommit_delta: half(timing.vote),
        rebroadcast: timing.propose.saturating_add(timing.vote).saturating_add(timing.vote),
        max_timeout: Duration::from_secs(30),
    }
}

/// The peer id of an Ed25519 key.
pub(super) fn peer_id(key: &[u8; 32]) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(key).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}
