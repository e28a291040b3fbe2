//! The ceremony: a new member's keys in its token, its key certificate, and the public file that its network is made of.
//!
//! It refuses to run twice: neither an identity in the token nor a store in the data directory is ever replaced.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use torus_audit::Event;
use torus_hsm::{Device, DeviceError, EpochAttempt, Pin, PinError, Token, TokenConfig, TokenError};
use torus_statement::codec::Wire;
use torus_statement::keycert::{KeyCertificate, MemberKeys, Residency};
use torus_statement::receipt::hex;
use torus_statement::text::NetworkName;
use torus_statement::{Index, keccak256};

use crate::audit::{Journal, subjects};
use crate::boot::{self, BootRecord};
use crate::randomness::seeded;
use crate::run::{RunError, gate, open_device};
use crate::signing;
use crate::store::{Store, StoreError, exists};
use crate::strongroom::for_a_command;

/// The first epoch and attempt.
const FIRST: EpochAttempt = EpochAttempt { epoch: 1, attempt: 0 };

/// What the ceremony is given.
pub struct Ceremony {
    /// The data directory.
    pub data: PathBuf,
    /// The token.
    pub token: TokenConfig,
    /// The file with its PIN.
    pub pin_file: PathBuf,
    /// The file with the security officer's PIN, to make the token first.
    pub so_pin_file: Option<PathBuf>,
    /// The network.
    pub network: NetworkName,
    /// The member's index.
    pub index: Index,
    /// The node's Ed25519 p2p key.
    pub p2p: [u8; 32],
    /// Where the public file goes.
    pub out: PathBuf,
}

/// Why a member was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The data directory holds a vault.
    #[error("{} holds a vault already: init runs once. A new member needs a new directory and a new token", .0.display())]
    Twice(PathBuf),
    /// The token holds an identity.
    #[error("the token holds an identity already: init runs once. A new member needs a new token")]
    TokenTwice,
    /// The PIN.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The public file is not written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Makes a member. Nothing is changed if a vault or an identity is there.
///
/// # Errors
/// See [`InitError`]. After an error in the middle the token is of no use: make another.
pub fn init(ceremony: &Ceremony) -> Result<KeyCertificate, InitError> {
    if exists(&ceremony.data) {
        return Err(InitError::Twice(ceremony.data.clone()));
    }
    let (pool, _) = for_a_command().map_err(RunError::from)?;
    if let Some(so_pin) = &ceremony.so_pin_file {
        let (so_pin, pin) = (Pin::from_file(so_pin)?, Pin::from_file(&ceremony.pin_file)?);
        Token::prepare(&ceremony.token.module, &ceremony.token.label, &so_pin, &pin)?;
    }
    let token = Token::open(&ceremony.token, &Pin::from_file(&ceremony.pin_file)?)?;
    gate(&token)?;
    let mut device = open_device(&token)?;
    match device.identity() {
        Err(DeviceError::NoIdentity) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(InitError::TokenTwice),
    }
    let certificate = make_keys(device.as_mut(), ceremony)?;
    let store = Store::create(&ceremony.data)?;
    // The store names the counter's next value before the token takes it, as at every start.
    let counter = device.counter()?.saturating_add(1);
    // It counts as stopped cleanly: a new identity has said nothing yet that a guard would have to wait for.
    let keys = &certificate.keys;
    let mut rng = seeded(device.as_mut(), counter, pool).map_err(RunError::from)?;
    let sealed =
        subjects::make(device.as_mut(), &mut rng, FIRST, keys.network.clone(), pool).map_err(RunError::from)?;
    let audit = Journal::open(&store)?;
    audit.write(|change| {
        boot::write(change, &store, &BootRecord { counter, closing: Some(counter) })?;
        subjects::keep(change, &store, &sealed)?;
        let (network, member, certificate) = (keys.network.clone(), keys.index, keys.fingerprint());
        audit.append(change, Event::Made { network, member, certificate }).map(|_| ())
    })?;
    device.tick()?;
    publish(&ceremony.out, &certificate)?;
    Ok(certificate)
}

fn make_keys(device: &mut dyn Device, ceremony: &Ceremony) -> Result<KeyCertificate, InitError> {
    let identity = device.generate_identity()?;
    let keys = device.generate_epoch_keys(FIRST)?;
    let keys = MemberKeys {
        network: ceremony.network.clone(),
        epoch: FIRST.epoch,
        attempt: FIRST.attempt,
        index: ceremony.index,
        identity,
        envelope: keys.envelope,
        consensus: keys.consensus,
        p2p: ceremony.p2p,
        residency: Residency::Sealed,
    };
    let signature = signing::identity(device, &keccak256(&keys.preimage()))?;
    Ok(KeyCertificate { keys, signature })
}

/// Everything in it is public, and none of it needs escaping.
fn publish(path: &Path, certificate: &KeyCertificate) -> Result<(), InitError> {
    let keys = &certificate.keys;
    let text = format!(
        "{{\n  \"version\": 1,\n  \"network\": \"{}\",\n  \"index\": {},\n  \"identity\": \"{}\",\n  \"certificate\": \
         \"{}\",\n  \"fingerprint\": \"{}\"\n}}\n",
        keys.network,
        keys.index,
        hex(&keys.identity.to_compressed()),
        hex(&certificate.to_bytes()),
        keys.fingerprint_text(),
    );
    let write = || {
        let part = path.with_extension("part");
        let mut file = fs::File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|source| InitError::Write { path: path.into(), source })
}
