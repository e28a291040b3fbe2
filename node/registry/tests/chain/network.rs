//! A network that is founded on the chain, for tests that begin there.

use torus_registry::{Ethereum, Registry, register};

use crate::anvil::Anvil;
use crate::people::{Person, accounts, open};

pub(crate) const SIZES: [u8; 3] = [5, 3, 1];
pub(crate) const COMMITTEE: [u8; 32] = [0xc0; 32];
pub(crate) const CONFIG: [u8; 32] = [0xcf; 32];

/// Seats for these five in the first epoch; their accounts are funded.
pub(crate) async fn seats(chain: &Anvil, people: &[Person]) {
    for person in people {
        chain.fund(person.own.account).await;
    }
    chain.begin(1, 0, SIZES, &accounts(people)).await;
    chain.mine(3).await;
}

/// All of them listed in the open epoch, and their registries.
pub(crate) async fn listed(chain: &Anvil, people: &[Person]) -> Vec<Ethereum> {
    let mut registries = Vec::new();
    for person in people {
        let registry = open(chain, person).await;
        register(&registry, &person.own, person, false).await.unwrap_or_else(|error| panic!("{error}"));
        registries.push(registry);
    }
    registries
}

/// The first epoch of these five is current.
pub(crate) async fn founded(chain: &Anvil, people: &[Person]) -> Vec<Ethereum> {
    seats(chain, people).await;
    let _clock = chain.clock(std::time::Duration::from_millis(40));
    let registries = listed(chain, people).await;
    chain.propose(1, COMMITTEE).await;
    chain.mine(3).await;
    for registry in &registries[..4] {
        registry.signal_ready(1, 1, CONFIG).await.unwrap_or_else(|error| panic!("{error}"));
    }
    registries
}
