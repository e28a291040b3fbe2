//! What an operator should know about a vault before it runs, or while it does: one line a check, with advice.
//!
//! It changes nothing in store or token but the scratch keys of the start-up gate, which it removes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use torus_hsm::{Device, Pin, Token, TokenConfig, Verdict};
use torus_policies::Level;
use torus_statement::certificate::SignedHeader;
use torus_statement::codec::Wire;
use torus_statement::receipt::hex;
use torus_statement::state::AuditEntry;
use torus_statement::{AuditHead, Hash, SignedAuditHead};

use crate::advance;
use crate::audit::{Extent, Journal, seen};
use crate::boot::{self, Standing};
use crate::clock;
use crate::configs::{self, Configs};
use crate::findings::Findings;
use crate::freeze::{OperatorError, landlock};
use crate::limits;
use crate::run::{NETWORK, RunError, open_device, own_place, read_network};
use crate::store::{Store, StoreError};
use crate::strongroom;
use crate::trust::trusted;

/// Records whose links are checked.
const CHECKED: u64 = 4096;
/// How far the certified head may be behind the own one, in milliseconds.
const BEHIND: u64 = 600_000;

/// What is to be looked at.
pub struct Patient {
    /// The data directory.
    pub data: PathBuf,
    /// The token.
    pub token: TokenConfig,
    /// The file with its PIN.
    pub pin_file: PathBuf,
    /// The network file, once there is one.
    pub network_file: Option<PathBuf>,
    /// The file of limits, if there is one.
    pub limits_file: Option<PathBuf>,
}

/// Looks at token, store, network file, clock, memory and disk. Later checks are left out if they have nothing to go by.
pub fn doctor(patient: &Patient) -> Findings {
    let mut found = Findings::default();
    let store = Store::open(&patient.data);
    let approved = store.as_ref().map_or(Ok(None), trusted);
    let network = patient.network_file.as_deref().zip(approved.as_ref().ok().copied().flatten());
    let token = found.token(patient);
    let mut counter = None;
    if let Some(token) = &token {
        let mut device = match open_device(token) {
            Ok(device) => device,
            Err(error) => {
                found.fail("session", &error, "the token opens no session: see its documentation");
                return found;
            }
        };
        match device.counter() {
            Ok(value) => counter = Some(value),
            Err(error) => found.fail("counter", &error, "the token's counter cannot be read: was init run on it?"),
        }
        if let Some((path, approved)) = &network {
            match store.as_ref().map_or(Err(RunError::NoNetwork), |store| place(store, path, approved, device.as_mut()))
            {
                Ok(detail) => found.pass("network", detail),
                Err(error) => found.fail("network", &error, "compare the hash and the token with what was approved"),
            }
        } else {
            match device.identity() {
                Ok(_) => found.pass("identity", "the token holds an identity".to_owned()),
                Err(error) => found.fail("identity", &error, "run `torus-vault init` on a new token"),
            }
        }
    }
    match store {
        Ok(store) => {
            found.pass("store", format!("{} opened, schema {}", patient.data.display(), crate::store::SCHEMA));
            found.store(&store, counter, network);
        }
        Err(error) => found.fail("store", &error, "run `torus-vault init`, or restore the directory"),
    }
    if let Some(path) = &patient.limits_file {
        found.limits(path, network);
    }
    found.running(&patient.data);
    found.memory();
    found.disk(&patient.data);
    found
}

/// Who the member is, in the epoch that its vault serves.
fn place(store: &Store, path: &Path, approved: &Hash, device: &mut dyn Device) -> Result<String, RunError> {
    let configs = Configs::open(store, Arc::new(read_network(path, approved)?.config))?;
    let (epoch, own) = own_place(&configs, device)?;
    let epoch = epoch.config.committee().epoch;
    let next = match configs::approved(store)? {
        Some(committee) => format!("; approved for the epoch after: {}", hex(&committee)),
        None => String::new(),
    };
    Ok(format!("member {} in epoch {epoch}, keys as its config names them{next}", own.index))
}

impl Findings {
    fn token(&mut self, patient: &Patient) -> Option<Token> {
        let pin = match Pin::from_file(&patient.pin_file) {
            Ok(pin) => pin,
            Err(error) => {
                self.fail("pin", &error, "one line, mode 600, owned by the vault's user");
                return None;
            }
        };
        let token = match Token::open(&patient.token, &pin) {
            Ok(token) => token,
            Err(error) => {
                self.fail("token", &error, "check module, label and PIN; a wrong PIN is not tried again");
                return None;
            }
        };
        let info = token.info().map_or_else(|_| String::new(), |info| format!("{} {}", info.manufacturer, info.model));
        self.pass("token", format!("{:?} opened ({})", patient.token.label, info.trim()));
        for check in torus_hsm::conformance(&token).checks {
            let advice = match check.verdict {
                Verdict::Pass => "",
                Verdict::Warn => "weaker than it should be: read vault/docs/hsm.md on this check",
                Verdict::Fail => "the vault does not start with this token: set its policy, or take another",
            };
            self.add(&format!("gate/{}", check.name), check.verdict, check.detail, advice);
        }
        Some(token)
    }

    fn store(&mut self, store: &Store, counter: Option<u64>, network: Option<(&Path, Hash)>) {
        match (boot::read(store), counter) {
            (Err(error), _) => self.fail("starts", &error, "the store is damaged: it cannot be used"),
            (Ok(_), None) => {}
            (Ok(record), Some(token)) => match boot::judge(&record, token) {
                Err(error) => {
                    self.fail("starts", &error, "never restore a token from a copy: its keys live on elsewhere")
                }
                Ok(Standing::Behind) => self.add(
                    "starts",
                    Verdict::Fail,
                    format!("the store is at start {}, the token at {token}: the store is an old copy", record.counter),
                    "put the newest store back, or read `torus-vault accept-store --help`",
                ),
                Ok(Standing::Sound { clean }) => {
                    let how = if clean { "stopped cleanly" } else { "running, or stopped without a closing mark" };
                    self.pass("starts", format!("start {}, {how}", record.counter));
                }
            },
        }
        match advance::frozen(store) {
            Ok(None) => self.pass("contradictions", "none".to_owned()),
            Ok(Some(reason)) => {
                self.add(
                    "contradictions",
                    Verdict::Fail,
                    reason,
                    "the vault has stopped: ask the other operators first",
                );
            }
            Err(error) => self.fail("contradictions", &error, "the store is damaged"),
        }
        self.audit(store);
        self.approved(store);
        if let Some((path, approved)) = network {
            self.clock(store, path, &approved);
        }
    }

    /// The log in the store, its newest signed head, and the one that the network holds.
    fn audit(&mut self, store: &Store) {
        match audited(store) {
            Err(error) => self.fail("audit-log", &error, "the store is damaged: take a copy and verify it"),
            Ok(Audited { extent, filled, newest, certified }) => {
                let count = extent.next - extent.base;
                let detail = format!("{count} records from {}, {filled} % of its room", extent.base);
                if filled < 50 {
                    self.pass("audit-log", detail);
                } else {
                    let advice =
                        "`torus-vault audit export`, keep the copy, then `audit prune`; a full log releases nothing";
                    self.add("audit-log", Verdict::Warn, detail, advice);
                }
                self.heads(newest.map(|signed| signed.head), certified);
            }
        }
    }

    fn heads(&mut self, own: Option<AuditHead>, certified: Option<AuditEntry>) {
        let say = |head: &AuditHead| format!("{} records, {}", head.count, hex(&head.link));
        match (own, certified) {
            (None, _) => self.pass("audit-head", "none signed yet".to_owned()),
            (Some(own), None) => self.add(
                "audit-head",
                Verdict::Warn,
                format!("{}; none certified as far as this vault was shown", say(&own)),
                "the node brings heads to the log: is it running?",
            ),
            (Some(own), Some(AuditEntry { newest, contradiction })) => {
                let seen = format!("own {}; certified {}", say(&own), say(&newest.head));
                if let Some(other) = contradiction {
                    let detail = format!("{seen}; CONTRADICTED by {}", say(&other.head));
                    let advice = "this log went back or forked once: was the store restored? It stays on record";
                    self.add("audit-head", Verdict::Warn, detail, advice);
                } else if own.time > newest.head.time.saturating_add(BEHIND) {
                    self.add(
                        "audit-head",
                        Verdict::Warn,
                        seen,
                        "the network's head is old: does the node reach the log?",
                    );
                } else {
                    self.pass("audit-head", seen);
                }
            }
        }
    }

    fn approved(&mut self, store: &Store) {
        let taken_up = store.read(|view| Ok::<_, StoreError>(view.get(store.meta(), NETWORK)?.is_some()));
        match trusted(store).and_then(|network| Ok((network, taken_up?))) {
            Ok((Some(network), true)) => self.pass("network-approved", format!("{}, taken up", hex(&network))),
            Ok((Some(network), false)) => {
                self.pass("network-approved", format!("{}; the first run takes it up", hex(&network)));
            }
            Ok((None, _)) => self.add(
                "network-approved",
                Verdict::Warn,
                "none yet".to_owned(),
                "compare the network file's hash with the other operators, then `torus-vault trust HASH`",
            ),
            Err(error) => self.fail("network-approved", &error, "the store is damaged"),
        }
    }

    fn clock(&mut self, store: &Store, path: &Path, approved: &Hash) {
        let Ok(file) = read_network(path, approved) else { return };
        let committee = file.config.committee();
        let newest =
            store.read(|view| Ok::<_, StoreError>(view.get(store.meta(), advance::NEWEST)?.map(<[u8]>::to_vec)));
        let newest = match newest {
            Ok(None) => committee.genesis_time,
            Ok(Some(bytes)) => match SignedHeader::from_bytes(&bytes) {
                Ok(signed) => signed.header.time,
                Err(error) => return self.fail("clock", &error, "the store is damaged"),
            },
            Err(error) => return self.fail("clock", &error, "the store is damaged"),
        };
        let own = clock::system();
        let ahead = i128::from(own) - i128::from(newest);
        let inside =
            ahead >= -i128::from(committee.times.clock_behind) && ahead <= i128::from(committee.times.clock_ahead);
        let detail = format!("{} s after the newest certified header", ahead / 1000);
        if inside {
            self.pass("clock", detail);
        } else {
            let advice = "commits and releases wait: set the clock by NTP; after a long stop a new block ends this";
            self.add("clock", Verdict::Warn, detail, advice);
        }
    }

    /// The limits that the vault would start with, against the network's verifiers where there is a network.
    fn limits(&mut self, path: &Path, network: Option<(&Path, Hash)>) {
        let limits = match limits::in_force(None, Some(path)) {
            Ok(limits) => limits,
            Err(error) => return self.fail("limits", &error, "the vault does not start with this file"),
        };
        let network = network.and_then(|(path, approved)| read_network(path, &approved).ok());
        match network.map_or(Ok(()), |file| limits::check(&limits, file.verifiers.len())) {
            Ok(()) => self.pass("limits", limits.to_string()),
            Err(error) => self.fail("limits", &error, "the vault does not start: raise `all`, or lower `reserved`"),
        }
    }

    /// What the vault that runs says of itself, if one does and hears this user.
    fn running(&mut self, data: &Path) {
        match landlock(data) {
            Ok(true) => self.pass("landlock", "the vault that runs is under it".to_owned()),
            Ok(false) => self.add(
                "landlock",
                Verdict::Warn,
                "the vault that runs is without Landlock".to_owned(),
                "a hole in the token's module reaches more files: start it without --without-landlock on Linux 6.7 or later",
            ),
            Err(OperatorError::Absent { .. }) => {}
            Err(error) => self.add(
                "landlock",
                Verdict::Warn,
                format!("not known of the vault that runs: {error}"),
                "look as the vault's user, and at its log",
            ),
        }
    }

    fn memory(&mut self) {
        match strongroom::try_least() {
            Ok(Level::Secret) => self.pass("memory", "secrets lie in the kernel's secret memory".to_owned()),
            Ok(Level::Locked) => self.add(
                "memory",
                Verdict::Warn,
                "secrets lie in ordinary memory that is locked".to_owned(),
                "root could read them: a kernel with memfd_secret (Linux 6.5, or secretmem.enable) keeps them from it",
            ),
            Err(error) => self.fail("memory", &error, "the vault does not start: look as the vault's user"),
        }
    }

    fn disk(&mut self, dir: &Path) {
        match crate::descriptors::free_bytes(dir) {
            Ok(free) if free >= 1 << 30 => self.pass("disk", format!("{} MiB free", free >> 20)),
            Ok(free) => self.add(
                "disk",
                Verdict::Warn,
                format!("{} MiB free", free >> 20),
                "a full disk refuses new keys and logins; nothing that was acknowledged is lost",
            ),
            Err(error) => self.fail("disk", &error, "the data directory cannot be looked at"),
        }
    }
}

struct Audited {
    extent: Extent,
    filled: u64,
    newest: Option<SignedAuditHead>,
    certified: Option<AuditEntry>,
}

fn audited(store: &Store) -> Result<Audited, StoreError> {
    let journal = Journal::open(store)?;
    let newest = journal.newest();
    // The newest records, link by link, as they are at one moment: the whole log is `audit verify`'s.
    let mut before = None;
    let extent = store.read(|view| {
        let extent = journal.extent_in(view)?;
        journal.each(view, extent.next.saturating_sub(CHECKED), |record, link| {
            if before.is_some_and(|before| torus_audit::link(&before, record) != *link) {
                return Err(StoreError::Damaged("the audit log"));
            }
            before = Some(*link);
            Ok::<_, StoreError>(true)
        })?;
        Ok::<_, StoreError>(extent)
    })?;
    if before.is_some_and(|last| last != extent.link) {
        return Err(StoreError::Damaged("the audit log"));
    }
    Ok(Audited { filled: journal.filled(&extent), extent, newest, certified: seen::certified_entry(store)? })
}
