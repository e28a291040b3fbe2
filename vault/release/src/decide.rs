//! The release decision: conditions 1 to 6 in order, each with its own refusal.
//!
//! 1 the epoch, the stop and the quotas; 2 the header; 3 what is proven under it: the policy and whose key it is; 4 the
//! token; 5 the commitment and its receipts; 6 the key's owner. Whoever fails several is told the first.

use torus_statement::certificate::Certified;
use torus_statement::dkg::KeyIndex;
use torus_statement::policy::Verifier;
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::{Assignment, KeyEntry, Proven, key};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{EpochConfig, Hash, Index, Point, keccak256};

use crate::clock::Clock;
use crate::deny::Deny;
use crate::policy::{self, Login, evaluate};
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
    /// Whether its quotas have room for this login, or it counted already.
    pub room: bool,
    /// Its own record of the token's hash, if it has one.
    pub commitment: Option<&'a Commitment>,
    /// To whom it first released the key that `assignment` names first, if it ever did: [`Grant::owner`] then.
    pub pinned: Option<&'a Hash>,

    /// The token's text.
    pub token: &'a str,
    /// The verifier that the request names.
    pub named: &'a VerifierName,
    /// Receipts.
    pub receipts: &'a [SignedReceipt],
    /// A header whose certificate was verified under `config`.
    pub header: &'a Certified,
    /// What the verifier asks of a login, with its issuer's keys.
    pub policy: &'a Proven<Verifier>,
    /// The hash of the user's id that `assignment` is for.
    pub user: &'a Hash,
    /// Whose key.
    pub assignment: &'a Proven<Assignment>,
    /// Which key.
    pub key: &'a Proven<KeyEntry>,
}

/// How a vault stands in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochState {
    /// It is one of the epoch's members, has taken it up, and its store is as new as its token.
    pub active: bool,
    /// Its operator, a contradiction, or a hand-over has stopped it.
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
    /// What stands for (verifier, user): to be pinned as the key's owner at its first release.
    pub owner: Hash,
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
/// What remains for the caller, in this order: opening the share and comparing it with [`Grant::share`]; one durable
/// transaction that pins the owner (unless another was pinned since), draws on the quotas and writes the audit record;
/// then the ciphertext.
///
/// # Errors
/// The first condition that does not hold.
pub fn decide(inputs: &Inputs<'_>) -> Result<Grant, Deny> {
    let time = epoch_and_clock(inputs)?;
    certified(inputs, time)?;
    let proven = proven(inputs)?;
    let login = login(inputs, proven.verifier, time)?;
    let temporary = committed(inputs, login.issued_at, time)?;
    if inputs.pinned.is_some_and(|pinned| *pinned != proven.owner) {
        return Err(Deny::Owner);
    }
    Ok(Grant {
        verifier: inputs.named.clone(),
        id: login.id,
        owner: proven.owner,
        index: proven.index,
        entry: proven.entry.clone(),
        share: proven.share,
        temporary,
        issued_at: login.issued_at,
        time,
    })
}

/// Condition 1: active, not stopped, not past the end, within the quotas; and the time at all.
fn epoch_and_clock(inputs: &Inputs<'_>) -> Result<u64, Deny> {
    if !inputs.epoch.active {
        return Err(Deny::Epoch);
    }
    if inputs.epoch.frozen {
        return Err(Deny::Frozen);
    }
    let committee = inputs.config.committee();
    let newest = inputs.seen.time.max(inputs.header.header().time);
    let time = inputs.clock.time(newest, &committee.times)?;
    if time >= committee.end {
        return Err(Deny::Epoch);
    }
    if inputs.room { Ok(time) } else { Err(Deny::Quota) }
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

/// When the token was issued (`iat` in seconds since 1970), whether or not its time has come or is over; `None` if it is
/// not the proven verifier's at all. A vault that was shown a post-dated token learns from this how long it must remember
/// its commitment.
pub fn issue_time(inputs: &Inputs<'_>) -> Option<u64> {
    let root = &inputs.header.header().state;
    policy::issued(inputs.token, inputs.policy.verify(root, &key::verifier(inputs.named))?)
}

/// What the header's state root proves.
struct Facts<'a> {
    verifier: &'a Verifier,
    owner: Hash,
    index: KeyIndex,
    entry: &'a KeyEntry,
    share: Point,
}

/// Condition 3: under the header's state root, this is the verifier's policy, and this user of it has this key.
fn proven<'a>(inputs: &Inputs<'a>) -> Result<Facts<'a>, Deny> {
    let root = &inputs.header.header().state;
    let verifier = inputs.policy.verify(root, &key::verifier(inputs.named)).ok_or(Deny::Verifier)?;
    let owner = key::assignment(inputs.named, inputs.user);
    let assignment = inputs.assignment.verify(root, &owner).ok_or(Deny::Proof)?;
    let index = *assignment.keys.first().ok_or(Deny::Proof)?;
    let entry = inputs.key.verify(root, &key::key(index)).ok_or(Deny::Proof)?;
    if entry.commitments.len() != inputs.config.sizes().n() {
        return Err(Deny::Proof);
    }
    let share = *entry.commitments.get(inputs.member.slot()).ok_or(Deny::Proof)?;
    Ok(Facts { verifier, owner, index, entry, share })
}

/// Condition 4: the token satisfies the policy, is not older than not-before, and names the user that was proven.
fn login(inputs: &Inputs<'_>, verifier: &Verifier, time: u64) -> Result<Login, Deny> {
    let login = evaluate(inputs.token, verifier, &inputs.config.committee().times, time)?;
    if login.issued_at < inputs.not_before {
        return Err(Deny::NotBefore);
    }
    if key::user(&login.id) == *inputs.user { Ok(login) } else { Err(Deny::TokenUser) }
}

/// Condition 5: this vault stored the token's hash with a temporary key, and so did a quorum, for this verifier.
fn committed(inputs: &Inputs<'_>, issued_at: u64, now: u64) -> Result<Point, Deny> {
    let token = keccak256(inputs.token.as_bytes());
    let held = inputs.commitment.filter(|held| held.token == token).ok_or(Deny::NotCommitted)?;
    let temporary = held.temporary;
    let expected = Expected { token: &token, temporary: &temporary, verifier: inputs.named, issued_at, now };
    if quorum(inputs.config, &expected, inputs.receipts) { Ok(temporary) } else { Err(Deny::Receipts) }
}
