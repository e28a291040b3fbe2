//! Tells the engine where members are whose endpoints are names: at its start what is known by then, and later whatever
//! changes. The engine itself is never given a name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::futures::future::join_all;
use torus_consensus::Handle;
use torus_statement::Index;

use crate::names::Names;
use crate::place::Place;

/// How long a start waits for names. A member that is not found by then is sought while the node serves.
const START: Duration = Duration::from_secs(5);
/// How often the engine is told, less or more by a part of it, so that not all nodes ask at once.
const PERIOD: Duration = Duration::from_secs(10);
const SPREAD: u64 = 4_000;

/// Where the other members' engines are.
pub(crate) struct Places {
    names: Option<Arc<Names>>,
    places: Vec<(Index, Place)>,
}

impl Places {
    /// Places of the other members; names are needed if any is one.
    pub(crate) fn new(places: Vec<(Index, Place)>, names: Option<Arc<Names>>) -> Self {
        Self { names, places }
    }

    /// All that is known soon.
    pub(crate) async fn first(&self) -> BTreeMap<Index, Vec<SocketAddr>> {
        let asked = self.places.iter().map(async |(index, place)| {
            let found = tokio::time::timeout(START, self.find(*index, place)).await.unwrap_or_default();
            if found.is_empty() {
                tracing::warn!(member = %index, "the name of its engine's endpoint does not resolve yet; it is asked for again");
            }
            (*index, found)
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Asks again and again, and tells the engine.
    pub(crate) async fn keep(self, engine: Arc<Handle>) {
        let named: Vec<&(Index, Place)> = self.places.iter().filter(|(_, place)| place.address().is_none()).collect();
        if named.is_empty() {
            return;
        }
        loop {
            tokio::time::sleep(pause()).await;
            for (index, place) in &named {
                engine.seek(*index, &self.find(*index, place).await).await;
            }
        }
    }

    async fn find(&self, index: Index, place: &Place) -> Vec<SocketAddr> {
        match (place.address(), &self.names) {
            (Some(address), _) => vec![address],
            (None, Some(names)) => place.resolve(names).await.unwrap_or_else(|error| {
                tracing::debug!(member = %index, %error, "the endpoint of its engine");
                Vec::new()
            }),
            (None, None) => Vec::new(),
        }
    }
}

fn pause() -> Duration {
    let mut chance = [0; 2];
    // Without randomness all pauses are equal, which is no harm.
    let _ = getrandom::getrandom(&mut chance);
    let more = u64::from(u16::from_be_bytes(chance)) % SPREAD;
    PERIOD.saturating_sub(Duration::from_millis(SPREAD / 2)).saturating_add(Duration::from_millis(more))
}
