//! What can go wrong, in words an operator can act on. No error carries a secret.

use crate::device::EpochAttempt;
use std::path::PathBuf;

/// A PIN that was not read.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file cannot be opened or read.
    #[error("cannot read the PIN from {}: {source}", path.display())]
    Read {
        /// The file, or `descriptor` for an inherited one.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Others than the owner and his group may read the file, or the group may write it.
    #[error("the PIN file {} has mode {mode:o}: take the rights of others away (chmod 600)", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Empty, longer than 128 bytes, not UTF-8, or with control characters inside.
    #[error("the PIN in {} must be one line of 1 to 128 printable bytes", path.display())]
    Form {
        /// The file, or `descriptor` for an inherited one.
        path: PathBuf,
    },
}

/// A token that was not opened. A refused PIN is never tried again: tokens lock.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The PKCS#11 module cannot be loaded or does not start.
    #[error("cannot load the PKCS#11 module {}: {detail}", path.display())]
    Module {
        /// The shared object.
        path: PathBuf,
        /// The loader's or the module's reason.
        detail: String,
    },
    /// No slot holds a token of this label.
    #[error("no token is labelled {label:?}: check the module's configuration (SOFTHSM2_CONF for SoftHSM)")]
    NoToken {
        /// The label that was looked for.
        label: String,
    },
    /// More than one token bears the label; none is chosen.
    #[error("{count} tokens are labelled {label:?}: labels must be unique")]
    Ambiguous {
        /// The label that was looked for.
        label: String,
        /// How many bear it.
        count: usize,
    },
    /// The token refused the PIN. It was tried once and is not tried again.
    #[error("the token {label:?} refused the PIN; it was tried once. Damage to a token also shows as a wrong PIN")]
    PinRefused {
        /// The token.
        label: String,
    },
    /// The token refuses every PIN until its security officer resets it.
    #[error("the PIN of the token {label:?} is locked, expired or not set: its security officer must set it")]
    PinLocked {
        /// The token.
        label: String,
    },
    /// The token no longer takes the process for logged in.
    #[error("the token {label:?} has logged this process out (reset or removed?): restart the vault")]
    LoggedOut {
        /// The token.
        label: String,
    },
    /// There is no token left to initialise.
    #[error("the module offers no uninitialised token, and an initialised one is never overwritten")]
    NoFreeSlot,
    /// A token of that label exists already.
    #[error("a token labelled {label:?} exists: it is never overwritten")]
    Exists {
        /// The label.
        label: String,
    },
    /// The label is empty, longer than 32 bytes or not printable ASCII.
    #[error("a token's label is 1 to 32 printable ASCII characters")]
    Label,
    /// A call to the module failed.
    #[error("{call} failed on the token {label:?}: {code}")]
    Call {
        /// The token.
        label: String,
        /// The PKCS#11 function.
        call: String,
        /// The module's return code.
        code: String,
    },
}

/// An operation that the device did not do. Nothing secret has left it.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The token itself failed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is no identity key: the vault was not initialised, or this is another token.
    #[error("the token holds no identity key: was `torus-vault init` run on it?")]
    NoIdentity,
    /// There is an identity key, and a second one is never made.
    #[error("the token holds an identity key already; a second one is never made")]
    IdentityExists,
    /// The keys of this attempt are not in the token: never made, or destroyed.
    #[error("the token holds no keys for {0}")]
    NoKeys(EpochAttempt),
    /// The keys of this attempt exist, and are never made twice.
    #[error("the token holds keys for {0} already")]
    KeysExist(EpochAttempt),
    /// Some of this attempt's keys are there and some are not: an interrupted generation, or a damaged token.
    #[error(
        "the token holds only {found} of the 3 keys of {attempt}: an interrupted generation (destroy them, then \
         generate again) or a damaged token (then do not)"
    )]
    Incomplete {
        /// The attempt.
        attempt: EpochAttempt,
        /// How many of consensus, envelope and share key are usable.
        found: usize,
    },
    /// Two usable keys bear one name: somebody else writes to this token.
    #[error("{count} objects of the token are named {name}; one was expected")]
    Duplicate {
        /// The object's label.
        name: String,
        /// How many match.
        count: usize,
    },
    /// No public object of the token belongs to the private key.
    #[error("the public object of {name} is missing or does not belong to its private key")]
    PublicKey {
        /// The object's label.
        name: String,
    },
    /// The token's signature did not verify; it was thrown away.
    #[error("the token made a signature that does not verify; it was thrown away")]
    BadSignature,
    /// The token derived something that is not a shared x-coordinate.
    #[error("the token derived a value of {0} bytes where 32 were due")]
    BadDerivation(usize),
    /// The sealed record was altered, or belongs to another place, key or token.
    #[error("a sealed key did not open: altered, or sealed for another record, attempt or token")]
    Authentication,
    /// The additional data of a sealing is longer than 1024 bytes.
    #[error("the additional data of a sealing is at most 1024 bytes")]
    AadLength,
    /// The token sealed in a form other than AES-GCM's.
    #[error("the token sealed {0} bytes where 48 were due")]
    BadSealing(usize),
    /// An object remained after it was destroyed.
    #[error("{count} objects of {attempt} remained after the token destroyed them")]
    Remains {
        /// The attempt.
        attempt: EpochAttempt,
        /// How many.
        count: usize,
    },
    /// Every counter object in the token is damaged.
    #[error("the token's counter is damaged ({0} unreadable objects and no sound one)")]
    CounterDamaged(usize),
    /// The counter was written and not found again, or it is at its end.
    #[error("the token's counter did not advance past {0}")]
    CounterStuck(u64),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}
