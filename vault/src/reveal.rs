//! A reveal: the decision, the share opened and checked, and nothing but ciphertext for the committed temporary key.
//!
//! Every release of the vault passes `let_out`. A refusal burns nothing: the same temporary key may try again.

use rand_core::{CryptoRng, RngCore};
use torus_hsm::Device;
use torus_ipc::{Deny, LoginProof, ReleasedShare, SessionGrant};
use torus_release::{Commitment, EpochState, Grant, Inputs, Seen, decide};
use torus_statement::certificate::Certified;
use torus_statement::keccak256;
use torus_statement::session::SessionToken;
use torus_statement::{Hash, Point};
use zeroize::Zeroizing;

use crate::clock::Now;
use crate::ecies;
use crate::keygen::ShareStore;
use crate::member::Member;
use crate::signing;

/// The longest life of a session token, in seconds; a longer wish is cut.
const MAX_SESSION: u32 = 30 * 86_400;

/// The hash under which a proof's token was committed.
pub fn committed_hash(proof: &LoginProof) -> Hash {
    keccak256(proof.token.as_bytes())
}

/// Decides on a reveal and, if all conditions hold, releases.
///
/// # Errors
/// The first condition that does not hold, or device or store fails.
pub fn reveal(
    member: &Member,
    device: &mut dyn Device,
    rng: &mut (impl CryptoRng + RngCore),
    shares: &ShareStore,
    asked: &Asked<'_>,
) -> Result<ReleasedShare, Deny> {
    let proof = asked.proof;
    let place = member.chain.stand();
    let inputs = Inputs {
        config: &member.config,
        member: member.index,
        epoch: EpochState { active: !place.ended && !member.behind, frozen: place.frozen },
        clock: torus_release::Clock { own: asked.now.own, floor: asked.now.guards.floor },
        seen: Seen { height: place.height, time: place.time },
        not_before: asked.now.guards.not_before_seconds(),
        commitment: asked.commitment.as_ref(),
        verifier: member.verifier(&proof.verifier),
        token: &proof.token,
        named: &proof.verifier,
        receipts: &proof.receipts,
        header: asked.header,
        assignment: &proof.lookup.assignment,
        key: &proof.lookup.key,
    };
    let grant = decide(&inputs).map_err(refusal)?;
    let_out(member, device, rng, shares, &grant, proof.session_seconds)
}

/// A reveal with what the vault itself knows of it.
pub struct Asked<'a> {
    /// What came from outside.
    pub proof: &'a LoginProof,
    /// Its header, certified.
    pub header: &'a Certified,
    /// The vault's own record of the token's hash.
    pub commitment: Option<Commitment>,
    /// The vault's time.
    pub now: &'a Now,
}

/// The one way out for a share. What is to be on record about a release is written here, before the ciphertext exists.
fn let_out(
    member: &Member,
    device: &mut dyn Device,
    rng: &mut (impl CryptoRng + RngCore),
    shares: &ShareStore,
    grant: &Grant,
    session_seconds: u32,
) -> Result<ReleasedShare, Deny> {
    let mut share = Zeroizing::new([0; 32]);
    shares.open(&member.config, grant.index, &grant.share, device, &mut share)?;
    let sealed = ecies::seal(rng, &grant.temporary, share.as_ref())?;
    drop(share);
    let session = session(member, device, rng, grant, session_seconds)?;
    Ok(ReleasedShare { key: grant.index, public: grant.entry.public, share: sealed, session })
}

fn session(
    member: &Member,
    device: &mut dyn Device,
    rng: &mut (impl CryptoRng + RngCore),
    grant: &Grant,
    seconds: u32,
) -> Result<SessionGrant, Deny> {
    let expires = (grant.time / 1000).saturating_add(seconds.min(MAX_SESSION).into());
    let temporary: &Point = &grant.temporary;
    let token = SessionToken { expires, temporary, verifier: &grant.verifier, id: &grant.id };
    let text = Zeroizing::new(token.text());
    let prehash = keccak256(text.as_bytes());
    let signature = member.health.device(signing::identity(device, &prehash))?;
    let signature = Zeroizing::new(signature.with_recovery(&member.identity, &prehash).ok_or(Deny::Device)?);
    Ok(SessionGrant {
        // The JSON, not its base64: clients encode what they open.
        token: ecies::seal(rng, temporary, Zeroizing::new(token.json()).as_bytes())?,
        signature: ecies::seal(rng, temporary, signature.as_ref())?,
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
    }
}
