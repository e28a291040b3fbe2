//! An assignment, from the call to the certified block. It listens before it speaks: the block may be there before the
//! call that asked for it returns.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use torus_consensus::{Handle, Refused, Tip};
use torus_mapping::Reject;
use torus_statement::state::key;
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Body, Wire};

use crate::api::{AssignError, Found};
use crate::chain::{Fate, NodeChain};

/// The engine, as far as an assignment needs it.
pub(crate) trait Log: Sync {
    /// The newest committed block, and each one after it.
    fn tips(&self) -> watch::Receiver<Tip>;

    /// Takes a transaction into the mempool and sends it to the other members.
    fn submit(&self, transaction: Vec<u8>) -> Result<bool, Refused>;
}

impl Log for Handle {
    fn tips(&self) -> watch::Receiver<Tip> {
        self.tips()
    }

    fn submit(&self, transaction: Vec<u8>) -> Result<bool, Refused> {
        self.submit(transaction)
    }
}

/// The user's key, assigned first if he has none; `found` looks it up in the newest certified state. Returns as soon as
/// the log has decided, and with `Timeout` if it has not within `limit`.
pub(crate) async fn assign(
    chain: &NodeChain,
    log: &impl Log,
    (verifier, id): (&VerifierName, &VerifierId),
    found: impl Fn() -> Option<Found> + Send,
    limit: Duration,
) -> Result<Found, AssignError> {
    let deadline = Instant::now() + limit;
    // Before anything is looked up or submitted: no block is missed.
    let mut tips = log.tips();
    tips.mark_unchanged();
    if let Some(found) = found() {
        return Ok(found);
    }
    let transaction = chain.sign(Body::Assign { verifier: verifier.clone(), user: key::user(id) });
    let hash = transaction.hash();
    match chain.would_execute(&transaction) {
        Ok(Ok(())) => {}
        // Assigned in the meantime, or a sequence that was overtaken: the state or the next block tells.
        Ok(Err(Reject::Assigned)) => {}
        Ok(Err(reject)) => return Err(refusal(reject)),
        Err(error) => {
            tracing::error!(%error, "an assignment cannot be checked");
            return Err(AssignError::NotReady);
        }
    }
    if let Err(refused) = log.submit(transaction.to_bytes()) {
        tracing::debug!(%refused, "an assignment was not taken");
        return found().ok_or(AssignError::NotReady);
    }
    loop {
        match timeout_at(deadline, tips.changed()).await {
            Err(_) => return found().ok_or(AssignError::Timeout),
            Ok(Err(_)) => return Err(AssignError::NotReady),
            Ok(Ok(())) => {}
        }
        if let Some(found) = found() {
            return Ok(found);
        }
        if let Some(Fate::Rejected(reject)) = chain.fate(&hash)
            && reject != Reject::Assigned
        {
            return Err(refusal(reject));
        }
    }
}

const fn refusal(reject: Reject) -> AssignError {
    match reject {
        Reject::NoKeys => AssignError::NoKeys,
        Reject::MemberAllowance | Reject::VerifierAllowance => AssignError::RateLimited,
        _ => AssignError::NotReady,
    }
}

#[cfg(test)]
mod tests {
    use torus_consensus::Chain;

    use super::*;
    use crate::chain::tests::World;
    use crate::testnet::{assign as assigning, name};

    /// Far longer than anything here takes: who waits for a block that has come already waits so long.
    const LIMIT: Duration = Duration::from_secs(20);

    /// A log whose block is committed and announced before `submit` returns, as a fast engine's may be.
    struct Instantly<'a> {
        world: &'a World,
        chain: &'a NodeChain,
        /// Other users, whose assignments by another member come first.
        before: Vec<&'a str>,
        other: &'a NodeChain,
        tips: watch::Sender<Tip>,
    }

    impl<'a> Instantly<'a> {
        fn new(world: &'a World, chain: &'a NodeChain, other: &'a NodeChain, before: Vec<&'a str>) -> Self {
            Self { world, chain, before, other, tips: watch::Sender::new(chain.tip()) }
        }
    }

    impl Log for Instantly<'_> {
        fn tips(&self) -> watch::Receiver<Tip> {
            self.tips.subscribe()
        }

        fn submit(&self, transaction: Vec<u8>) -> Result<bool, Refused> {
            let taken = self.chain.submit(&transaction)?;
            for user in &self.before {
                self.world.submit(self.other, assigning("google", user));
            }
            let proposer = if self.before.is_empty() { self.chain } else { self.other };
            let others = if self.before.is_empty() { self.other } else { self.chain };
            self.world.step(proposer, &[others]);
            self.tips.send_replace(self.chain.tip());
            Ok(taken)
        }
    }

    async fn asked(log: &Instantly<'_>, id: &str) -> (Result<Found, AssignError>, Duration) {
        let (verifier, id) = (name("google"), VerifierId::new(id).unwrap());
        let found = || {
            let snapshot = log.chain.store().snapshot().unwrap();
            let found = snapshot.lookup(&verifier, &id).unwrap();
            found.map(|(assignment, index, key)| Found { assignment, index, key })
        };
        let started = Instant::now();
        let answer = assign(log.chain, log, (&verifier, &id), found, LIMIT).await;
        (answer, started.elapsed())
    }

    #[tokio::test]
    async fn an_assignment_that_is_certified_before_its_caller_waits_is_not_missed() {
        let world = World::new();
        let (chain, other) = (world.chain(1), world.chain(2));
        world.fill(&chain, &[&other]);
        let (answer, took) = asked(&Instantly::new(&world, &chain, &other, Vec::new()), "alice").await;
        let first = answer.unwrap();
        assert!(took < LIMIT / 4, "{took:?}");
        // The same user by another member at the same moment: the one key, and no wait either.
        let log = Instantly::new(&world, &chain, &other, vec!["bob"]);
        let (answer, took) = asked(&log, "bob").await;
        assert!(took < LIMIT / 4 && answer.unwrap().index != first.index, "{took:?}");
    }

    #[tokio::test]
    async fn a_refusal_that_is_certified_before_its_caller_waits_is_told_at_once() {
        let world = World::new();
        let (chain, other) = (world.chain(1), world.chain(2));
        world.fill(&chain, &[&other]);
        // Eight keys are free; others take all of them in the very block.
        let others = vec!["a", "b", "c", "d", "e", "f", "g", "h"];
        let (answer, took) = asked(&Instantly::new(&world, &chain, &other, others), "alice").await;
        assert_eq!(answer, Err(AssignError::NoKeys));
        assert!(took < LIMIT / 4, "{took:?}");
    }
}
