//! Arguments, and what is printed.

mod output;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use torus_client::{Client, Error, Http, Login, Network, Options, Timeouts, Token};
use torus_statement::text::{VerifierId, VerifierName};
use zeroize::Zeroizing;

/// No token and no network file is longer.
const LARGEST_FILE: u64 = 1 << 20;

/// Logs in to a Torus network and rebuilds the user's key.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 this machine, 2 arguments or network file, 3 refused, 4 too few members, \
                  5 answers do not fit, 6 no key yet"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Log in with an id token and rebuild the key.
    Login(LoginArguments),
    /// Show a user's public key, proven by the network.
    Lookup(UserArguments),
    /// Have a key assigned to a user, if he has none.
    Assign(UserArguments),
}

#[derive(Args)]
struct Common {
    /// The network's description (network.json).
    #[arg(long, value_name = "FILE")]
    network: PathBuf,
    /// The verifier.
    #[arg(long, value_name = "NAME")]
    verifier: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The hash of the network's founding file, to pin it.
    #[arg(long, value_name = "HEX")]
    genesis: Option<String>,
    /// Seconds to wait for one member.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout: u64,
    /// Certificate authorities for https (PEM); the system's if absent.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Args)]
struct UserArguments {
    #[command(flatten)]
    common: Common,
    /// The user's id under the verifier.
    #[arg(long, value_name = "ID")]
    id: String,
}

#[derive(Args)]
struct LoginArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    source: Source,
    /// The user's id, if the network's files do not tell which claim names him.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Print the private key.
    #[arg(long)]
    show_key: bool,
    /// Write the private key to a new file that only you can read.
    #[arg(long, value_name = "FILE", conflicts_with = "show_key")]
    key_out: Option<PathBuf>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The id token. Other users of this machine can see it: prefer --token-file.
    #[arg(long)]
    token: Option<String>,
    /// A file that holds the id token; - for standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A user of a devnet, whose token its issuer mints: NAME is NAME@example.com.
    #[arg(long, value_name = "NAME")]
    demo_user: Option<String>,
}

/// Does what was asked and says how it ended.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let common = match &arguments.verb {
        Verb::Login(login) => &login.common,
        Verb::Lookup(user) | Verb::Assign(user) => &user.common,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(execute(&arguments.verb, common)),
        Err(e) => Err(Error::Local(format!("cannot start: {e}"))),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("torus: {error}");
            if common.json {
                println!("{}", output::error(&error));
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Local(_) => 1,
        Error::Network(_) => 2,
        Error::Token(_) | Error::Refused(..) => 3,
        Error::TooFew { .. } => 4,
        Error::Mismatch(_) => 5,
        Error::Unassigned => 6,
    }
}

async fn execute(verb: &Verb, common: &Common) -> Result<String, Error> {
    let started = Instant::now();
    let network = Network::parse(&read(&common.network)?)?;
    let verifier =
        VerifierName::new(&common.verifier).ok_or_else(|| Error::Network("the verifier's name is not valid".into()))?;
    let genesis = common.genesis.as_deref().map(hash).transpose()?;
    let timeouts = Timeouts { whole: Duration::from_secs(common.timeout.max(1)), ..Timeouts::default() };
    let options = Options { timeouts, genesis, authorities: common.ca.clone(), ..Options::default() };
    let mint = network.mint.clone();
    let client = Client::new(network, options)?;
    match verb {
        Verb::Lookup(user) => {
            let id = user_id(&user.id)?;
            let (key, trust) = client.lookup(&verifier, &id).await?;
            Ok(output::key(common.json, &verifier, &id, &key, false, trust))
        }
        Verb::Assign(user) => {
            let id = user_id(&user.id)?;
            let (key, new, trust) = client.assign(&verifier, &id).await?;
            Ok(output::key(common.json, &verifier, &id, &key, new, trust))
        }
        Verb::Login(login) => {
            let text = token(&login.source, mint.as_deref(), common).await?;
            let id = login.id.as_deref().map(user_id).transpose()?;
            let done = client.login(&verifier, Token::normalise(&text)?, id).await?;
            if let Some(path) = &login.key_out {
                write_key(path, &done)?;
            }
            Ok(output::login(
                common.json,
                login.show_key,
                login.key_out.as_deref(),
                &verifier,
                &done,
                started.elapsed(),
            ))
        }
    }
}

fn user_id(text: &str) -> Result<VerifierId, Error> {
    VerifierId::new(text)
        .ok_or_else(|| Error::Token("the user's id is empty, too long or holds control characters".into()))
}

fn hash(text: &str) -> Result<[u8; 32], Error> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).map_err(|_| Error::Network("--genesis takes 64 hex digits".into()))?;
    Ok(hash)
}

async fn token(source: &Source, mint: Option<&str>, common: &Common) -> Result<Zeroizing<String>, Error> {
    if let Some(token) = &source.token {
        return Ok(Zeroizing::new(token.clone()));
    }
    if let Some(path) = &source.token_file {
        let text = if path.as_os_str() == "-" { bounded(std::io::stdin(), path)? } else { read(path)? };
        return String::from_utf8(text).map(Zeroizing::new).map_err(|_| Error::Token("it is not text".into()));
    }
    let user = source.demo_user.as_deref().unwrap_or_default();
    let mint = mint.ok_or_else(|| Error::Network("it names no mint, which --demo-user needs".into()))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    if user.is_empty() || !user.chars().all(plain) {
        return Err(Error::Token("--demo-user takes letters, digits, dots, dashes and @".into()));
    }
    let email = if user.contains('@') { user.to_owned() } else { format!("{user}@example.com") };
    let http = Http::new(Timeouts::default(), common.ca.as_deref())?;
    http.mint(&format!("{mint}{email}")).await
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let file = std::fs::File::open(path).map_err(|e| Error::Local(format!("cannot open {}: {e}", path.display())))?;
    bounded(file, path)
}

fn bounded(source: impl Read, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = source.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::Local(format!("cannot read {}: {e}", path.display())))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Error::Local(format!("{} is too long", path.display())));
    }
    Ok(bytes)
}

/// The key goes into a file that was not there before, so that nothing is overwritten and nobody has it open.
fn write_key(path: &Path, login: &Login) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |e: std::io::Error| Error::Local(format!("cannot write {}: {e}", path.display()));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(failed)?;
    file.write_all(login.private.to_hex().as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
}
