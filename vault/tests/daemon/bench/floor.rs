//! What a commit and a release cannot do without: the token, the curve, the disk. Each measured alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k256::elliptic_curve::ops::Reduce;
use k256::{ProjectivePoint, Scalar, U256};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use torus_hsm::{Device, EpochAttempt, Pin, SealedDevice, SealedKey, Token, TokenConfig};
use torus_statement::{Hash, Point, Signature, keccak256};
use torus_vault::store::{Store, StoreError, Table};

const ATTEMPT: EpochAttempt = EpochAttempt { epoch: 1, attempt: 0 };
/// Receipts that a release checks: a quorum.
const RECEIPTS: u32 = 4;
/// What a release encrypts: the share, the session token, its signature.
const SEALED: u32 = 3;

/// An operation's times.
type Times = Vec<Duration>;

/// The operations and what they took. Whoever measures the vault samples them in between: disks have their moods.
pub(super) struct Floor {
    device: SealedDevice,
    identity: Point,
    sealed: SealedKey,
    issuer: Ed25519KeyPair,
    store: Store,
    table: Table,
    scalar: Scalar,
    writes: u64,
    took: [Times; OPERATIONS.len()],
}

/// The operations, in the order of `took`.
const OPERATIONS: [&str; 8] = [
    "HSM: signature, checked",
    "HSM: data key opened",
    "curve: ECDH",
    "curve: s*G",
    "curve: signature verified",
    "curve: recovery id found",
    "curve: token's Ed25519 signature verified",
    "disk: one LMDB transaction with its fsync",
];

impl Floor {
    /// With a token and a store that it makes in `directory`.
    pub(super) fn new(directory: &Path, module: &Path) -> Self {
        let mut device = device(directory, module.into());
        let identity = device.generate_identity().unwrap();
        device.generate_epoch_keys(ATTEMPT).unwrap();
        let sealed = device.seal(ATTEMPT, b"floor", &[7; 32]).unwrap();
        let issuer = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let store = Store::create(&directory.join("floor")).unwrap();
        let table = store.table("floor").unwrap();
        let scalar = <Scalar as Reduce<U256>>::reduce_bytes(&keccak256(b"floor").into());
        let took = Default::default();
        Self { device, identity, sealed, issuer, store, table, scalar, writes: 0, took }
    }

    /// Does each operation this many times.
    pub(super) fn sample(&mut self, count: usize) {
        let Self { device, identity, sealed, issuer, store, table, scalar, writes, took } = self;
        let [sign, open, agree, base, verify, recover, token, disk] = took;
        let key = UnparsedPublicKey::new(&ED25519, issuer.public_key().as_ref().to_vec());
        let (text, mut out) = ([5; 300], [0; 32]);
        let issued = issuer.sign(&text);
        let mut next = || {
            *scalar += *scalar;
            *scalar
        };
        let hashes: Vec<Hash> = (0..count).map(|number| keccak256(&number.to_be_bytes())).collect();
        // How long a recovery id takes to find depends on the signature.
        let mut signatures = Vec::with_capacity(count);
        time(sign, count, || signatures.push(device.sign_identity(&hashes[signatures.len()]).unwrap()));
        let signatures = signatures.iter().map(|bytes| Signature::from_bytes(bytes).unwrap());
        let signed: Vec<(Signature, Hash)> = signatures.zip(hashes).collect();
        let (mut to_verify, mut to_recover) = (signed.iter(), signed.iter());
        time(open, count, || device.open(ATTEMPT, b"floor", sealed, &mut out).unwrap());
        time(agree, count, || assert!(Point::new(&(identity.projective() * next())).is_ok()));
        time(base, count, || assert!(Point::new(&(ProjectivePoint::GENERATOR * next())).is_ok()));
        time(verify, count, || {
            let (signature, hash) = to_verify.next().unwrap();
            assert!(signature.verifies_prehash(identity, hash));
        });
        time(recover, count, || {
            let (signature, hash) = to_recover.next().unwrap();
            assert!(signature.with_recovery(identity, hash).is_some());
        });
        time(token, count, || key.verify(&text, issued.as_ref()).unwrap());
        time(disk, count, || {
            *writes += 1;
            let place = keccak256(&writes.to_be_bytes());
            let put: Result<(), StoreError> = store.write(|change| change.put(*table, &place, &[3; 120]));
            put.unwrap();
        });
    }

    /// Each operation's times.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = (&'static str, &mut Times)> {
        OPERATIONS.into_iter().zip(&mut self.took)
    }

    /// How many samples there are of each.
    pub(super) fn mark(&self) -> usize {
        self.took[0].len()
    }

    /// A receipt's signature with its recovery id, and a part of a write: means of the samples since a mark.
    pub(super) fn commit(&self, mark: usize, sharing: usize) -> Duration {
        let [sign, _, _, _, _, recover, _, disk] = self.means(mark);
        sign + recover + disk / u32::try_from(sharing).unwrap()
    }

    /// The token, receipts, the share opened and held against its commitment, a session signature, three encryptions,
    /// and a part of a write.
    pub(super) fn release(&self, mark: usize, sharing: usize) -> Duration {
        let [sign, open, agree, base, verify, recover, token, disk] = self.means(mark);
        let checks = token + verify * RECEIPTS;
        let session = sign + recover;
        checks + open + base + session + (agree + base) * SEALED + disk / u32::try_from(sharing).unwrap()
    }

    /// Without the slowest twentieth, in which another process had the core.
    fn means(&self, mark: usize) -> [Duration; OPERATIONS.len()] {
        self.took.each_ref().map(|took| {
            let mut took = took[mark..].to_vec();
            took.sort_unstable();
            took.truncate(took.len() * 19 / 20);
            took.iter().sum::<Duration>() / u32::try_from(took.len()).unwrap()
        })
    }
}

fn device(directory: &Path, module: PathBuf) -> SealedDevice {
    let pin = Pin::from_file(&directory.join("pin")).unwrap();
    let config = TokenConfig { module, label: "floor".to_owned() };
    Token::prepare(&config.module, &config.label, &pin, &pin).unwrap();
    SealedDevice::new(Token::open(&config, &pin).unwrap().session().unwrap())
}

fn time(took: &mut Times, count: usize, mut operation: impl FnMut()) {
    for _ in 0..count {
        let began = Instant::now();
        operation();
        took.push(began.elapsed());
    }
}
