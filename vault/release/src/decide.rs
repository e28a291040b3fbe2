//! The release decision: every condition in order, each with its own refusal.

use torus_statement::certificate::Certified;
use torus_statement::dkg::KeyIndex;
use torus_statement::policy::Verifier;
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::{Assignment, KeyEntry, Proven, key};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{EpochConfig, Hash, Index, Point, keccak256};

use crate::clock::Clock;
use crate::deny::Deny;
use crate::policy::evaluate;
use crate::receipts::{Expected, quorum};

/// Everything that the decision rests on. The first group is the vault's own, the second came from outside.
pub struct Inputs<'a> {
    /// The config of the epoch in force, approved by the operator or reached from there.
    pub config: &'a EpochConfig,
    /// This member.
    pub member: Index,
    /// How this vault stands in the epoch.
    pub epoch: EpochState,
    /// What it knows of the time.
    pub clock: Clock,
    /// The newest certified header that it has seen.
    pub seen: Seen,
    /// Tokens issued before this do not count, in seconds since 1970.
    pub not_before: u64,
    /// Its own record of the token's hash, if it has one.
    pub commitment: Option<&'a Commitment>,
    /// The verifier as the vault trusts it.
    pub verifier: Option<&'a Verifier>,

    /// The token's text.
    pub token: &'a str,
    /// The verifier that the request names.
    pub named: &'a VerifierName,
    /// Receipts.
    pub receipts: &'a [SignedReceipt],
    /// A header whose certificate was verified under `config`.
    pub header: &'a Certified,
    /// Whose key.
    pub assignment: &'a Proven<Assignment>,
    /// Which key.
    pub key: &'a Proven<KeyEntry>,
}

/// How a vault stands in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochState {
    /// It is one of the epoch's members and has taken it up.
    pub active: bool,
    /// Its operator, or a hand-over, has stopped it.
    pub frozen: bool,
}

/// The newest certified header that a vault has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its height, 0 for genesis.
    pub height: u64,
    /// Its time in milliseconds since 1970.
    pub time: u64,
}

/// What a vault stored when it first saw a token's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Keccak-256 of the token's text.
    pub token: Hash,
    /// The temporary key that it came with.
    pub temporary: Point,
}

/// What may be released, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The verifier.
    pub verifier: VerifierName,
    /// The user.
    pub id: VerifierId,
    /// The user's lowest key.
    pub index: KeyIndex,
    /// Its entry.
    pub entry: KeyEntry,
    /// This member's share commitment in it: what the opened share must match.
    pub share: Point,
    /// The only key that the share may be sealed to.
    pub temporary: Point,
    /// The token's `iat` in seconds since 1970.
    pub issued_at: u64,
    /// The vault time that was decided at, in milliseconds since 1970.
    pub time: u64,
}

/// Decides whether this member's share of the token's user may go to the temporary key that the vault stored.
///
/// What remains for the caller: quotas, opening the share against [`Grant::share`], the durable audit record before the
/// ciphertext leaves.
///
/// # Errors
/// The first condition that does not hold.
pub fn decide(inputs: &Inputs<'_>) -> Result<Grant, Deny> {
    let time = epoch_and_clock(inputs)?;
    certified(inputs, time)?;

    let verifier = inputs.verifier.filter(|verifier| verifier.name == *inputs.named).ok_or(Deny::Verifier)?;
    let login = evaluate(inputs.token, verifier, &inputs.config.committee().times, time)?;
    if login.issued_at < inputs.not_before {
        return Err(Deny::NotBefore);
    }

    let (index, entry, share) = mapping(inputs, &verifier.name, &login.id)?;

    let token = keccak256(inputs.token.as_bytes());
    let commitment = inputs.commitment.filter(|held| held.token == token).ok_or(Deny::NotCommitted)?;
    let temporary = commitment.temporary;
    let expected = Expected {
        token: &token,
        temporary: &temporary,
        verifier: &verifier.name,
        issued_at: login.issued_at,
        now: time,
    };
    if !quorum(inputs.config, &expected, inputs.receipts) {
        return Err(Deny::Receipts);
    }
    Ok(Grant {
        verifier: verifier.name.clone(),
        id: login.id,
        index,
        entry: entry.clone(),
        share,
        temporary,
        issued_at: login.issued_at,
        time,
    })
}

/// Condition 1: active, not stopped, not past the end; and the time at all.
fn epoch_and_clock(inputs: &Inputs<'_>) -> Result<u64, Deny> {
    if !inputs.epoch.active || inputs.epoch.frozen {
        return Err(Deny::Epoch);
    }
    let committee = inputs.config.committee();
    let newest = inputs.seen.time.max(inputs.header.header().time);
    let time = inputs.clock.time(newest, &committee.times)?;
    if time >= committee.end { Err(Deny::Epoch) } else { Ok(time) }
}

/// Condition 2: the header is this config's, not older than one seen, and fresh.
fn certified(inputs: &Inputs<'_>, time: u64) -> Result<(), Deny> {
    let (header, committee) = (inputs.header.header(), inputs.config.committee());
    if header.config != inputs.config.hash() || header.chain != committee.chain || header.epoch != committee.epoch {
        return Err(Deny::Header);
    }
    let fresh = header.time.saturating_add(committee.times.freshness.into()) >= time;
    if header.height < inputs.seen.height || !fresh { Err(Deny::Stale) } else { Ok(()) }
}

/// Condition 3: the token's user has this key, under the header's state root.
fn mapping<'a>(
    inputs: &Inputs<'a>,
    verifier: &VerifierName,
    id: &VerifierId,
) -> Result<(KeyIndex, &'a KeyEntry, Point), Deny> {
    let root = &inputs.header.header().state;
    let place = key::assignment(verifier, &key::user(id));
    let assignment = inputs.assignment.verify(root, &place).ok_or(Deny::Proof)?;
    let index = *assignment.keys.first().ok_or(Deny::Proof)?;
    let entry = inputs.key.verify(root, &key::key(index)).ok_or(Deny::Proof)?;
    if entry.commitments.len() != inputs.config.sizes().n() {
        return Err(Deny::Proof);
    }
    let share = *entry.commitments.get(inputs.member.slot()).ok_or(Deny::Proof)?;
    Ok((index, entry, share))
}
