//! Sealing and opening one envelope under a session's key: AES-256-GCM with the whole header as additional data.

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use sha2::{Digest, Sha256};
use torus_ipc::deny::Deny;
use torus_memory::{Pool, Secret, apart};
use torus_protocol::{Body, SecretBytes};
use torus_statement::envelope::{Envelope, Label, MAX_ENVELOPE, Session};

use crate::secrets::busy;

/// Bytes of the tag at the end of a ciphertext.
const TAG: usize = 16;

/// A session's AES-256 key.
pub(super) type SessionKey = Secret<32>;

/// ANSI X9.63 key derivation with SHA-256 for one block: SHA-256(Z | 00000001 | SharedInfo).
pub(super) fn derive(shared: &[u8; 32], shared_info: &[u8], pool: Pool) -> Result<SessionKey, Deny> {
    let mut key = Secret::zeros(pool).map_err(busy)?;
    apart(|| {
        let hash = Sha256::new().chain_update(shared).chain_update(1u32.to_be_bytes()).chain_update(shared_info);
        hash.finalize_into(key.as_mut_bytes().into());
    });
    Ok(key)
}

/// Seals a message. [`Deny::Envelope`] if it is longer than an envelope holds.
pub(super) fn seal(
    key: &SessionKey,
    session: &Session,
    counter: u64,
    label: Label,
    body: &Body,
    pool: Pool,
) -> Result<Envelope, Deny> {
    if body.len() > MAX_ENVELOPE - TAG {
        return Err(Deny::Envelope);
    }
    let mut text = SecretBytes::zeros(pool, body.len()).map_err(busy)?;
    body.write(text.as_mut_slice());
    let header = Envelope::header(session, counter, &label);
    let nonce = Envelope::nonce(counter);
    let encrypt = || {
        let cipher = Aes256Gcm::new(key.as_bytes().into());
        cipher.encrypt_in_place_detached(&nonce.into(), &header, text.as_mut_slice())
    };
    let tag = apart(encrypt).map_err(|_| Deny::Envelope)?;
    // From here on it is ciphertext.
    let ciphertext = [text.as_slice(), &tag].concat();
    Ok(Envelope { session: session.clone(), counter, label, ciphertext })
}

/// The plaintext, if header and ciphertext are as they were sealed.
pub(super) fn open(key: &SessionKey, envelope: &Envelope, pool: Pool) -> Result<SecretBytes, Deny> {
    let length = envelope.ciphertext.len().checked_sub(TAG).ok_or(Deny::Envelope)?;
    let (body, tag) = envelope.ciphertext.split_at_checked(length).ok_or(Deny::Envelope)?;
    let mut plaintext = SecretBytes::copy_of(pool, body).map_err(busy)?;
    let header = Envelope::header(&envelope.session, envelope.counter, &envelope.label);
    let nonce = Envelope::nonce(envelope.counter);
    let decrypt = || {
        let cipher = Aes256Gcm::new(key.as_bytes().into());
        cipher.decrypt_in_place_detached(&nonce.into(), &header, plaintext.as_mut_slice(), Tag::from_slice(tag))
    };
    apart(decrypt).map_err(|_| Deny::Envelope)?;
    Ok(plaintext)
}
