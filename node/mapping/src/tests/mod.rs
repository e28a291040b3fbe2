mod attacks;
mod audit;
mod invariants;
#[allow(dead_code)] // Other crates' tests include it too.
mod net;
mod proofs;
mod weaknesses;

use torus_statement::config::Buffer;
use torus_statement::state::Supply;
use torus_statement::{Body, Transaction};

use crate::{At, Execution, MemoryState, Outcome, Reject, View, execute, genesis, genesis_root};
use net::{Net, START, attempt};

/// A chain of one replica: blocks go in, the state moves.
struct Chain {
    net: Net,
    state: MemoryState,
    height: u64,
    time: u64,
    sequence: u64,
}

const BUFFER: Buffer = Buffer { batch: 4, low_water: 8 };

impl Chain {
    fn new(buffer: Buffer) -> Self {
        Self::of(5, 3, 1, buffer)
    }

    fn of(n: u8, k: u8, t: u8, buffer: Buffer) -> Self {
        let net = Net::new(n, k, t, buffer, |verifiers| genesis_root(verifiers).unwrap());
        let mut state = MemoryState::default();
        state.apply(0, &genesis(&net.verifiers).unwrap());
        Self { net, state, height: 0, time: START, sequence: 0 }
    }

    /// A chain whose first two batches are published.
    fn filled(buffer: Buffer) -> Self {
        let mut chain = Self::new(buffer);
        chain.block(&[]);
        for batch in 0..2 {
            assert_eq!(chain.one(1, chain.net.proposal(attempt(batch, 0))), Ok(()));
            assert_eq!(chain.one(1, chain.net.publication(attempt(batch, 0), &[1, 2, 3, 4])), Ok(()));
        }
        chain
    }

    fn next(&self) -> At {
        At { height: self.height + 1, time: self.time + 1000 }
    }

    fn block(&mut self, transactions: &[Transaction]) -> Outcome {
        let at = self.next();
        let outcome = execute(&self.state, &self.net.config, at, transactions).unwrap();
        self.state.apply(at.height, &outcome);
        (self.height, self.time) = (at.height, at.time);
        outcome
    }

    fn signed(&mut self, sender: u8, body: Body) -> Transaction {
        self.sequence += 1;
        self.net.transaction(sender, self.sequence, body)
    }

    /// A block of one transaction: its result.
    fn one(&mut self, sender: u8, body: Body) -> Result<(), Reject> {
        let transaction = self.signed(sender, body);
        let mut execution = Execution::new(&self.state, &self.net.config, self.next());
        let result = execution.apply(&transaction).unwrap();
        if result.is_ok() {
            self.block(&[transaction]);
        }
        result
    }

    fn view(&self) -> View<'_, MemoryState> {
        View::new(&self.state, self.height)
    }

    fn supply(&self) -> Supply {
        self.view().supply().unwrap()
    }
}
