//! Transactions of this member's account, one at a time and none twice.
//!
//! What is signed is in the journal before it leaves, and is taken up again after a restart. It counts as done when its
//! receipt is in a final block. Until then the same bytes are sent again if a reorganisation drops them, and replaced at the
//! same nonce if they are stuck, within the fee that the operator allows.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use torus_statement::Hash;

use crate::account::{Account, Order};
use crate::address::Address;
use crate::contract;
use crate::fees::{Estimate, Fees};
use crate::journal::Journal;
use crate::quorum::{Fault, Quorum, QuorumError, Returned, Said, pinned, plain, returned, transaction};
use crate::registry::Block;
use crate::rpc::{RpcError, hash_in, short_in};
use crate::underway::{Attempt, Underway};

/// No call of the contract needs more gas.
const MAX_GAS: u64 = 3_000_000;
/// How often one transaction is replaced at most.
const MAX_ATTEMPTS: usize = 24;
/// So many failures to look at the chain, one after another, and waiting is given up.
const MAX_FAILURES: u32 = 20;

/// What the operator allows, and how a transaction is looked after.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The most that a unit of gas may cost, tip included, in wei.
    pub max_fee: u64,
    /// How often the chain is looked at.
    pub poll: Duration,
    /// A transaction that no block takes for so long is replaced by one with higher fees.
    pub stuck: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_fee: 100_000_000_000, poll: Duration::from_secs(12), stuck: Duration::from_secs(90) }
    }
}

/// A transaction that did what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its hash.
    pub transaction: Hash,
    /// The block that has it, which is final.
    pub block: u64,
}

/// Why a transaction did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The endpoints give no common answer. What is under way stays so.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The contract would refuse it; nothing was sent.
    #[error("the contract refuses this: {0}")]
    Refused(String),
    /// The contract refused it; it was paid for.
    #[error("the contract refused transaction 0x{}: {reason}", hex::encode(.transaction))]
    Reverted {
        /// The transaction.
        transaction: Hash,
        /// The contract's words.
        reason: String,
    },
    /// It would cost too much; nothing was sent.
    #[error("gas costs {base} wei now, and the operator allows {cap}: wait, or raise the cap")]
    TooDear {
        /// The base fee.
        base: u64,
        /// The operator's cap.
        cap: u64,
    },
    /// It would need too much gas; nothing was sent.
    #[error("the endpoints say that this needs {0} gas, which no call of the contract does")]
    TooMuchGas(u64),
    /// No quorum of endpoints takes it. It stays under way: it is sent again when the next word is said.
    #[error("the endpoints do not take the transaction; give the account {account} what it lacks: {}", said(.refusals))]
    NotTaken {
        /// The account.
        account: Address,
        /// Who said what.
        refusals: Vec<Fault>,
    },
    /// Something else was sent with its nonce.
    #[error("another transaction of {0} was made with the same nonce {1}: nothing else may use the node's account")]
    NonceTaken(Address, u64),
    /// The journal does not work.
    #[error("the journal of transactions does not work: {0}; nothing is sent without it")]
    Journal(std::io::Error),
    /// The journal is of something else.
    #[error(
        "the journal holds {0}: give the node the journal of its account and chain, or remove it if nothing is pending"
    )]
    Foreign(String),
    /// The key signs nothing.
    #[error("the account's key did not sign")]
    Unsigned,
}

fn said(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{} {}", fault.endpoint, fault.what)).collect::<Vec<_>>().join("; ")
}

/// Sends for one account.
pub(crate) struct Sender {
    quorum: Arc<Quorum>,
    chain: u64,
    account: Account,
    journal: Box<dyn Journal>,
    policy: Policy,
    alone: Mutex<()>,
}

impl Sender {
    /// A sender on a chain. Nothing is sent yet.
    pub(crate) fn new(
        quorum: Arc<Quorum>,
        chain: u64,
        account: Account,
        journal: Box<dyn Journal>,
        policy: Policy,
    ) -> Self {
        Self { quorum, chain, account, journal, policy, alone: Mutex::new(()) }
    }

    /// Whose transactions these are.
    pub(crate) const fn account(&self) -> Address {
        self.account.address()
    }

    /// Sends a call and returns when it is final. What an earlier process left under way is finished first; if it is this
    /// very call, it is not sent again. Dropped while it waits, it is taken up by the next call.
    pub(crate) async fn send(&self, to: Address, data: &[u8]) -> Result<Receipt, SendError> {
        let _alone = self.alone.lock().await;
        if let Some(earlier) = self.load()? {
            let same = earlier.is(to, data);
            match self.settle(earlier).await {
                outcome if same => return outcome,
                // It has ended, one way or the other.
                Ok(_) | Err(SendError::Reverted { .. } | SendError::NonceTaken(..)) => {}
                Err(error) => return Err(error),
            }
        }
        let underway = self.sign_first(to, data).await?;
        self.settle(underway).await
    }

    /// Finishes what an earlier process left under way; `None` if there is nothing.
    pub(crate) async fn resume(&self) -> Result<Option<Receipt>, SendError> {
        let _alone = self.alone.lock().await;
        match self.load()? {
            Some(earlier) => self.settle(earlier).await.map(Some),
            None => Ok(None),
        }
    }

    /// Signs a new transaction and keeps it.
    async fn sign_first(&self, to: Address, data: &[u8]) -> Result<Underway, SendError> {
        let gas = self.gas(to, data).await?;
        let now = Estimate::ask(&self.quorum).await?;
        let cap = self.policy.max_fee;
        if now.base > cap {
            return Err(SendError::TooDear { base: now.base, cap });
        }
        // Nothing of this account is under way, so no transaction may wait before this one.
        let nonce = self.count("latest").await?;
        let (chain, account) = (self.chain, self.account());
        let mut underway = Underway { chain, account, to, data: data.to_vec(), nonce, gas, attempts: Vec::new() };
        self.sign(&mut underway, now.fees.within(cap))?;
        Ok(underway)
    }

    /// Adds a version of the transaction, durably.
    fn sign(&self, underway: &mut Underway, fees: Fees) -> Result<(), SendError> {
        let Underway { chain, to, data, nonce, gas, .. } = &*underway;
        let order = Order { chain: *chain, nonce: *nonce, to: *to, data, gas: *gas, fees };
        let signed = self.account.sign(&order).ok_or(SendError::Unsigned)?;
        let (nonce, hash) = (underway.nonce, hex::encode(signed.hash));
        underway.attempts.push(Attempt { fees, signed });
        let record = underway.write().map_err(|error| SendError::Journal(error.into()))?;
        self.journal.keep(&record).map_err(SendError::Journal)?;
        tracing::info!(transaction = hash, nonce, fee = fees.most, "a transaction is signed");
        Ok(())
    }

    /// Looks after a transaction until it is final.
    async fn settle(&self, mut underway: Underway) -> Result<Receipt, SendError> {
        let (mut failures, mut taken) = (0, false);
        // Since when nothing has moved.
        let mut still = Instant::now();
        loop {
            match self.look(&underway).await {
                Ok(Look::Final(outcome)) => {
                    self.journal.clear().map_err(SendError::Journal)?;
                    return outcome;
                }
                Ok(Look::InABlock) => {
                    (failures, taken, still) = (0, true, Instant::now());
                }
                Ok(Look::Waiting) => {
                    failures = 0;
                    if still.elapsed() >= self.policy.stuck {
                        still = Instant::now();
                        self.replace(&mut underway).await?;
                    }
                    self.broadcast(&underway, taken).await?;
                    taken = true;
                }
                Err(error) => {
                    failures += 1;
                    if failures > MAX_FAILURES {
                        return Err(error.into());
                    }
                    tracing::debug!(%error, "the chain cannot be looked at now");
                }
            }
            sleep(self.policy.poll).await;
        }
    }

    /// How far a transaction is.
    async fn look(&self, underway: &Underway) -> Result<Look, QuorumError> {
        let last = self.quorum.pin().await?;
        let params = json!([self.account().to_string(), pinned(&last)]);
        let read = |answer| short_in(&plain(answer)?);
        let count = self.quorum.agree("the account's nonce", "eth_getTransactionCount", params, read).await?;
        if count > underway.nonce {
            return self.outcome(underway, &last).await;
        }
        Ok(if self.count("latest").await? > underway.nonce { Look::InABlock } else { Look::Waiting })
    }

    /// How a transaction ended whose nonce is used in a final block.
    async fn outcome(&self, underway: &Underway, last: &Block) -> Result<Look, QuorumError> {
        for hash in underway.hashes() {
            let params = json!([format!("0x{}", hex::encode(hash))]);
            let read = |answer| receipt(&plain(answer)?, &hash);
            let Some(found) = self.quorum.agree("the receipt", "eth_getTransactionReceipt", params, read).await? else {
                continue;
            };
            if found.number > last.number {
                // They show a receipt of a fork that is gone.
                return Ok(Look::InABlock);
            }
            if found.worked {
                return Ok(Look::Final(Ok(Receipt { transaction: hash, block: found.number })));
            }
            let reason = self.reason(underway, found).await;
            return Ok(Look::Final(Err(SendError::Reverted { transaction: hash, reason })));
        }
        Ok(Look::Final(Err(SendError::NonceTaken(self.account(), underway.nonce))))
    }

    /// Why a transaction was refused: asked again in the state that its block left.
    async fn reason(&self, underway: &Underway, found: Found) -> String {
        let at = Block { number: found.number, hash: found.block, time: 0 };
        let Underway { to, data, .. } = underway;
        match self.quorum.call_as(Some(self.account()), &at, *to, data, "the refused call").await {
            Ok(Returned::Reverted(data)) => contract::reason(&data),
            _ => "the reason is not to be found out any more; its gas may have run out".to_owned(),
        }
    }

    /// Sends the newest version to all endpoints. An error if a quorum refuses it and does not know it either.
    async fn broadcast(&self, underway: &Underway, taken: bool) -> Result<(), SendError> {
        let Some(Attempt { signed, .. }) = underway.attempts.last() else { return Ok(()) };
        let params = json!([format!("0x{}", hex::encode(&signed.raw))]);
        let own = |value: Value| if hash_in(&value)? == signed.hash { Ok(()) } else { Err("another hash".to_owned()) };
        let one = |said: &[Option<Said<()>>]| said.iter().flatten().any(|said| said.value.is_ok());
        let refused = |said: &[Option<Said<()>>]| {
            said.iter().flatten().filter(|said| said.value.is_err()).count() >= self.quorum.needed()
        };
        let sent = self.quorum.gather("eth_sendRawTransaction", params, |answer| own(plain(answer)?), one).await;
        if taken || !refused(&sent) {
            return Ok(());
        }
        // Who has it already refuses it as well.
        let params = json!([format!("0x{}", hex::encode(signed.hash))]);
        let known = |value: Value| if value.is_object() { Ok(()) } else { Err("unknown".to_owned()) };
        let asked = self.quorum.gather("eth_getTransactionByHash", params, |answer| known(plain(answer)?), one).await;
        if !refused(&asked) {
            return Ok(());
        }
        let refusals = self.quorum.disagreement("the transaction", &sent).said;
        Err(SendError::NotTaken { account: self.account(), refusals })
    }

    /// Signs a version with higher fees, if the operator's cap lets one be.
    async fn replace(&self, underway: &mut Underway) -> Result<(), SendError> {
        let Ok(now) = Estimate::ask(&self.quorum).await else { return Ok(()) };
        let old = underway.attempts.last().map(|attempt| attempt.fees);
        let cap = self.policy.max_fee;
        let fees = old.and_then(|old| old.replaced(now.fees, cap)).filter(|_| underway.attempts.len() < MAX_ATTEMPTS);
        let Some(fees) = fees else {
            tracing::warn!(base = now.base, cap, "a transaction is stuck, and the operator's cap allows no higher fee");
            return Ok(());
        };
        self.sign(underway, fees)
    }

    /// The gas that a call needs, with a quarter more: the state may change before it is in a block.
    async fn gas(&self, to: Address, data: &[u8]) -> Result<u64, SendError> {
        let params = json!([transaction(Some(self.account()), to, data)]);
        let read = |answer: Result<Value, RpcError>| {
            // A number is made bytes, so that a revert is an answer of the same kind.
            returned(answer, |value| Ok(short_in(value)?.to_be_bytes().to_vec()))
        };
        let needed = self.quorum.needed();
        let enough = |said: &[Option<Said<Returned>>]| Gas::of(said, needed).is_some();
        let said = self.quorum.gather("eth_estimateGas", params, read, enough).await;
        match Gas::of(&said, needed) {
            Some(Gas::Needs(gas)) if gas > MAX_GAS => Err(SendError::TooMuchGas(gas)),
            Some(Gas::Needs(gas)) => Ok(gas + gas / 4),
            Some(Gas::Refused(reason)) => Err(SendError::Refused(reason)),
            None => Err(self.quorum.disagreement("what the call does", &said).into()),
        }
    }

    /// How many transactions the account has made.
    async fn count(&self, tag: &str) -> Result<u64, QuorumError> {
        let params = json!([self.account().to_string(), tag]);
        let read = |answer| short_in(&plain(answer)?);
        self.quorum.reached("the account's nonce", "eth_getTransactionCount", params, read).await
    }

    fn load(&self) -> Result<Option<Underway>, SendError> {
        let record = self.journal.load().map_err(SendError::Journal)?;
        record.map(|record| Underway::read(&record, self.chain, self.account()).map_err(SendError::Foreign)).transpose()
    }
}

enum Look {
    /// It ended so, in a final block.
    Final(Result<Receipt, SendError>),
    /// Its nonce is used in a block that is not final.
    InABlock,
    /// No block has it.
    Waiting,
}

/// A receipt as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Found {
    worked: bool,
    number: u64,
    block: Hash,
}

fn receipt(value: &Value, hash: &Hash) -> Result<Option<Found>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let field = |name: &str| value.get(name).ok_or_else(|| format!("a receipt without {name}"));
    if hash_in(field("transactionHash")?)? != *hash {
        return Err("the receipt of another transaction".to_owned());
    }
    let worked = match short_in(field("status")?)? {
        0 => false,
        1 => true,
        other => return Err(format!("a receipt of status {other}")),
    };
    Ok(Some(Found { worked, number: short_in(field("blockNumber")?)?, block: hash_in(field("blockHash")?)? }))
}

enum Gas {
    Needs(u64),
    Refused(String),
}

impl Gas {
    /// What a quorum says: the most that it reaches, or the same refusal.
    fn of(said: &[Option<Said<Returned>>], needed: usize) -> Option<Self> {
        let answers = || said.iter().flatten().filter_map(|said| said.value.as_ref().ok());
        let mut gas: Vec<u64> = answers()
            .filter_map(|answer| match answer {
                Returned::Bytes(bytes) => Some(u64::from_be_bytes(bytes.as_slice().try_into().ok()?)),
                Returned::Reverted(_) => None,
            })
            .collect();
        gas.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(gas) = gas.get(needed.saturating_sub(1)) {
            return Some(Self::Needs(*gas));
        }
        answers().find_map(|answer| match answer {
            Returned::Reverted(data) if answers().filter(|other| *other == answer).count() >= needed => {
                Some(Self::Refused(contract::reason(data)))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::tests::json_of_any_shape;

    fn written(status: &str) -> Value {
        let hash = |byte: &str| format!("0x{}", byte.repeat(32));
        json!({"transactionHash": hash("11"), "status": status, "blockNumber": "0x7", "blockHash": hash("22")})
    }

    #[test]
    fn a_receipt_is_of_this_transaction_and_worked_or_did_not() {
        let found = |worked| Some(Found { worked, number: 7, block: [0x22; 32] });
        assert!(receipt(&written("0x1"), &[0x11; 32]) == Ok(found(true)));
        assert!(receipt(&written("0x0"), &[0x11; 32]) == Ok(found(false)));
        assert!(receipt(&Value::Null, &[0x11; 32]) == Ok(None));
        assert!(receipt(&written("0x2"), &[0x11; 32]).is_err() && receipt(&written("0x1"), &[0x12; 32]).is_err());
    }

    #[test]
    fn gas_is_what_a_quorum_reaches_and_a_refusal_what_a_quorum_says() {
        let needs = |gas: u64| Ok(Returned::Bytes(gas.to_be_bytes().to_vec()));
        let refuses = || Ok(Returned::Reverted(Vec::new()));
        let of = |values: [Result<Returned, String>; 3]| {
            let said: Vec<_> = values.into_iter().map(|value| Some(Said::of(value))).collect();
            Gas::of(&said, 2)
        };
        assert!(matches!(of([needs(u64::MAX), needs(7), needs(5)]), Some(Gas::Needs(7))));
        assert!(matches!(of([needs(7), needs(5), refuses()]), Some(Gas::Needs(5))));
        assert!(matches!(of([needs(7), refuses(), refuses()]), Some(Gas::Refused(_))));
        assert!(of([needs(7), refuses(), Err("late".to_owned())]).is_none());
        let short = || Ok(Returned::Bytes(vec![1]));
        assert!(of([short(), short(), short()]).is_none());
    }

    proptest! {
        #[test]
        fn json_of_any_shape_is_a_receipt_or_refused(value in json_of_any_shape(), hash in any::<[u8; 32]>()) {
            let _ = receipt(&value, &hash);
        }
    }
}
