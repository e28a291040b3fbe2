//! What changes while the loop runs.

use std::time::Instant;

use malachitebft_app::engine::host::Next;
use malachitebft_app_channel::Reply;
use malachitebft_core_types::HeightParams;
use torus_statement::Hash;

use crate::context::{Height, Torus};
use crate::gossip::Gate;

/// What changes while it runs.
pub(crate) struct State {
    pub(super) ready: Option<Ready>,
    pub(super) rest: Option<Rest>,
    pub(super) gate: Gate,
    /// The height that the engine works at, since when, and when its votes were last sent again.
    pub(super) working: u64,
    pub(super) started: Instant,
    pub(super) resent: Instant,
    /// The highest height that somebody claims to work at.
    pub(super) claimed: u64,
    /// The rightful proposer of the height above the tip has spoken.
    pub(super) proposed: bool,
    /// The newest block that came from a peer's store, and whether it is the newest of all.
    pub(super) fetched: Option<Hash>,
    pub(super) synced: bool,
    /// The newest block was empty.
    pub(super) empty: bool,
    pub(super) announced: Instant,
    pub(super) counted: Instant,
}

impl State {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            ready: None,
            rest: None,
            gate: Gate::default(),
            working: 0,
            started: now,
            resent: now,
            claimed: 0,
            proposed: false,
            fetched: None,
            synced: false,
            empty: false,
            announced: now,
            counted: now,
        }
    }
}

/// The engine's first height, which waits for peers.
pub(super) struct Ready {
    pub(super) reply: Reply<(Height, HeightParams<Torus>)>,
    pub(super) since: Instant,
}

/// The height that waits for a reason to begin.
pub(super) struct Rest {
    pub(super) reply: Reply<Next<Torus>>,
    pub(super) since: Instant,
}
