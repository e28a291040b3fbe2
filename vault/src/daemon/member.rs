//! What all threads of a running vault share: who it is, what its operator approved, where it stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use torus_audit::SubjectKey;
use torus_hsm::{DeviceError, EpochAttempt};
use torus_ipc::{Deny, Hello, IPC_VERSION, Status};
use torus_memory::Pool;
use torus_statement::keycert::MemberKeys;
use torus_statement::receipt::hex;
use torus_statement::text::VerifierName;
use torus_statement::{EpochConfig, Hash, Index, NetworkFile, Point, Verifier};

use crate::advance::{Chain, Place};
use crate::audit::Journal;
use crate::clock::Timekeeper;
use crate::freeze::{self, Word};
use crate::store::{Store, StoreError};

/// One member's vault, running.
pub struct Member {
    /// The config of the epoch that it serves: that of the network file, or one that followed and was approved.
    pub config: Arc<EpochConfig>,
    /// The network file's hash.
    pub network: Hash,
    /// The member's index.
    pub index: Index,
    /// Its entry in the config, which equals the keys in the device.
    pub keys: MemberKeys,
    /// Its identity.
    pub identity: Point,
    /// The epoch and attempt that its keys in the device are for.
    pub attempt: EpochAttempt,
    /// The verifiers of the network file.
    pub verifiers: Vec<Verifier>,
    /// The database.
    pub store: Store,
    /// The audit log in it.
    pub audit: Arc<Journal>,
    /// The key of the log's hashes.
    pub subjects: SubjectKey,
    /// The certified log.
    pub chain: Chain,
    /// The time.
    pub keeper: Timekeeper,
    /// The store is older than the token: no votes, receipts or releases.
    pub behind: bool,
    /// Its operator has stopped it.
    pub held: AtomicBool,
    /// The next epoch is taken up: this process ends, and the next one starts in it.
    pub leaving: AtomicBool,
    /// How device and key generation are.
    pub health: Health,
    /// Where the secrets of logins lie.
    pub pool: Pool,
    /// Bytes for the secrets of key generation.
    pub room: usize,
}

/// What status reports besides.
#[derive(Default)]
pub struct Health {
    device_failed: AtomicBool,
    /// Shares that the vault holds.
    pub shares: AtomicU64,
    /// Batches under way.
    pub batches: AtomicU32,
    /// Landlock is in force.
    pub landlock: AtomicBool,
}

impl Health {
    /// Notes whether an operation of the device worked, and turns its error into a refusal without detail.
    ///
    /// # Errors
    /// [`Deny::Device`].
    pub fn device<T>(&self, result: Result<T, DeviceError>) -> Result<T, Deny> {
        let before = self.device_failed.swap(result.is_err(), Ordering::Relaxed);
        result
            .map_err(|error| {
                crate::alarm!("the device failed: {error}");
                Deny::Device
            })
            .inspect(|_| {
                if before {
                    crate::info!("the device works again");
                }
            })
    }
}

impl Member {
    /// A verifier of the network file.
    pub fn verifier(&self, name: &VerifierName) -> Option<&Verifier> {
        self.verifiers.iter().find(|verifier| verifier.name == *name)
    }

    /// Whether the vault takes part in commits, releases and listings at all.
    ///
    /// # Errors
    /// [`Deny::Frozen`] if it is stopped, [`Deny::Epoch`] if its store is behind its token or its epoch has ended.
    pub fn serves(&self) -> Result<(), Deny> {
        let place = self.chain.stand();
        if place.ended || self.behind {
            return Err(Deny::Epoch);
        }
        if self.stopped(&place) { Err(Deny::Frozen) } else { Ok(()) }
    }

    /// Whether its operator or a contradiction has stopped it.
    pub fn stopped(&self, place: &Place) -> bool {
        place.frozen || self.held.load(Ordering::Acquire)
    }

    /// Does what the operator says, durably.
    ///
    /// # Errors
    /// The store fails. A stop is in force even so, until the process ends.
    pub fn obey(&self, word: &Word) -> Result<&'static str, StoreError> {
        match word {
            Word::Freeze(reason) => {
                self.held.store(true, Ordering::Release);
                crate::alarm!(
                    "FROZEN by its operator ({reason}): no receipts, no releases until `torus-vault unfreeze`"
                );
                freeze::keep(&self.audit, &self.store, word)?;
                Ok("frozen: no receipts and no releases, over restarts too, until `torus-vault unfreeze`")
            }
            Word::Unfreeze => {
                freeze::keep(&self.audit, &self.store, word)?;
                self.held.store(false, Ordering::Release);
                crate::info!("resumed by its operator");
                Ok(if self.chain.stand().frozen {
                    "resumed, but a contradiction has stopped this vault as well: see its log"
                } else {
                    "resumed"
                })
            }
            Word::Withdraw => {
                freeze::keep(&self.audit, &self.store, word)?;
                crate::info!("its operator took the approval of a committee back");
                Ok("withdrawn: no committee is approved")
            }
            Word::Approve(committee) => {
                freeze::keep(&self.audit, &self.store, word)?;
                crate::info!("its operator approved the next epoch's committee {}", hex(committee));
                Ok("approved")
            }
        }
    }

    /// The answer to the greeting.
    pub fn hello(&self) -> Hello {
        Hello {
            version: IPC_VERSION,
            network: self.network,
            index: self.index,
            identity: self.identity,
            height: self.chain.stand().height,
        }
    }

    /// The answer to a question about its health.
    pub fn status(&self) -> Status {
        let place = self.chain.stand();
        let (guards, own) = self.keeper.look();
        let silent = self.behind || self.stopped(&place) || guards.start_pending;
        Status {
            device: !self.health.device_failed.load(Ordering::Relaxed),
            clock: self.keeper.believed(place.time),
            time: own.max(guards.floor),
            height: place.height,
            not_before: guards.not_before_seconds(),
            receipts_from: if silent { u64::MAX } else { guards.receipts_from.div_ceil(1000) },
            shares: self.health.shares.load(Ordering::Relaxed),
            batches: self.health.batches.load(Ordering::Relaxed),
            landlock: self.health.landlock.load(Ordering::Relaxed),
        }
    }
}

/// What is wrong with a network file, or with this vault's place in it.
#[derive(Debug, thiserror::Error)]
pub enum BadNetwork {
    /// The operator approved another file.
    #[error(
        "the network file's hash is {found}, the approved one is {approved}: this is not the file that was approved"
    )]
    Hash {
        /// Of the file.
        found: String,
        /// Given by the operator.
        approved: String,
    },
    /// It cannot be read.
    #[error("the network file cannot be read: {0}")]
    Read(String),
    /// The vault's identity is no member.
    #[error("the identity in this token is no member of the network")]
    Stranger,
    /// The certificate of this member names other keys than the token holds.
    #[error("the network file names another {0} key for this member than the token holds")]
    OtherKey(&'static str),
    /// A policy takes tokens older than the network's bound.
    #[error("verifier {0} takes tokens older than the network's maximum age")]
    TokenAge(VerifierName),
    /// Two verifiers accept one login: it could be committed for one and released for the other.
    #[error("verifiers {0} and {1} accept the same issuer and audience")]
    SharedLogin(VerifierName, VerifierName),
}

/// Checks what no single entry of a network file shows.
///
/// # Errors
/// A policy beyond the token age, or two that accept the same (issuer, audience).
pub fn check_verifiers(file: &NetworkFile) -> Result<(), BadNetwork> {
    let bound = u64::from(file.config.committee().times.token_age);
    for (at, verifier) in file.verifiers.iter().enumerate() {
        let policy = &verifier.policy;
        if u64::from(policy.max_age) * 1000 > bound {
            return Err(BadNetwork::TokenAge(verifier.name.clone()));
        }
        let shares = |other: &&Verifier| {
            other.policy.issuer == policy.issuer
                && other.policy.audiences.iter().any(|audience| policy.audiences.contains(audience))
        };
        if let Some(other) = file.verifiers.iter().take(at).find(shares) {
            return Err(BadNetwork::SharedLogin(other.name.clone(), verifier.name.clone()));
        }
    }
    Ok(())
}
