//! A reveal: the decision, the share opened and checked, the record, and nothing but ciphertext for the committed key.
//!
//! The types are the order: a share is [`Opened`] by a decision that grants it, [`Recorded`] by a transaction, and only
//! what is recorded can be let out; a transaction that fails drops it. A refusal burns nothing: the same temporary key may
//! try again. But a token that was shown is known to whoever carried it, so one that will count later keeps its commitment
//! for as long.

use std::time::Instant;

use rand_core::{CryptoRng, RngCore};
use torus_audit::Event;
use torus_hsm::Device;
use torus_ipc::{Deny, LoginProof, ReleasedShare, SessionGrant};
use torus_memory::Secret;
use torus_release::{EpochState, Grant, Inputs, Seen, decide, issue_time};
use torus_statement::certificate::Certified;
use torus_statement::session::SessionToken;
use torus_statement::state::key;
use torus_statement::{Hash, Point, keccak256, sha256};

use crate::audit::Releases;
use crate::budget::Budget;
use crate::clock::Now;
use crate::commit::{Commits, Held};
use crate::ecies;
use crate::keygen::ShareStore;
use crate::member::Member;
use crate::owners::Owners;
use crate::quota::{Draw, Quotas};
use crate::secrets::busy;
use crate::signing;
use crate::store::{Change, StoreError};

/// The longest life of a session token, in seconds; a longer wish is cut.
const MAX_SESSION: u32 = 30 * 86_400;

/// What a vault has on record about logins and releases.
#[derive(Clone, Copy)]
pub struct Records {
    /// Which hash belongs to which temporary key.
    pub commits: Commits,
    /// To whom keys were released.
    pub owners: Owners,
    /// How many.
    pub quotas: Quotas,
}

/// What the vault itself knows about a reveal.
struct Known {
    held: Option<Held>,
    owner: Option<Hash>,
    room: bool,
}

/// A share that the decision grants, open and compared with its commitment.
pub struct Opened {
    grant: Grant,
    token: Hash,
    share: Secret<32>,
    session_seconds: u32,
    /// The login was shown before: no quota bounds how often, so the device's time for it does.
    again: bool,
}

/// A share whose release is on record, once the transaction that it comes from is durable.
pub struct Recorded(Opened);

/// Decides on a reveal and, if all conditions hold, opens the share. It writes only to keep the commitment of a post-dated
/// token for longer. A login that got its share, or came in this group already (`shown`), waits where the device's time for
/// users is used up.
///
/// # Errors
/// The first condition that does not hold, or device or store fails; [`Deny::Busy`].
pub fn open(
    member: &Member,
    records: &Records,
    shares: &ShareStore,
    device: &mut dyn Device,
    (proof, header): (&LoginProof, &Certified),
    now: &Now,
    (budget, shown): (&Budget, bool),
) -> Result<Opened, Deny> {
    let token = keccak256(proof.token.as_bytes());
    let known = known(member, records, proof, &token, now)?;
    let place = member.chain.stand();
    let inputs = Inputs {
        config: &member.config,
        member: member.index,
        epoch: EpochState { active: !place.ended && !member.behind, frozen: member.stopped(&place) },
        clock: torus_release::Clock { own: now.own, floor: now.guards.floor },
        seen: Seen { height: place.height, time: place.time },
        not_before: now.guards.not_before_seconds(),
        room: known.room,
        commitment: known.held.as_ref().map(|held| &held.commitment),
        pinned: known.owner.as_ref(),
        token: &proof.token,
        named: &proof.verifier,
        receipts: &proof.receipts,
        header,
        policy: &proof.policy,
        user: &proof.lookup.user,
        assignment: &proof.lookup.assignment,
        key: &proof.lookup.key,
    };
    let decided = decide(&inputs);
    // What was shown counts, not what came of it: a refused token is known as well.
    let issued_at = decided.as_ref().map_or_else(|_| issue_time(&inputs), |grant| Some(grant.issued_at));
    if let (Some(held), Some(issued_at)) = (&known.held, issued_at) {
        remember(member, records, held, issued_at)?;
    }
    let grant = decided.map_err(refusal)?;
    let again = shown || known.held.is_some_and(|held| held.released.is_some());
    if again && !budget.open_again() {
        return Err(Deny::Busy);
    }
    let mut share = Secret::zeros(member.pool).map_err(busy)?;
    let began = Instant::now();
    let opened = shares.open(&member.config, grant.index, &grant.share, device, share.as_mut_bytes());
    // What does not open is no release that a quota would count.
    if again || opened.is_err() {
        budget.spend(began.elapsed());
    }
    opened?;
    Ok(Opened { grant, token, share, session_seconds: proof.session_seconds.min(MAX_SESSION), again })
}

impl Opened {
    /// Puts the release on record, in the audit log as well: the owner pinned, the quotas drawn on (once per login).
    /// Refused, it changes nothing. A login gets shares of one key: shown again under a mapping that names another, it
    /// gets none. `releases` are those of the same transaction.
    ///
    /// # Errors
    /// The store fails. The refusals inside are [`Deny::Owner`] and [`Deny::Quota`].
    pub fn record(
        mut self,
        member: &Member,
        records: &Records,
        releases: &mut Releases,
        change: &mut Change<'_>,
    ) -> Result<Result<Recorded, Deny>, StoreError> {
        let Grant { index, owner, time, verifier, id, temporary, .. } = &self.grant;
        let before = records.commits.released(change, &self.token)?;
        if before.is_some_and(|other| other != *index) || !records.owners.allows(change, *index, owner)? {
            return Ok(Err(Deny::Owner));
        }
        if before.is_none() {
            let draw = Draw { verifier: key::verifier(verifier), key: *index, time: *time };
            if !records.quotas.draw(change, &draw)? {
                return Ok(Err(Deny::Quota));
            }
            records.owners.pin(change, *index, owner)?;
            records.commits.release(change, &self.token, *index)?;
        }
        let event = Event::Release {
            epoch: member.attempt.epoch,
            user: member.subjects.user(verifier, id),
            key: member.subjects.key(*index),
            temporary: sha256("", &[&temporary.to_compressed()]),
            session: self.session_seconds,
        };
        member.audit.release(change, releases, self.token, event)?;
        // Another worker may have released it since it was opened.
        self.again |= before.is_some();
        Ok(Ok(Recorded(self)))
    }
}

impl Recorded {
    /// The one way out for a share: as ciphertext for the temporary key that was committed.
    ///
    /// # Errors
    /// The device fails.
    pub fn let_out(
        self,
        member: &Member,
        device: &mut dyn Device,
        rng: &mut (impl CryptoRng + RngCore),
        budget: &Budget,
    ) -> Result<ReleasedShare, Deny> {
        let Self(Opened { grant, share, session_seconds, again, .. }) = self;
        let sealed = ecies::seal(rng, &grant.temporary, share.as_bytes(), member.pool)?;
        drop(share);
        let began = Instant::now();
        let session = session(member, device, rng, &grant, session_seconds);
        if again {
            budget.spend(began.elapsed());
        }
        let session = session?;
        Ok(ReleasedShare { key: grant.index, public: grant.entry.public, share: sealed, session })
    }
}

#[cfg(test)]
impl Recorded {
    /// As if a decision had granted it, and a transaction kept it.
    pub(crate) fn granted(grant: Grant, share: Secret<32>) -> Self {
        Self(Opened { grant, token: [0; 32], share, session_seconds: 60, again: false })
    }
}

/// Looks up what the reveal asks about: the key that it claims; whether it may claim it is decided afterwards.
fn known(member: &Member, records: &Records, proof: &LoginProof, token: &Hash, now: &Now) -> Result<Known, Deny> {
    let claimed = *proof.lookup.assignment.value.keys.first().ok_or(Deny::Proof)?;
    let draw = Draw { verifier: key::verifier(&proof.verifier), key: claimed, time: now.time };
    let read = member.store.read(|view| {
        let held = records.commits.find(view, token)?;
        let counted = held.as_ref().is_some_and(|held| held.released == Some(claimed));
        let room = counted || records.quotas.room(view, &draw)?;
        Ok::<_, StoreError>(Known { held, owner: records.owners.find(view, claimed)?, room })
    });
    read.map_err(|error| {
        crate::alarm!("what is on record about a login cannot be read: {error}");
        Deny::Store
    })
}

/// Keeps the commitment of a post-dated token until the token has had its time. Seldom: an issuer's clock is wrong then.
fn remember(member: &Member, records: &Records, held: &Held, issued_at: u64) -> Result<(), Deny> {
    if !held.precedes(issued_at, &member.config.committee().times) {
        return Ok(());
    }
    crate::warning!("a token was shown that is issued after it was committed: is its issuer's clock ahead?");
    let token = &held.commitment.token;
    member.store.write(|change| records.commits.outlive(change, token, issued_at)).map_err(|error| {
        crate::alarm!("a commitment cannot be kept for longer: {error}");
        Deny::Store
    })
}

fn session(
    member: &Member,
    device: &mut dyn Device,
    rng: &mut (impl CryptoRng + RngCore),
    grant: &Grant,
    seconds: u32,
) -> Result<SessionGrant, Deny> {
    let expires = (grant.time / 1000).saturating_add(seconds.into());
    let temporary: &Point = &grant.temporary;
    let token = SessionToken { expires, temporary, verifier: &grant.verifier, id: &grant.id };
    // Its signature alone is secret: the node knows all that the text says.
    let prehash = keccak256(token.text().as_bytes());
    let signature = member.health.device(signing::identity(device, &prehash))?;
    let mut whole = Secret::zeros(member.pool).map_err(busy)?;
    *whole.as_mut_bytes() = signature.with_recovery(&member.identity, &prehash).ok_or(Deny::Device)?;
    Ok(SessionGrant {
        // The JSON, not its base64: clients encode what they open.
        token: ecies::seal(rng, temporary, token.json().as_bytes(), member.pool)?,
        signature: ecies::seal(rng, temporary, whole.as_bytes(), member.pool)?,
    })
}

fn refusal(deny: torus_release::Deny) -> Deny {
    use torus_release::Deny as D;
    match deny {
        D::Epoch => Deny::Epoch,
        D::Clock => Deny::Clock,
        D::Header => Deny::Header,
        D::Stale => Deny::Stale,
        D::Proof => Deny::Proof,
        D::Verifier => Deny::Verifier,
        D::TokenForm => Deny::TokenForm,
        D::TokenKey => Deny::TokenKey,
        D::TokenSignature => Deny::TokenSignature,
        D::TokenIssuer => Deny::TokenIssuer,
        D::TokenAudience => Deny::TokenAudience,
        D::TokenTime => Deny::TokenTime,
        D::NotBefore => Deny::NotBefore,
        D::TokenId => Deny::TokenId,
        D::NotCommitted => Deny::NotCommitted,
        D::Receipts => Deny::Receipts,
        D::TokenUser => Deny::TokenUser,
        D::Owner => Deny::Owner,
        D::Frozen => Deny::Frozen,
        D::Quota => Deny::Quota,
    }
}
