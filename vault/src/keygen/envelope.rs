//! Sealing and opening one envelope under a session's key: AES-256-GCM with the whole header as additional data.

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use sha2::{Digest, Sha256};
use torus_hsm::Secret;
use torus_protocol::SecretBytes;
use torus_statement::envelope::{Envelope, Label, MAX_ENVELOPE, Session};

/// Bytes of the tag at the end of a ciphertext.
const TAG: usize = 16;

/// A session's AES-256 key.
pub(super) type SessionKey = Secret<32>;

/// ANSI X9.63 key derivation with SHA-256 for one block: SHA-256(Z | 00000001 | SharedInfo).
pub(super) fn derive(shared: &[u8; 32], shared_info: &[u8]) -> SessionKey {
    let mut key = Secret::zeros();
    let hash = Sha256::new().chain_update(shared).chain_update(1u32.to_be_bytes()).chain_update(shared_info);
    hash.finalize_into(key.as_mut_bytes().into());
    key
}

/// Seals a plaintext. `None` if it is longer than an envelope holds.
pub(super) fn seal(
    key: &SessionKey,
    session: &Session,
    counter: u64,
    label: Label,
    plaintext: &[u8],
) -> Option<Envelope> {
    if plaintext.len() > MAX_ENVELOPE - TAG {
        return None;
    }
    let mut ciphertext = Vec::with_capacity(plaintext.len() + TAG);
    ciphertext.extend_from_slice(plaintext);
    let header = Envelope::header(session, counter, &label);
    let nonce = Envelope::nonce(counter);
    let tag = Aes256Gcm::new(key.as_bytes().into())
        .encrypt_in_place_detached(&nonce.into(), &header, &mut ciphertext)
        .ok()?;
    ciphertext.extend_from_slice(&tag);
    Some(Envelope { session: session.clone(), counter, label, ciphertext })
}

/// The plaintext, if header and ciphertext are as they were sealed.
pub(super) fn open(key: &SessionKey, envelope: &Envelope) -> Option<SecretBytes> {
    let (body, tag) = envelope.ciphertext.split_at_checked(envelope.ciphertext.len().checked_sub(TAG)?)?;
    let mut plaintext = SecretBytes::zeros(body.len());
    plaintext.as_mut_slice().copy_from_slice(body);
    let header = Envelope::header(&envelope.session, envelope.counter, &envelope.label);
    let nonce = Envelope::nonce(envelope.counter);
    Aes256Gcm::new(key.as_bytes().into())
        .decrypt_in_place_detached(&nonce.into(), &header, plaintext.as_mut_slice(), Tag::from_slice(tag))
        .ok()?;
    Some(plaintext)
}
