//! Promised rows at rest: sealed under a data key of their own, beside the public matrix that they open.

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use torus_hsm::SealedKey;
use torus_ipc::deny::Deny;
use torus_memory::{Secret, apart};
use torus_protocol::{BadPromise, Promise, PromiseReader, Run, SecretBytes};
use torus_statement::codec::{Malformed, Reader, Writer};
use torus_statement::dkg::Attempt;
use torus_statement::envelope::MAX_ENVELOPE;
use torus_statement::record::{Sealed, data_key_aad};
use torus_statement::{EpochConfig, Hash, Index};

use super::tools::{Tools, epoch, failed};
use crate::secrets::busy;

const VERSION: u8 = 1;

/// version | digest | sealed data key | tag | ciphertext | matrix.
pub(super) fn seal(tools: &mut Tools, attempt: Attempt, promise: &Promise) -> Result<Vec<u8>, Deny> {
    let (dealer, digest) = (promise.dealer(), promise.digest());
    let mut data_key = Secret::<32>::zeros(tools.pool).map_err(busy)?;
    tools.rng.fill_bytes(data_key.as_mut_bytes());
    let place = Sealed::Rows { dealer: dealer.get() };
    let key_aad = data_key_aad(&tools.config, &attempt, place);
    let sealed = tools.device.seal(epoch(&tools.config), &key_aad, data_key.as_bytes()).map_err(failed)?;
    // A copy, which the next call turns into ciphertext.
    let mut rows = SecretBytes::copy_of(tools.pool, promise.rows().as_slice()).map_err(busy)?;
    let aad = rows_aad(&tools.config, attempt, dealer, &digest);
    let encrypt = || {
        let cipher = Aes256Gcm::new(data_key.as_bytes().into());
        cipher.encrypt_in_place_detached(&[0; 12].into(), &aad, rows.as_mut_slice())
    };
    let tag = apart(encrypt).map_err(|_| Deny::Store)?;
    let mut w = Writer::default();
    w.u8(VERSION).raw(&digest).raw(sealed.as_bytes()).raw(&tag).bytes(rows.as_slice()).bytes(promise.matrix());
    Ok(w.into_bytes())
}

/// Opens what `seal` made, to be parsed; a record that does not open is a promise lost, which the caller tells.
pub(super) fn open(
    tools: &mut Tools,
    attempt: Attempt,
    run: &Run,
    dealer: Index,
    record: &[u8],
) -> Result<Option<PromiseReader>, Deny> {
    let Ok(stored) = parse(record) else { return Ok(None) };
    let Ok(sealed) = SealedKey::from_bytes(stored.sealed) else { return Ok(None) };
    let mut data_key = Secret::<32>::zeros(tools.pool).map_err(busy)?;
    let key_aad = data_key_aad(&tools.config, &attempt, Sealed::Rows { dealer: dealer.get() });
    match tools.device.open(epoch(&tools.config), &key_aad, &sealed, data_key.as_mut_bytes()) {
        Ok(()) => {}
        Err(torus_hsm::DeviceError::Authentication) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut rows = SecretBytes::copy_of(tools.pool, stored.rows).map_err(busy)?;
    let aad = rows_aad(&tools.config, attempt, dealer, &stored.digest);
    let decrypt = || {
        let cipher = Aes256Gcm::new(data_key.as_bytes().into());
        cipher.decrypt_in_place_detached(&[0; 12].into(), &aad, rows.as_mut_slice(), Tag::from_slice(stored.tag))
    };
    if apart(decrypt).is_err() {
        return Ok(None);
    }
    match PromiseReader::new(run, dealer, stored.digest, rows, stored.matrix.to_vec()) {
        Err(BadPromise::Memory(exhausted)) => Err(busy(exhausted)),
        other => Ok(other.ok()),
    }
}

struct Stored<'a> {
    digest: Hash,
    sealed: &'a [u8],
    tag: &'a [u8],
    rows: &'a [u8],
    matrix: &'a [u8],
}

fn parse(record: &[u8]) -> Result<Stored<'_>, Malformed> {
    let mut r = Reader::new(record);
    if r.u8()? != VERSION {
        return Err(Malformed::Version);
    }
    let stored = Stored {
        digest: r.array()?,
        sealed: r.slice(SealedKey::LENGTH)?,
        tag: r.slice(16)?,
        rows: r.bytes(MAX_ENVELOPE)?,
        matrix: r.bytes(MAX_ENVELOPE)?,
    };
    r.finish()?;
    Ok(stored)
}

/// Binds rows to network, epoch, config, batch, attempt, dealer and the matrix that they open.
pub(super) fn rows_aad(config: &EpochConfig, attempt: Attempt, dealer: Index, digest: &Hash) -> Vec<u8> {
    let mut w = Writer::default();
    w.raw(b"torus/rows/v1\0").raw(&attempt.session(config)).index(dealer).raw(digest);
    w.into_bytes()
}
