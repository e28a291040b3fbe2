//! The secrets of a batch, from copies of the vaults' stores and tokens: opened as their operator could.
//!
//! The token's module reads its configuration when it is loaded, so the opening is done by a process of its own, which
//! prints what it found; what that process holds is nobody's residue.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use k256::elliptic_curve::PrimeField;
use k256::{ProjectivePoint, Scalar};
use torus_hsm::{Device, EpochAttempt, Pin, SealedDevice, SealedKey, Token, TokenConfig};
use torus_memory::Heap;
use torus_sharing::{IndexSet, Point};
use torus_statement::codec::{Reader, Wire, Writer};
use torus_statement::dkg::{Attempt, Dealing, KeyIndex};
use torus_statement::record::{Sealed, data_key_aad};
use torus_statement::{EpochConfig, Index, NetworkFile};
use torus_tests::plan::Layout;
use torus_vault::keygen::ShareStore;
use torus_vault::store::{Store, StoreError};

/// What this program is called with to be the process that opens.
pub(crate) const WORD: &str = "open-the-copies";
/// More than the largest matrix.
const MAX: usize = 8 << 20;

/// All secrets of a batch that the members' stores hold, each with its kind.
pub(crate) fn of_batch(layout: &Layout, members: &[u8], batch: u64) -> Vec<(String, [u8; 32])> {
    let place = tempfile::tempdir().expect("a place for copies");
    let place = place.path();
    let (tokens, conf) = (place.join("tokens"), place.join("softhsm2.conf"));
    fs::create_dir(&tokens).unwrap();
    fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    fs::copy(layout.genesis(), place.join("network.torus")).unwrap();
    for member in members {
        let files = layout.member(*member);
        copy_all(&files.objects(), &tokens);
        let own = place.join(member.to_string());
        fs::create_dir_all(own.join("store")).unwrap();
        fs::copy(files.vault().join("data.mdb"), own.join("store/data.mdb")).unwrap();
        fs::copy(files.pin(), own.join("pin")).unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([WORD, place.to_str().unwrap(), &batch.to_string()])
        .args(members.iter().map(u8::to_string))
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let secret = |line: &str| {
        let (kind, hex) = line.split_once(' ').expect("a kind and a secret");
        (kind.to_owned(), hex::decode(hex).unwrap().try_into().unwrap())
    };
    text.lines().map(secret).collect()
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The process that opens: prints a line for each secret.
pub(crate) fn print(args: &[String]) {
    let [place, batch, members @ ..] = args else { panic!("{args:?}") };
    let place = PathBuf::from(place);
    let network = NetworkFile::from_bytes(&fs::read(place.join("network.torus")).unwrap()).unwrap();
    let mut batch = Batch::new(network.config, batch.parse().unwrap());
    let mut vaults = BTreeMap::new();
    for member in members {
        let index: Index = member.parse().ok().and_then(Index::new).unwrap();
        let mut vault = Vault::open(&place.join(member), &format!("torus-{member}"));
        batch.read(index, &mut vault);
        vaults.insert(index, vault);
    }
    batch.print(&mut vaults);
}

/// A member's copies, open.
struct Vault {
    store: Store,
    device: SealedDevice,
}

impl Vault {
    fn open(place: &Path, label: &str) -> Self {
        let module =
            std::env::var_os("SOFTHSM2_MODULE").map_or("/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from);
        let pin = Pin::from_file(&place.join("pin")).unwrap();
        let token = Token::open(&TokenConfig { module, label: label.to_owned() }, &pin).unwrap();
        Self { store: Store::open(&place.join("store")).unwrap(), device: SealedDevice::new(token.session().unwrap()) }
    }

    /// All values of a table under a prefix of its keys.
    fn values(&self, table: &'static str, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let table = self.store.table(table).unwrap();
        let mut found = Vec::new();
        let read: Result<(), StoreError> = self.store.read(|view| {
            view.each(table, prefix, |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                Ok(true)
            })
        });
        read.unwrap();
        found
    }
}

/// What is known of a batch: rows by dealer and member, each a, a', b, b' of every key.
struct Batch {
    config: EpochConfig,
    number: u64,
    keys: usize,
    qualified: Vec<Index>,
    rows: BTreeMap<Index, BTreeMap<Index, Vec<Scalar>>>,
}

impl Batch {
    fn new(config: EpochConfig, number: u64) -> Self {
        Self { config, number, keys: 0, qualified: Vec::new(), rows: BTreeMap::new() }
    }

    fn read(&mut self, member: Index, vault: &mut Vault) {
        let prefix = self.number.to_be_bytes();
        for (_, record) in vault.values("keygen-batches", &prefix) {
            let mut r = Reader::new(&record);
            assert_eq!(r.u8().unwrap(), 1);
            let _attempt = r.u32().unwrap();
            self.keys = r.u16().unwrap().into();
            let qualified = r.option(|r| r.list(30, Dealing::read)).unwrap().unwrap_or_default();
            if !qualified.is_empty() {
                self.qualified = qualified.iter().map(|dealing| dealing.dealer).collect();
            }
        }
        for (key, record) in vault.values("keygen-rows", &prefix) {
            let attempt = Attempt { batch: self.number, attempt: u32::from_be_bytes(key[8..12].try_into().unwrap()) };
            let dealer = Index::new(key[12]).unwrap();
            let rows = self.open_rows(vault, attempt, dealer, &record);
            self.rows.entry(dealer).or_default().insert(member, rows);
        }
    }

    /// As `vault/docs/shares-at-rest.md` says.
    fn open_rows(&self, vault: &mut Vault, attempt: Attempt, dealer: Index, record: &[u8]) -> Vec<Scalar> {
        let mut r = Reader::new(record);
        assert_eq!(r.u8().unwrap(), 1);
        let digest: [u8; 32] = r.array().unwrap();
        let sealed = SealedKey::from_bytes(r.slice(SealedKey::LENGTH).unwrap()).unwrap();
        let tag = Tag::clone_from_slice(r.slice(16).unwrap());
        let mut rows = r.bytes(MAX).unwrap().to_vec();
        let aad = data_key_aad(&self.config, &attempt, Sealed::Rows { dealer: dealer.get() });
        let mut data_key = [0; 32];
        vault.device.open(self.epoch(), &aad, &sealed, &mut data_key).unwrap();
        let mut w = Writer::default();
        w.raw(b"torus/rows/v1\0").raw(&attempt.session(&self.config)).index(dealer).raw(&digest);
        let cipher = Aes256Gcm::new(&data_key.into());
        cipher.decrypt_in_place_detached(&[0; 12].into(), &w.into_bytes(), &mut rows, &tag).unwrap();
        let scalar = |bytes: &[u8]| Scalar::from_repr(<[u8; 32]>::try_from(bytes).unwrap().into()).unwrap();
        rows.chunks_exact(32).map(scalar).collect()
    }

    fn epoch(&self) -> EpochAttempt {
        EpochAttempt { epoch: self.config.committee().epoch, attempt: self.config.keys().attempt }
    }

    fn print(&self, vaults: &mut BTreeMap<Index, Vault>) {
        let k = self.config.sizes().k();
        let mut key_parts = BTreeMap::<Index, Vec<Scalar>>::new();
        for (dealer, members) in &self.rows {
            for rows in members.values() {
                assert_eq!(rows.len(), self.keys * 4 * k);
                rows.iter().for_each(|value| say("row", value));
                for polynomial in rows.chunks_exact(k) {
                    for at in self.config.sizes().members() {
                        say("point", &evaluate(polynomial, at));
                    }
                }
            }
            if members.len() > k {
                key_parts.insert(*dealer, self.polynomials(members));
            }
        }
        // The set is known once the log has fixed it.
        let complete = |member: &Index| {
            !self.qualified.is_empty()
                && self.qualified.iter().all(|dealer| self.rows.get(dealer).is_some_and(|of| of.contains_key(member)))
        };
        for (member, vault) in vaults.iter_mut().filter(|(member, _)| complete(member)) {
            self.shares(*member, vault);
        }
        let parts: Option<Vec<&Vec<Scalar>>> = self.qualified.iter().map(|dealer| key_parts.get(dealer)).collect();
        if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
            (0..self.keys).for_each(|key| say("key", &parts.iter().map(|part| part[key]).sum()));
        }
    }

    /// A dealer's f and f' from the rows of k members, which must give those of every other; f(0, 0) of each key.
    fn polynomials(&self, members: &BTreeMap<Index, Vec<Scalar>>) -> Vec<Scalar> {
        let k = self.config.sizes().k();
        let some: Vec<Index> = members.keys().copied().take(k).collect();
        let basis = IndexSet::new(self.config.sizes(), some.clone()).unwrap().basis();
        let mut secrets = Vec::new();
        for key in 0..self.keys {
            for part in 0..2 {
                let row = |member: &Index| &members[member][(key * 4 + part) * k..][..k];
                for l in 0..k {
                    let coefficient = |j: usize| some.iter().zip(&basis).map(|(of, basis)| basis[j] * row(of)[l]).sum();
                    let column: Vec<Scalar> = (0..k).map(coefficient).collect();
                    column.iter().for_each(|value| say("polynomial", value));
                    for other in members.keys() {
                        assert!(evaluate(&column, *other) == row(other)[l], "the rows are of no one polynomial");
                    }
                    if (part, l) == (0, 0) {
                        secrets.push(column[0]);
                    }
                }
            }
        }
        secrets
    }

    /// A member's shares, as the sums of its rows; where they are stored, the stored ones are the same.
    fn shares(&self, member: Index, vault: &mut Vault) {
        let k = self.config.sizes().k();
        let sum = |key: usize, part: usize| -> Scalar {
            self.qualified.iter().map(|dealer| self.rows[dealer][&member][(key * 4 + part) * k]).sum()
        };
        let stored = !vault.values("shares", &self.number.to_be_bytes()).is_empty();
        let store = ShareStore::new(&vault.store, Heap::pool()).unwrap();
        for key in 0..self.keys {
            let share = sum(key, 0);
            if stored {
                let commitment = Point::new(&(ProjectivePoint::GENERATOR * share)).unwrap();
                let index = KeyIndex::new(self.number, u16::try_from(key).unwrap()).unwrap();
                let mut opened = [0; 32];
                store.open(&self.config, index, &commitment, &mut vault.device, &mut opened).unwrap();
                assert_eq!(opened, <[u8; 32]>::from(share.to_repr()));
            }
            say("share", &share);
            say("blind", &sum(key, 1));
        }
    }
}

fn evaluate(polynomial: &[Scalar], at: Index) -> Scalar {
    let at = Scalar::from(u64::from(at.get()));
    polynomial.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient)
}

fn say(kind: &str, secret: &Scalar) {
    println!("{kind} {}", hex::encode(secret.to_repr()));
}
