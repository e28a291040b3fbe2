//! The daemon: opens everything, gives up what it does not need, then serves until it is told to stop.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use torus_audit::{Event, SubjectKey};
use torus_hsm::{Device, DeviceError, EpochAttempt, Pin, PinError, SealedDevice, Token, TokenConfig, TokenError};
use torus_memory::Pool;
use torus_policies::{Access, Landlock, LockdownError, Locked, Role, Unprivileged};
use torus_statement::codec::Wire;
use torus_statement::keycert::MemberKeys;
use torus_statement::network::MAX_NETWORK_FILE;
use torus_statement::receipt::hex;
use torus_statement::{EpochConfig, Hash, NetworkFile, Verifier};

use crate::advance::{self, Chain};
use crate::audit::subjects::{self, NoSubjects};
use crate::audit::{Heads, Journal};
use crate::boot::{self, Boot, BootError, Standing};
use crate::budget::Budget;
use crate::clock::{self, Guards, Timekeeper};
use crate::commit::Commits;
use crate::configs::{Configs, Known};
use crate::connection::{OUTGOING, write_all};
use crate::descriptors::{ListenError, lock};
use crate::freeze::{self, Operator};
use crate::keygen::{Keygen, Setup, ShareStore};
use crate::limits::{self, BadFile, BadLimits, Limits};
use crate::member::{BadNetwork, Health, Member, check_verifiers};
use crate::next_keys;
use crate::owners::Owners;
use crate::quota::Quotas;
use crate::randomness::{self, NotSeeded};
use crate::reveal::Records;
use crate::server::Server;
use crate::serving::{Generation, Votes};
use crate::stack::Stack;
use crate::store::{Store, StoreError};
use crate::strongroom::Strongroom;
use crate::trust::trusted;
use crate::users::Users;
use crate::voting::{self, Voter};
use crate::workers::{Queues, by_group, in_slices, one_by_one};

/// The network file's hash, once the vault has taken it up.
pub(crate) const NETWORK: &[u8] = b"network";
/// How SoftHSM calls its maker.
const SOFTHSM: &str = "SoftHSM project";
/// How long the node may take over the last answers.
const GOODBYE: Duration = Duration::from_secs(10);

/// What the daemon is started with.
pub struct Options {
    /// The data directory.
    pub data: PathBuf,
    /// The token.
    pub token: TokenConfig,
    /// Where a software token keeps its objects.
    pub token_dir: Option<PathBuf>,
    /// The file with its PIN.
    pub pin_file: PathBuf,
    /// The network file.
    pub network_file: PathBuf,
    /// The uid of the node.
    pub node_uid: u32,
    /// How much may leave.
    pub limits: Limits,
    /// Whether the operator does without Landlock.
    pub landlock: Landlock,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The PIN.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The token gives keys away or lacks what is needed.
    #[error("the token fails the start-up gate and is not used: {0}. Run `torus-vault doctor`")]
    Gate(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Starting.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The network file.
    #[error(transparent)]
    Network(#[from] BadNetwork),
    /// A vault runs on this directory.
    #[error("a vault runs on {} already: stop it first", .0.display())]
    Running(PathBuf),
    /// No network is approved.
    #[error(
        "no network is approved yet: compare the hash of the network file with the other operators, then \
         `torus-vault trust HASH`"
    )]
    NoNetwork,
    /// The vault belongs to another network.
    #[error("this vault has taken up another network file ({0}); a vault belongs to one network")]
    OtherNetwork(String),
    /// The limits.
    #[error("the limits do not fit the network: {0}")]
    Limits(#[from] BadLimits),
    /// Their file.
    #[error(transparent)]
    LimitsFile(#[from] BadFile),
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The audit log's key.
    #[error(transparent)]
    Subjects(#[from] NoSubjects),
    /// The lockdown.
    #[error(transparent)]
    Lockdown(#[from] LockdownError),
    /// The user to become.
    #[error("{0}")]
    User(&'static str),
    /// SoftHSM without the directory that it works in.
    #[error("the token is SoftHSM's, which reads its files while it works: name their directory with --token-dir")]
    TokenDir,
    /// A generator.
    #[error(transparent)]
    Seed(#[from] NotSeeded),
    /// No batch of the network has room in the memory for secrets.
    #[error(
        "a batch of this network needs {need} KiB of memory for secrets, and the system lets this user lock {have}: raise \
         its limit on locked memory (LimitMEMLOCK=infinity in the unit, `memlock` in limits.conf, `ulimit -l`)"
    )]
    Room {
        /// KiB of one batch.
        need: usize,
        /// KiB that key generation has.
        have: usize,
    },
    /// Key generation does not begin.
    #[error("key generation does not begin: {0}")]
    Keygen(torus_ipc::Deny),
    /// The system.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// How a run ended that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop.
    Stopped,
    /// It has taken up the next epoch, which its next start serves.
    NextEpoch,
}

/// Runs until SIGTERM or SIGINT, or until the next epoch is taken up. `stop` is their descriptor, `listener` the socket for the node, `process` the right
/// to open things, which ends before the first thread is started, `room` the memory for all secrets.
///
/// # Errors
/// Something cannot be opened, contradicts itself, or the lockdown fails: the vault does not serve then.
pub fn run(
    options: &Options,
    listener: &UnixListener,
    stop: &OwnedFd,
    process: Unprivileged,
    room: Strongroom,
) -> Result<End, RunError> {
    let Strongroom { stacks: [mut votes, keys, first, second], common, generation, level } = room;
    let store = Store::open(&options.data)?;
    let _alone = alone(&options.data)?;
    let network = trusted(&store)?.ok_or(RunError::NoNetwork)?;
    let file = read_network(&options.network_file, &network)?;
    let token = Token::open(&options.token, &Pin::from_file(&options.pin_file)?)?;
    gate(&token)?;
    // By the filter without files its first search for an object would end the vault without a word.
    if options.token_dir.is_none() && token.info()?.manufacturer.trim_end() == SOFTHSM {
        return Err(RunError::TokenDir);
    }
    let mut device = open_device(&token)?;
    let configs = Configs::open(&store, Arc::new(file.config))?;
    let (epoch, own) = own_place(&configs, device.as_mut())?;
    has_room(&epoch.config, generation)?;
    let audit = Journal::open(&store)?;
    take_up(&store, &audit, &network, &epoch.config)?;
    let boot = boot::begin(&store, &audit, device.as_mut())?;
    // A store that is an old copy does not know what was certified.
    if boot.standing != Standing::Behind {
        next_keys::prepare(device.as_mut(), &store, &audit, &epoch.config);
    }
    let subjects = votes.run(|| subjects::open(&store, device.as_mut(), common))?;
    let room = generation.capacity();
    let place = Place { network, epoch, own, configs, verifiers: file.verifiers, room };
    let member = open_member(place, (&store, audit, subjects), &boot, common)?;
    let member = Arc::new(member);
    limits::check(&options.limits, member.verifiers.len())?;
    tell(&member, &boot);
    crate::info!("limits: {}", options.limits);
    let operator = Operator::listen(&options.data, stop.try_clone()?)?;

    let role = if options.token_dir.is_some() { Role::VaultSoftHsm } else { Role::VaultCore };
    let access = Access { read: options.token_dir.iter().cloned().collect(), ..Access::default() };
    let mut locked = process.confine(role, &access, options.landlock)?.filter()?;
    crate::info!("locked down: {}", locked.report());
    crate::info!("secrets lie in {level}: {} KiB for key generation", generation.capacity() >> 10);
    member.health.landlock.store(!locked.without_landlock(), Ordering::Relaxed);
    if locked.without_landlock() {
        crate::alarm!(
            "running without Landlock, as --without-landlock says: a hole in the token's module reaches more files"
        );
    }
    // If the clock is believed now, the guards of this start begin now; else with the block that brings the time back.
    let _ = member.keeper.now(member.chain.stand().time);
    let heads = Heads::start(member.clone(), open_device(&token)?, boot.counter)?;
    let doors = Doors { node: listener, node_uid: options.node_uid, operator, stop };
    let stacks = Stacks { votes, keys, users: [first, second] };
    let writing = serve(&member, &token, &boot, &options.limits, doors, (stacks, generation), &mut locked)?;

    let pending = member.keeper.look().0;
    // A stop is clean only if this start's guards were set: they would be missed at the next start.
    if boot.standing == Standing::Behind || pending.start_pending || pending.epoch_pending {
        crate::info!("stopped; the next start begins with guards");
    } else {
        member.audit.end_minute()?;
        member.audit.write(|change| {
            member.keeper.keep(change, &pending)?;
            boot::close(change, &member.store, &boot)?;
            member.audit.append(change, Event::Stop { start: boot.counter }).map(|_| ())
        })?;
        crate::info!("stopped cleanly");
    }
    heads.finish();
    // The mark is there: a node that takes its last answers slowly spoils nothing.
    let began = Instant::now();
    while !writing.is_finished() && began.elapsed() < GOODBYE {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(if member.leaving.load(Ordering::Acquire) { End::NextEpoch } else { End::Stopped })
}

/// Makes sure that no other process runs, or is accepted, on this store: both would vote, each from its own memory.
///
/// # Errors
/// Another one does, or the system refuses.
pub(crate) fn alone(data: &Path) -> Result<File, RunError> {
    lock(data).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => RunError::Running(data.into()),
        _ => error.into(),
    })
}

/// Reads a network file of which the operator approved the hash.
///
/// # Errors
/// It cannot be read, is another, or breaks a rule.
pub fn read_network(path: &Path, approved: &Hash) -> Result<NetworkFile, BadNetwork> {
    let unread = |reason: String| BadNetwork::Read(format!("{}: {reason}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| unread(error.to_string()))?.len();
    if length > MAX_NETWORK_FILE as u64 {
        return Err(unread("too large".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| unread(error.to_string()))?;
    let file = NetworkFile::from_bytes(&bytes).map_err(|error| unread(error.to_string()))?;
    if file.hash() != *approved {
        return Err(BadNetwork::Hash { found: hex(&file.hash()), approved: hex(approved) });
    }
    check_verifiers(&file)?;
    Ok(file)
}

/// The newest epoch with the member whose identity the token holds, and its entry, which must name the token's keys.
///
/// # Errors
/// The identity is no member's, or another key is named; the device fails.
pub fn own_place(configs: &Configs, device: &mut dyn Device) -> Result<(Known, MemberKeys), RunError> {
    let identity = device.identity()?;
    let epoch = configs.own(&identity).ok_or(BadNetwork::Stranger)?;
    let own = epoch.config.member_of(&identity).ok_or(BadNetwork::Stranger)?;
    let attempt = attempt_of(&epoch.config);
    let keys = device.epoch_keys(attempt)?.ok_or(DeviceError::NoKeys(attempt))?;
    if keys.consensus != own.consensus {
        return Err(BadNetwork::OtherKey("consensus").into());
    }
    if keys.envelope != own.envelope {
        return Err(BadNetwork::OtherKey("envelope").into());
    }
    Ok((epoch.clone(), own.clone()))
}

pub(crate) fn gate(token: &Token) -> Result<(), RunError> {
    let report = torus_hsm::conformance(token);
    if report.passed() {
        return Ok(());
    }
    let failures: Vec<String> = report.failures().map(|check| format!("{} ({})", check.name, check.detail)).collect();
    Err(RunError::Gate(failures.join("; ")))
}

pub(crate) fn open_device(token: &Token) -> Result<Box<dyn Device>, RunError> {
    Ok(Box::new(SealedDevice::new(token.session()?)))
}

/// Pins the network at the first start; later another is refused.
fn take_up(store: &Store, audit: &Journal, network: &Hash, config: &EpochConfig) -> Result<(), RunError> {
    let pinned = store.read(|view| Ok::<_, StoreError>(view.get(store.meta(), NETWORK)?.map(<[u8]>::to_vec)))?;
    match pinned {
        Some(pinned) if pinned == network => Ok(()),
        Some(pinned) => Err(RunError::OtherNetwork(hex(&pinned))),
        None => Ok(audit.write(|change| {
            change.put(store.meta(), NETWORK, network)?;
            Guards::mark_epoch(change, store)?;
            let (epoch, config) = (config.committee().epoch, config.hash());
            audit.append(change, Event::Epoch { epoch, network: *network, config }).map(|_| ())
        })?),
    }
}

/// Who the vault is, and in which epoch.
struct Place {
    network: Hash,
    epoch: Known,
    own: MemberKeys,
    configs: Configs,
    verifiers: Vec<Verifier>,
    room: usize,
}

fn open_member(
    place: Place,
    (store, audit, subjects): (&Store, Arc<Journal>, SubjectKey),
    boot: &Boot,
    pool: Pool,
) -> Result<Member, RunError> {
    let Place { network, epoch: Known { config, since, .. }, own, configs, verifiers, room } = place;
    let keeper = Timekeeper::new(store.clone(), config.committee().times, since, clock::system)?;
    Ok(Member {
        network,
        index: own.index,
        identity: own.identity,
        attempt: attempt_of(&config),
        verifiers,
        store: store.clone(),
        chain: Chain::open(store, configs, config.clone(), own.identity, audit.clone())?,
        keys: own,
        audit,
        subjects,
        keeper,
        behind: boot.standing == Standing::Behind,
        held: freeze::held(store)?.is_some().into(),
        leaving: AtomicBool::new(false),
        health: Health::default(),
        config,
        pool,
        room,
    })
}

/// The device's name of a config's epoch and attempt.
pub(crate) fn attempt_of(config: &EpochConfig) -> EpochAttempt {
    EpochAttempt { epoch: config.committee().epoch, attempt: config.keys().attempt }
}

fn tell(member: &Member, boot: &Boot) {
    let (index, height) = (member.index, member.chain.stand().height);
    crate::info!("member {index} of {}, start {}, height {height}", member.config.committee().network, boot.counter);
    match boot.standing {
        Standing::Sound { clean: true } => {}
        Standing::Sound { clean: false } => {
            crate::warning!(
                "the last stop was not clean: tokens and receipts wait until the guards of this start pass"
            );
        }
        Standing::Behind => crate::alarm!(
            "the store is behind the token's counter (lost, restored or rolled back): this vault does not vote, commit \
             or release. See `torus-vault accept-store`"
        ),
    }
    if let Ok(Some(reason)) = freeze::held(&member.store) {
        crate::alarm!("frozen by its operator ({reason}): no receipts and no releases until `torus-vault unfreeze`");
    }
    if let Ok(extent) = member.audit.extent()
        && member.audit.filled(&extent) >= 50
    {
        crate::warning!(
            "the audit log's room is {} % used: `audit export`, then `audit prune`",
            member.audit.filled(&extent)
        );
    }
    if let Ok(Some(reason)) = advance::frozen(&member.store) {
        crate::alarm!("this vault has stopped: {reason}. It does not vote, commit or release");
    }
}

/// Whether one batch of the network's has room for its secrets.
fn has_room(config: &EpochConfig, generation: Pool) -> Result<(), RunError> {
    let committee = config.committee();
    let need = torus_protocol::room(committee.sizes, committee.buffer.batch.into());
    let have = generation.capacity();
    if need <= have { Ok(()) } else { Err(RunError::Room { need: need >> 10, have: have >> 10 }) }
}

/// What the workers' requests run on.
struct Stacks {
    votes: Stack,
    keys: Stack,
    users: [Stack; 2],
}

/// Where the vault is spoken to.
struct Doors<'a> {
    node: &'a UnixListener,
    node_uid: u32,
    operator: Operator,
    stop: &'a OwnedFd,
}

fn serve(
    member: &Arc<Member>,
    token: &Token,
    boot: &Boot,
    limits: &Limits,
    doors: Doors<'_>,
    (stacks, generation): (Stacks, Pool),
    locked: &mut Locked,
) -> Result<JoinHandle<()>, RunError> {
    let Doors { node, node_uid, operator, stop } = doors;
    let own = member.clone();
    // Not waited for at the end: it holds nothing that a stop has to finish.
    thread::Builder::new().name("operator".to_owned()).spawn(move || operator.attend(&own))?;

    let (queues, ends) = Queues::new();
    let (writer, outgoing) = sync_channel(OUTGOING);
    let writing = thread::Builder::new().name("answers".to_owned()).spawn(move || write_all(&outgoing))?;
    let mut workers = Vec::new();

    let (own, session) = (member.clone(), token.clone());
    workers.push(one_by_one("votes", stacks.votes, ends.votes, move || {
        let voter = Voter::new(own.clone(), open_device(&session)?)?;
        Ok::<_, RunError>(Votes { member: own.clone(), voter })
    })?);

    let (own, session, counter) = (member.clone(), token.clone(), boot.counter);
    // A store that is an old copy does not know what it took part in: neither its height nor its records say.
    let start_height = match boot.standing {
        Standing::Behind => u64::MAX,
        Standing::Sound { .. } => {
            let accepted = voting::from_height(&member.store)?.saturating_sub(1);
            member.chain.stand().height.max(accepted)
        }
    };
    workers.push(in_slices("keys", stacks.keys, ends.generation, move || {
        let mut device = open_device(&session)?;
        let rng = Box::new(randomness::seeded(device.as_mut(), counter, generation)?);
        let (config, store) = (own.config.clone(), own.store.clone());
        let shares = ShareStore::new(&store, own.pool)?;
        let audit = own.audit.clone();
        let setup = Setup { config, me: own.index, device, store, audit, rng, start_height, pool: generation };
        let keygen = Keygen::start(setup).map_err(RunError::Keygen)?;
        Ok::<_, RunError>(Generation::new(own.clone(), keygen, shares)?)
    })?);

    let budget = Arc::new(Budget::new(limits.commits));
    for stack in stacks.users {
        let (own, session, budget, limits) = (member.clone(), token.clone(), budget.clone(), *limits);
        workers.push(by_group("users", stack, ends.users.clone(), move || {
            let mut device = open_device(&session)?;
            let rng = randomness::seeded(device.as_mut(), counter, own.pool)?;
            let records = Records {
                commits: Commits::open(&own.store, &own.config.committee().times)?,
                owners: Owners::open(&own.store)?,
                quotas: Quotas::open(&own.store, limits, own.verifiers.len())?,
            };
            let shares = ShareStore::new(&own.store, own.pool)?;
            Ok::<_, RunError>(Users { member: own.clone(), device, rng, records, shares, budget: budget.clone() })
        })?);
    }
    drop(ends.users);

    let server = Server { member: member.clone(), node_uid, queues, writer };
    crate::info!("serving the node of uid {node_uid}");
    locked.ready()?;
    let served = server.run(node, stop);
    // Without a queue the workers finish what they have and end; then nobody can answer, and the writer ends once the
    // node has taken what there is.
    drop(server);
    for worker in workers {
        let _ = worker.join();
    }
    served?;
    Ok(writing)
}
