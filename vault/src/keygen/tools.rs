//! What every step of key generation uses: config, device, records, randomness, sessions.

use std::sync::Arc;

use rand_core::CryptoRngCore;
use torus_audit::{Event, Generation};
use torus_hsm::{Device, DeviceError, EpochAttempt};
use torus_ipc::deny::Deny;
use torus_memory::Pool;
use torus_protocol::{Body, SecretBytes};
use torus_statement::dkg::Attempt;
use torus_statement::envelope::{Envelope, Label};
use torus_statement::{EpochConfig, Index, Signature, keccak256};

use crate::audit::Journal;
use crate::store::{Change, StoreError};

use super::records::Records;
use super::sessions::Sessions;

/// The vault's means, apart from the attempts so that one can use the other.
pub(super) struct Tools {
    pub(super) config: Arc<EpochConfig>,
    pub(super) me: Index,
    pub(super) device: Box<dyn Device>,
    pub(super) records: Records,
    /// Where what binds this vault is on record.
    pub(super) audit: Arc<Journal>,
    pub(super) rng: Box<dyn CryptoRngCore + Send>,
    pub(super) sessions: Sessions,
    /// Where secrets lie.
    pub(super) pool: Pool,
}

impl Tools {
    /// Identity's signature over a preimage of the registry.
    pub(super) fn sign(&mut self, preimage: &[u8]) -> Result<Signature, Deny> {
        sign(self.device.as_mut(), preimage)
    }

    /// A step that binds this vault, in the transaction that it happens in.
    pub(super) fn on_record(
        &self,
        change: &mut Change<'_>,
        attempt: Attempt,
        step: Generation,
    ) -> Result<(), StoreError> {
        self.audit.append(change, Event::Generation { attempt, step }).map(|_| ())
    }

    /// Seals a message for a member.
    pub(super) fn seal(&mut self, to: Index, label: Label, body: &Body) -> Result<Envelope, Deny> {
        self.sessions.seal(&self.config, self.device.as_mut(), &mut *self.rng, to, label, body)
    }

    /// Opens a member's message.
    pub(super) fn open(&mut self, envelope: &Envelope, now: u64) -> Result<SecretBytes, Deny> {
        self.sessions.open(&self.config, self.device.as_mut(), envelope, now)
    }
}

/// Identity's signature over a preimage of the registry.
pub(super) fn sign(device: &mut dyn Device, preimage: &[u8]) -> Result<Signature, Deny> {
    let bytes = device.sign_identity(&keccak256(preimage)).map_err(failed)?;
    Signature::from_bytes(&bytes).ok_or(Deny::Device)
}

/// The device's name of the epoch that a config is of.
pub(super) fn epoch(config: &EpochConfig) -> EpochAttempt {
    EpochAttempt { epoch: config.committee().epoch, attempt: config.keys().attempt }
}

/// A device that did not do its work, told to the operator.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failed(error: DeviceError) -> Deny {
    crate::alarm!("key generation: {error}");
    Deny::Device
}
