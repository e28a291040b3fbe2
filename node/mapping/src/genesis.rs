//! The state of height 0: the verifiers and an empty buffer.

use torus_statement::state::{Supply, key};
use torus_statement::{Hash, Verifier};

use crate::error::Failed;
use crate::execute::Outcome;
use crate::memory::MemoryState;
use crate::state::View;

/// The leaves and tree of height 0.
pub fn genesis(verifiers: &[Verifier]) -> Result<Outcome, Failed> {
    let empty = MemoryState::default();
    let mut view = View::new(&empty, 0);
    view.put(key::supply(), &Supply::default());
    for verifier in verifiers {
        view.put(key::verifier(&verifier.name), verifier);
    }
    Outcome::of(view, 0, Vec::new())
}

/// The state root that a committee's config carries for these verifiers.
pub fn genesis_root(verifiers: &[Verifier]) -> Result<Hash, Failed> {
    Ok(genesis(verifiers)?.root)
}
