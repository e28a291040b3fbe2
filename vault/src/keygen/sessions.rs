//! Sessions: one ephemeral key per receiver and boot on the way out, at most two per sender on the way in.
//!
//! Before the device is asked to agree on a secret, the session is this config's, for this vault, on the curve (a point
//! that is not has no value) and signed by its sender's identity. Z is asked of the device once a session.

use std::collections::{BTreeMap, VecDeque};

use k256::Scalar;
use k256::elliptic_curve::Field;
use k256::elliptic_curve::point::AffineCoordinates;
use rand_core::CryptoRngCore;
use torus_hsm::Device;
use torus_ipc::deny::Deny;
use torus_memory::{Pool, Secret, apart};
use torus_protocol::{Body, SecretBytes};
use torus_statement::envelope::{Envelope, Label, Session};
use torus_statement::{EpochConfig, Index, Point};
use zeroize::{Zeroize, Zeroizing};

use super::envelope::{SessionKey, derive, open, seal};
use super::tools::{epoch, failed, sign};
use crate::secrets::busy;

/// Sessions of one sender that are kept: the present one, and the one before its restart.
const KEPT: usize = 2;
/// Sessions that a sender may begin at once, and how often one more.
const BURST: u64 = 4;
const EVERY: u64 = 15_000;

/// All sessions of this boot.
pub(super) struct Sessions {
    me: Index,
    pool: Pool,
    outgoing: BTreeMap<Index, Outgoing>,
    incoming: BTreeMap<Index, Incoming>,
}

struct Outgoing {
    session: Session,
    key: SessionKey,
    /// The next nonce.
    counter: u64,
}

#[derive(Default)]
struct Incoming {
    sessions: VecDeque<(Session, SessionKey)>,
    /// Until when the sender's beginnings are paid for, in milliseconds.
    paid: u64,
}

impl Sessions {
    pub(super) fn new(me: Index, pool: Pool) -> Self {
        Self { me, pool, outgoing: BTreeMap::new(), incoming: BTreeMap::new() }
    }

    /// Seals a message for a member under a nonce that was never used.
    pub(super) fn seal(
        &mut self,
        config: &EpochConfig,
        device: &mut dyn Device,
        rng: &mut dyn CryptoRngCore,
        to: Index,
        label: Label,
        body: &Body,
    ) -> Result<Envelope, Deny> {
        if !self.outgoing.contains_key(&to) {
            self.outgoing.insert(to, begin(config, device, rng, (self.me, to), self.pool)?);
        }
        let outgoing = self.outgoing.get_mut(&to).ok_or(Deny::Envelope)?;
        let counter = outgoing.counter;
        outgoing.counter = counter.checked_add(1).ok_or(Deny::Envelope)?;
        seal(&outgoing.key, &outgoing.session, counter, label, body, self.pool)
    }

    /// Whether an envelope's session may be one of a member with this vault: cheap, and no device is asked.
    pub(super) fn admits(&self, config: &EpochConfig, session: &Session) -> bool {
        let to_me = session.receiver == self.me && session.sender != self.me && session.config == config.hash();
        to_me && (self.known(session) || session.verifies(config))
    }

    fn known(&self, session: &Session) -> bool {
        self.incoming.get(&session.sender).is_some_and(|of| of.sessions.iter().any(|(known, _)| known == session))
    }

    /// Opens an envelope that is admitted.
    pub(super) fn open(
        &mut self,
        config: &EpochConfig,
        device: &mut dyn Device,
        envelope: &Envelope,
        now: u64,
    ) -> Result<SecretBytes, Deny> {
        let session = &envelope.session;
        if !self.admits(config, session) {
            return Err(Deny::Envelope);
        }
        if !self.known(session) {
            let incoming = self.incoming.entry(session.sender).or_default();
            let paid = incoming.paid.max(now) + EVERY;
            if paid > now.saturating_add(BURST * EVERY) {
                return Err(Deny::Busy);
            }
            // Paid before the device works, so that failures are not free.
            incoming.paid = paid;
            let key = receive(config, device, self.me, session, self.pool)?;
            if incoming.sessions.len() >= KEPT {
                incoming.sessions.pop_front();
            }
            incoming.sessions.push_back((session.clone(), key));
        }
        let keys = self.incoming.get(&session.sender).ok_or(Deny::Envelope)?;
        let (_, key) = keys.sessions.iter().find(|(known, _)| known == session).ok_or(Deny::Envelope)?;
        open(key, envelope, self.pool)
    }
}

/// A fresh ephemeral key for one receiver, signed by this vault's identity; Z in software.
fn begin(
    config: &EpochConfig,
    device: &mut dyn Device,
    rng: &mut dyn CryptoRngCore,
    (me, to): (Index, Index),
    pool: Pool,
) -> Result<Outgoing, Deny> {
    let receiver = config.member(to).ok_or(Deny::Envelope)?.envelope;
    let mut shared = Secret::zeros(pool).map_err(busy)?;
    let ephemeral = apart(|| {
        let scalar = Zeroizing::new(Scalar::random(rng));
        let mut product = receiver.projective() * *scalar;
        let mut affine = product.to_affine();
        shared.as_mut_bytes().copy_from_slice(&affine.x());
        product.zeroize();
        affine.zeroize();
        Point::new(&(k256::ProjectivePoint::GENERATOR * *scalar))
    });
    let ephemeral = ephemeral.map_err(|_| Deny::Device)?;
    let signature = sign(device, &Session::preimage(config, me, to, &ephemeral))?;
    let session = Session { config: config.hash(), sender: me, receiver: to, ephemeral, signature };
    let key = derive(shared.as_bytes(), &session.shared_info(config, &receiver), pool)?;
    Ok(Outgoing { session, key, counter: 0 })
}

/// The key of a session that begins here; Z in the device.
fn receive(
    config: &EpochConfig,
    device: &mut dyn Device,
    me: Index,
    session: &Session,
    pool: Pool,
) -> Result<SessionKey, Deny> {
    let own = config.member(me).ok_or(Deny::Envelope)?.envelope;
    let mut shared = Secret::zeros(pool).map_err(busy)?;
    device.agree(epoch(config), &session.ephemeral, shared.as_mut_bytes()).map_err(failed)?;
    derive(shared.as_bytes(), &session.shared_info(config, &own), pool)
}
