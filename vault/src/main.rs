//! The vault's command: makes a member, runs its vault, says how it is. It takes no PIN from arguments or environment.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use torus_hsm::{TokenConfig, TokenError};
use torus_policies::{Landlock, Role, User, begin};
use torus_statement::receipt::unhex;
use torus_statement::text::NetworkName;
use torus_statement::{Hash, Index};
use torus_vault::accept::accept;
use torus_vault::approve::{Proposal, approve, withdraw};
use torus_vault::audit::command::{self, Audit, Who};
use torus_vault::descriptors::{SOCKET, listener, stop_signal};
use torus_vault::doctor::{Patient, doctor};
use torus_vault::freeze::{Word, say};
use torus_vault::init::{Ceremony, init};
use torus_vault::limits::{Set, in_force};
use torus_vault::prove;
use torus_vault::run::{End, Options, RunError, run};
use torus_vault::strongroom::Strongroom;
use torus_vault::trust::trust;

/// The exit code of a refused PIN: `RestartPreventExitStatus=3` in a unit file.
const WRONG_PIN: u8 = 3;
/// The exit code of a vault that has taken up the next epoch: start it again, as every unit file does.
const NEXT_EPOCH: u8 = 4;

/// Holds a member's shares and releases them to their users only.
#[derive(Parser)]
#[command(name = "torus-vault", version)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes a new member: keys in the token, key certificate, public member file. Runs once.
    Init(Init),
    /// Runs the vault on the socket that the launcher passes as descriptor 3 (LISTEN_FDS=1).
    Run(Run),
    /// Checks token, store, network file, clock and disk.
    Doctor(Doctor),
    /// Approves a network by the hash of its network file, once, before the vault first runs in it. Compare the hash with
    /// the other operators over another channel.
    Trust(Trust),
    /// Shows how the committee of the next epoch differs from the one in force and, given its hash, approves it. Compare
    /// the hash with the other operators over another channel. The vault takes up no committee without it.
    ApproveEpoch(Approve),
    /// Takes the approval of a committee back.
    WithdrawEpoch(Running),
    /// Takes a store for the truth that is behind its token, or that stopped. The vault votes from the given height on,
    /// which must be above everything that the network has voted on: ask the other operators.
    AcceptStore(Accept),
    /// Stops receipts and releases of the running vault, durably, whatever its node does. It goes on voting.
    Freeze(Freeze),
    /// Lets a frozen vault serve again.
    Unfreeze(Running),
    /// One attempt of `doctor --prove`.
    #[command(name = prove::VERB, hide = true)]
    Attempt(Try),
    /// The audit log: take a copy, verify it, list it, remove what a copy proves.
    #[command(subcommand)]
    Audit(AuditVerb),
}

#[derive(Subcommand)]
enum AuditVerb {
    #[command(flatten)]
    Copies(Audit),
    /// Which releases the log has of a user: only this vault's token can tell.
    Who(AuditWho),
}

#[derive(Args)]
struct Place {
    /// The vault's own directory.
    #[arg(long)]
    data: PathBuf,
    /// The PKCS#11 module.
    #[arg(long)]
    module: PathBuf,
    /// The token's label.
    #[arg(long)]
    token_label: String,
    /// A file with the token's PIN, mode 600; /dev/fd/N for a descriptor that the launcher passes on.
    #[arg(long)]
    pin_file: PathBuf,
}

#[derive(Args)]
struct Init {
    #[command(flatten)]
    place: Place,
    /// The network's name.
    #[arg(long, value_parser = network)]
    network: NetworkName,
    /// The member's index, from 1.
    #[arg(long, value_parser = index)]
    index: Index,
    /// The node's p2p key, 64 hex digits, as `torus-node init` prints it.
    #[arg(long, value_parser = hash)]
    p2p_key: Hash,
    /// Where the public member file goes.
    #[arg(long)]
    out: PathBuf,
    /// Make the token first, on a free slot of the module (for SoftHSM; a device has its maker's ceremony).
    #[arg(long, requires = "so_pin_file")]
    create_token: bool,
    /// A file with the security officer's PIN, mode 600.
    #[arg(long, requires = "create_token")]
    so_pin_file: Option<PathBuf>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    place: Place,
    /// The network file: the one whose hash was approved by `torus-vault trust`.
    #[arg(long)]
    network_file: PathBuf,
    /// The uid of the node's process.
    #[arg(long)]
    node_uid: u32,
    /// Releases an hour in all, of one verifier, of one key, and what of all is reserved for each verifier; hundredths
    /// of every second that receipts and repeated releases may take of the device:
    /// all=100000,verifier=50000,key=20,reserved=1000,commits=66 by default. What is not named is the file's to say.
    #[arg(long)]
    limits: Option<Set>,
    /// The same in a file, `name = number` a line, `#` before remarks. What is not named keeps its default.
    #[arg(long)]
    limits_file: Option<PathBuf>,
    /// The directory in which a software token (SoftHSM) keeps its objects. The module may then work on files, there and
    /// nowhere else; without it, it can open nothing after the start.
    #[arg(long)]
    token_dir: Option<PathBuf>,
    /// The user to become, if root starts the vault: before anything is opened, so all files must be his.
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// His group.
    #[arg(long, requires = "uid")]
    gid: Option<u32>,
    /// Start without Landlock where the kernel has none (it needs Linux 6.7). The log tells at every start.
    #[arg(long)]
    without_landlock: bool,
}

#[derive(Args)]
struct Trust {
    /// The vault's own directory.
    #[arg(long)]
    data: PathBuf,
    /// 64 hex digits.
    #[arg(value_parser = hash)]
    network: Hash,
}

#[derive(Args)]
struct Approve {
    /// The vault's own directory.
    #[arg(long)]
    data: PathBuf,
    /// The network file.
    #[arg(long)]
    network_file: PathBuf,
    /// The committee part of the next epoch's config.
    #[arg(long)]
    committee: PathBuf,
    /// 64 hex digits; without it the committee is only shown.
    #[arg(value_parser = hash)]
    approved: Option<Hash>,
}

#[derive(Args)]
struct Running {
    /// The vault's own directory.
    #[arg(long)]
    data: PathBuf,
}

#[derive(Args)]
struct Freeze {
    #[command(flatten)]
    vault: Running,
    /// Why, for the log.
    #[arg(long, default_value = "no reason given")]
    reason: String,
}

#[derive(Args)]
struct Doctor {
    #[command(flatten)]
    place: Place,
    /// The network file, once there is one.
    #[arg(long)]
    network_file: Option<PathBuf>,
    /// The file of limits, if the vault is started with one.
    #[arg(long)]
    limits_file: Option<PathBuf>,
    /// Proves the lockdown on this host, too, and looks at the threads of the vault that runs.
    #[arg(long)]
    prove: bool,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Try {
    name: String,
    /// Under whose lockdown; without one where none is named.
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    #[arg(long, requires = "uid")]
    gid: Option<u32>,
}

#[derive(Args)]
struct Accept {
    #[command(flatten)]
    place: Place,
    /// The first height that the vault may vote at.
    #[arg(long)]
    from_height: u64,
}

#[derive(Args)]
struct AuditWho {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    who: Who,
}

fn main() -> ExitCode {
    match Command::parse().verb {
        Verb::Init(args) => said(make(args)),
        Verb::Run(args) => match serve(args) {
            Ok(End::Stopped) => ExitCode::SUCCESS,
            Ok(End::NextEpoch) => ExitCode::from(NEXT_EPOCH),
            Err(error) => {
                torus_vault::alarm!("{error}");
                // A supervisor must not try again: the next wrong PIN may lock the token.
                let pin =
                    matches!(error, RunError::Token(TokenError::PinRefused { .. } | TokenError::PinLocked { .. }));
                if pin { ExitCode::from(WRONG_PIN) } else { ExitCode::FAILURE }
            }
        },
        Verb::Doctor(args) => look(args),
        Verb::Attempt(Try { name, role, uid, gid }) => match User::from_args(uid, gid) {
            Ok(user) => prove::attempt(role, user, &name),
            Err(error) => said(Err::<String, _>(error)),
        },
        Verb::Trust(Trust { data, network }) => said(trust(&data, &network)),
        Verb::ApproveEpoch(Approve { data, network_file, committee, approved }) => {
            said(approve(&Proposal { data, network_file, committee, approved }))
        }
        Verb::WithdrawEpoch(vault) => said(withdraw(&vault.data)),
        Verb::Freeze(Freeze { vault, reason }) => said(say(&vault.data, &Word::Freeze(reason))),
        Verb::Unfreeze(vault) => said(say(&vault.data, &Word::Unfreeze)),
        Verb::Audit(AuditVerb::Copies(verb)) => said(command::run(verb)),
        Verb::Audit(AuditVerb::Who(AuditWho { place, who })) => {
            let (data, token, pin_file) = place.parts();
            said(command::who(&data, &token, &pin_file, &who))
        }
        Verb::AcceptStore(Accept { place, from_height }) => {
            let (data, token, pin_file) = place.parts();
            said(
                accept(&data, &token, &pin_file, from_height)
                    .map(|()| format!("accepted; the vault votes from height {from_height} on. Start it.")),
            )
        }
    }
}

fn make(args: Init) -> Result<String, torus_vault::init::InitError> {
    let Init { place, network, index, p2p_key, out, so_pin_file, .. } = args;
    let (data, token, pin_file) = place.parts();
    let shown = out.display().to_string();
    let certificate = init(&Ceremony { data, token, pin_file, so_pin_file, network, index, p2p: p2p_key, out })?;
    let print = certificate.keys.fingerprint_text();
    Ok(format!(
        "member {index} made; {shown} is public. Its fingerprint, to compare over another channel:\n  {print}\n\
         Next: give the file to whoever runs `torus-node genesis`. `torus-node show` of the network file must print this \
         fingerprint for member {index}, and for each other member what its operator reads to you; then approve the file by \
         `torus-vault trust HASH`."
    ))
}

fn serve(args: Run) -> Result<End, RunError> {
    let mut start = begin(&[SOCKET])?;
    let room = Strongroom::lock(&mut start)?;
    let user = User::from_args(args.uid, args.gid).map_err(RunError::User)?;
    let process = start.become_user(user)?;
    // Before anything is opened or any thread started: the descriptor is ours, and threads inherit the signal mask.
    let (listener, stop) = (listener()?, stop_signal()?);
    let (data, token, pin_file) = args.place.parts();
    let Run { network_file, node_uid, limits, limits_file, token_dir, without_landlock, .. } = args;
    let limits = in_force(limits.as_ref(), limits_file.as_deref())?;
    let landlock = if without_landlock { Landlock::Without } else { Landlock::Required };
    let options = Options { data, token, token_dir, pin_file, network_file, node_uid, limits, landlock };
    run(&options, &listener, &stop, process, room)
}

fn look(args: Doctor) -> ExitCode {
    let (data, token, pin_file) = args.place.parts();
    let Doctor { network_file, limits_file, .. } = args;
    let mut found = doctor(&Patient { data: data.clone(), token, pin_file, network_file, limits_file });
    if args.prove {
        prove::prove(&mut found, &data);
    }
    print!("{}", if args.json { found.json() } else { found.text() });
    if found.healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said<E: std::fmt::Display>(result: Result<String, E>) -> ExitCode {
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("torus-vault: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Place {
    fn parts(self) -> (PathBuf, TokenConfig, PathBuf) {
        (self.data, TokenConfig { module: self.module, label: self.token_label }, self.pin_file)
    }
}

fn network(text: &str) -> Result<NetworkName, &'static str> {
    NetworkName::new(text).ok_or("1 to 32 of a-z 0-9 . _ -")
}

fn index(text: &str) -> Result<Index, &'static str> {
    text.parse().ok().and_then(Index::new).ok_or("1 to 255")
}

fn role(text: &str) -> Result<Role, &'static str> {
    Role::ALL.into_iter().find(|role| role.filter_name() == text).ok_or("no such role")
}

fn hash(text: &str) -> Result<Hash, &'static str> {
    unhex(text).ok_or("64 lower-case hex digits")
}
