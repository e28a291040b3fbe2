//! Founding: the node's p2p key, and the network's file from what the members' vaults certified.
//!
//! Nothing here needs a running network, and nothing is trusted for being in a file: every certificate is verified
//! again, and every operator approves the file's hash on his vault's host. Existing files are never overwritten.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod jwks;
#[cfg(test)]
mod tests;
mod verifiers;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use serde::Deserialize;
use torus_mapping::{Failed, genesis_root};
use torus_statement::config::{Buffer, Endpoint, Member, chain_id};
use torus_statement::keycert::Residency;
use torus_statement::network::MAX_NETWORK_FILE;
use torus_statement::policy::Policy;
use torus_statement::text::NetworkName;
use torus_statement::{
    Committee, EpochConfig, Index, KeyCertificate, KeyPart, NetworkFile, Sizes, TimeConstants, Wire,
};

use crate::place::Place;

/// The file of the p2p key in a node's data directory: 32 bytes, readable by its owner alone.
pub const P2P_KEY: &str = "p2p.key";
/// Most bytes of a member's file or the verifiers' file.
const MAX_INPUT: u64 = 1 << 20;
/// Published batches with unassigned keys that a low-water mark may lead to.
const MAX_BATCHES: u32 = 4096;
const DAY: u64 = 86_400_000;

/// Why founding stops. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// A file cannot be read, or is too large.
    #[error("cannot read {0}: {1}")]
    Read(String, String),
    /// A file cannot be written.
    #[error("cannot write {0}: {1}")]
    Write(String, std::io::Error),
    /// The node has a key already: a second one would strand its vault's certificate.
    #[error("{0} exists: this node was initialised before; its key is named by its vault's certificate")]
    Initialised(String),
    /// The key's file is readable by others.
    #[error("{0} is readable by others: chmod 600 it, and consider its key known to them")]
    Permissions(String),
    /// The key's file does not hold 32 bytes.
    #[error("{0} does not hold a p2p key of 32 bytes")]
    Key(String),
    /// No randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(String),
    /// An argument is not what it must be.
    #[error("{0}")]
    Argument(String),
    /// A member's file is not one, or does not belong to this network.
    #[error("{0}: {1}")]
    Member(String, String),
    /// A verifier is not acceptable.
    #[error("verifier {0}: {1}")]
    Verifier(String, String),
    /// The parts do not make a config.
    #[error(transparent)]
    Config(#[from] torus_statement::config::BadConfig),
    /// The genesis state cannot be computed.
    #[error(transparent)]
    State(#[from] Failed),
}

/// `torus-node genesis`: makes the network's file from the members' files.
#[derive(Clone, Debug, clap::Args)]
pub struct GenesisArgs {
    /// The network's name: 1 to 32 of a-z 0-9 . _ -
    #[arg(long)]
    pub network: String,
    /// Where the network's file goes; it must not exist.
    #[arg(long)]
    pub out: PathBuf,
    /// The verifiers' file: whose logins the network takes.
    #[arg(long)]
    pub verifiers: PathBuf,
    /// n,k,t: members, shares that reconstruct, faulty members tolerated.
    #[arg(long)]
    pub sizes: String,
    /// Keys that are generated at a time, 1 to 256.
    #[arg(long, default_value_t = 128)]
    pub batch: u16,
    /// Below this many unassigned keys the next batch is generated.
    #[arg(long, default_value_t = 512)]
    pub low_water: u32,
    /// Days until the first epoch's end.
    #[arg(long, default_value_t = 365)]
    pub end_days: u32,
    /// A member's addresses: INDEX=URL,MULTIADDR,MULTIADDR of its interface, its envelopes and its engine. One each.
    #[arg(long = "endpoint")]
    pub endpoints: Vec<String>,
    /// The members' files, as `torus-vault init` wrote them.
    #[arg(required = true)]
    pub members: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberFile {
    version: u32,
    network: String,
    index: u8,
    identity: String,
    certificate: String,
    /// For the operators' eyes: what counts is the certificate.
    #[serde(default)]
    #[allow(dead_code)]
    fingerprint: String,
}

/// Makes the node's p2p key in its data directory and returns the public key, hex.
pub fn init(data: &Path) -> Result<String, GenesisError> {
    let path = data.join(P2P_KEY);
    let name = path.display().to_string();
    fs::create_dir_all(data).map_err(|e| GenesisError::Write(data.display().to_string(), e))?;
    let mut seed = [0; 32];
    getrandom::getrandom(&mut seed).map_err(|e| GenesisError::Randomness(e.to_string()))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => GenesisError::Initialised(name.clone()),
        _ => GenesisError::Write(name.clone(), e),
    })?;
    let written = file.write_all(&seed).and_then(|()| file.sync_all()).and_then(|()| File::open(data)?.sync_all());
    written.map_err(|e| GenesisError::Write(name, e))?;
    Ok(hex::encode(SigningKey::from_bytes(&seed).verifying_key().as_bytes()))
}

/// Reads the node's p2p key; one that others can read is refused.
pub fn load_p2p_key(data: &Path) -> Result<SigningKey, GenesisError> {
    let path = data.join(P2P_KEY);
    let name = path.display().to_string();
    let metadata = fs::metadata(&path).map_err(|e| GenesisError::Read(name.clone(), e.to_string()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(GenesisError::Permissions(name));
    }
    let bytes = read(&path, 32)?;
    let seed: [u8; 32] = bytes.try_into().map_err(|_| GenesisError::Key(name))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Makes the network's file at a time (milliseconds since 1970) and returns what to tell the operator.
pub fn genesis(args: &GenesisArgs, now: u64) -> Result<String, GenesisError> {
    let file = assemble(args, now)?;
    let bytes = file.to_bytes();
    if bytes.len() > MAX_NETWORK_FILE {
        return Err(GenesisError::Argument(format!("the network's file would be above {MAX_NETWORK_FILE} bytes")));
    }
    let written = OpenOptions::new().write(true).create_new(true).open(&args.out).and_then(|mut out| {
        out.write_all(&bytes)?;
        out.sync_all()
    });
    written.map_err(|e| GenesisError::Write(args.out.display().to_string(), e))?;
    Ok(describe(&file))
}

/// Describes a network's file.
pub fn show(path: &Path) -> Result<String, GenesisError> {
    Ok(describe(&load(path)?))
}

/// Reads a network's file and verifies what can be verified without knowing its hash.
pub fn load(path: &Path) -> Result<NetworkFile, GenesisError> {
    let bytes = read(path, MAX_NETWORK_FILE as u64)?;
    NetworkFile::from_bytes(&bytes).map_err(|e| GenesisError::Read(path.display().to_string(), e.to_string()))
}

fn assemble(args: &GenesisArgs, now: u64) -> Result<NetworkFile, GenesisError> {
    let network = NetworkName::new(&args.network)
        .ok_or_else(|| GenesisError::Argument("--network: 1 to 32 of a-z 0-9 . _ -".into()))?;
    let sizes = sizes(&args.sizes)?;
    let buffer = buffer(args)?;
    let times = TimeConstants::DEFAULT;
    let verifiers = verifiers::parse(&read(&args.verifiers, MAX_INPUT)?, &times)?;
    let certificates = members(&args.members, &network, sizes)?;
    let endpoints = endpoints(&args.endpoints, sizes)?;
    let members =
        certificates.iter().map(|c| Member { identity: c.keys.identity, residency: c.keys.residency }).collect();
    let committee = Committee {
        chain: chain_id(&network, now),
        network,
        epoch: 1,
        predecessor: [0; 32],
        sizes,
        members,
        end: now.saturating_add(u64::from(args.end_days).saturating_mul(DAY)),
        times,
        buffer,
        genesis_time: now,
        genesis_root: genesis_root(&verifiers)?,
    };
    let config = EpochConfig::new(committee, KeyPart { attempt: 0, certificates, endpoints })?;
    Ok(NetworkFile { config, verifiers })
}

fn sizes(text: &str) -> Result<Sizes, GenesisError> {
    let bad = || GenesisError::Argument("--sizes: n,k,t, for example 5,3,1".into());
    let numbers = text.split(',').map(|number| number.trim().parse::<u8>().ok()).collect::<Option<Vec<_>>>();
    let &[n, k, t] = numbers.as_deref().ok_or_else(bad)? else { return Err(bad()) };
    Sizes::new(n, k, t).map_err(|e| GenesisError::Argument(format!("--sizes {text}: {e}")))
}

fn buffer(args: &GenesisArgs) -> Result<Buffer, GenesisError> {
    if !(1..=256).contains(&args.batch) {
        return Err(GenesisError::Argument("--batch: 1 to 256 keys".into()));
    }
    if args.low_water == 0 || args.low_water.div_ceil(u32::from(args.batch)) > MAX_BATCHES {
        return Err(GenesisError::Argument(format!("--low-water: 1 to {MAX_BATCHES} batches' keys")));
    }
    if args.end_days == 0 {
        return Err(GenesisError::Argument("--end-days: at least 1".into()));
    }
    Ok(Buffer { batch: args.batch, low_water: args.low_water })
}

/// The certificates of members 1..n, in order; the files may come in any.
fn members(paths: &[PathBuf], network: &NetworkName, sizes: Sizes) -> Result<Vec<KeyCertificate>, GenesisError> {
    if paths.len() != sizes.n() {
        return Err(GenesisError::Argument(format!("{} members' files are needed, {} came", sizes.n(), paths.len())));
    }
    let mut certificates: Vec<KeyCertificate> = Vec::new();
    for path in paths {
        let bad = |why: String| GenesisError::Member(path.display().to_string(), why);
        let certificate = member(&read(path, MAX_INPUT)?, network, sizes).map_err(bad)?;
        let index = certificate.keys.index;
        if certificates.iter().any(|other| other.keys.index == index) {
            return Err(bad(format!("another file is of member {index} too")));
        }
        certificates.push(certificate);
    }
    certificates.sort_by_key(|certificate| certificate.keys.index);
    Ok(certificates)
}

/// The certificate in a member's file, if the file is of this network's first epoch.
fn member(json: &[u8], network: &NetworkName, sizes: Sizes) -> Result<KeyCertificate, String> {
    let file: MemberFile = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if file.version != 1 {
        return Err("its version is not 1".into());
    }
    let bytes = hex::decode(&file.certificate).map_err(|_| "its certificate is not hex")?;
    let certificate = KeyCertificate::from_bytes(&bytes).map_err(|e| format!("its certificate: {e}"))?;
    let keys = &certificate.keys;
    if keys.network != *network || file.network != network.as_str() {
        return Err(format!("it was made for network {}", keys.network));
    }
    if sizes.member(keys.index.get()).is_none() || file.index != keys.index.get() {
        return Err(format!("its index is {}, of {} members", keys.index, sizes.n()));
    }
    let identity = [hex::encode(keys.identity.to_compressed()), hex::encode(keys.identity.to_xy())];
    if !identity.contains(&file.identity.to_ascii_lowercase()) {
        return Err("its identity is not that of its certificate".into());
    }
    if (keys.epoch, keys.attempt) != (1, 0) {
        return Err("its keys are not for the first epoch".into());
    }
    if !certificate.verifies() {
        return Err("its certificate does not verify".into());
    }
    Ok(certificate)
}

fn endpoints(texts: &[String], sizes: Sizes) -> Result<Vec<Endpoint>, GenesisError> {
    let mut found: Vec<(Index, Endpoint)> = Vec::new();
    for text in texts {
        let bad = |why: &str| GenesisError::Argument(format!("--endpoint {text}: {why}"));
        let (index, rest) = text.split_once('=').ok_or_else(|| bad("INDEX=URL,MULTIADDR,MULTIADDR"))?;
        let index = index.parse().ok().and_then(|index| sizes.member(index)).ok_or_else(|| bad("no such member"))?;
        let &[http, p2p, bft] = &rest.split(',').collect::<Vec<_>>()[..] else {
            return Err(bad("INDEX=URL,MULTIADDR,MULTIADDR"));
        };
        if !http.starts_with("http://") && !http.starts_with("https://") {
            return Err(bad("the first is not an http URL"));
        }
        for address in [p2p, bft] {
            Place::parse(address).map_err(|why| bad(&format!("{address} cannot be used: {why}")))?;
        }
        if [http, p2p, bft].iter().any(|part| part.len() > 256) {
            return Err(bad("an address is above 256 bytes"));
        }
        if found.iter().any(|(other, _)| *other == index) {
            return Err(bad("that member has one already"));
        }
        found.push((index, Endpoint { http: http.into(), p2p: p2p.into(), bft: bft.into() }));
    }
    if let Some(missing) = sizes.members().find(|index| found.iter().all(|(other, _)| other != index)) {
        return Err(GenesisError::Argument(format!("member {missing} has no --endpoint")));
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, endpoint)| endpoint).collect())
}

fn describe(file: &NetworkFile) -> String {
    let (committee, sizes) = (file.config.committee(), file.config.sizes());
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "network     {}", committee.network);
    let _ = writeln!(text, "hash        {}", hex::encode(file.hash()));
    let _ = writeln!(text, "sizes       n={} k={} t={} q={}", sizes.n(), sizes.k(), sizes.t(), sizes.q());
    let _ = writeln!(text, "founded     {} ms since 1970, epoch ends {}", committee.genesis_time, committee.end);
    let _ =
        writeln!(text, "buffer      batches of {}, low water {}", committee.buffer.batch, committee.buffer.low_water);
    let TimeConstants {
        heartbeat,
        freshness,
        clock_behind,
        clock_ahead,
        skew,
        receipt_window,
        token_age,
        epoch_guard,
        start_guard,
        abandon_open,
        abandon_qualified,
    } = committee.times;
    let _ = writeln!(
        text,
        "times, ms   heartbeat {heartbeat}, freshness {freshness}, clock -{clock_behind} to +{clock_ahead}, skew {skew}, \
         receipts {receipt_window},\n            tokens {token_age}, guards {epoch_guard} and {start_guard}, abandoned after \
         {abandon_open} or {abandon_qualified}"
    );
    for (certificate, endpoint) in file.config.keys().certificates.iter().zip(&file.config.keys().endpoints) {
        let (keys, Endpoint { http, p2p, bft }) = (&certificate.keys, endpoint);
        let _ = writeln!(text, "member {:<4} {}", keys.index, keys.fingerprint_text());
        let residency = match keys.residency {
            Residency::Sealed => "shares sealed under an HSM's key",
            Residency::Firmware => "shares inside the device",
        };
        let _ = writeln!(text, "            {residency}; {http} {p2p} {bft}");
    }
    for verifier in &file.verifiers {
        let Policy { issuer, audiences, id_claim, lowercase_id, max_age, low_s } = &verifier.policy;
        let _ = writeln!(text, "verifier    {} issuer={issuer} audiences={}", verifier.name, audiences.join("|"));
        let _ =
            writeln!(text, "            id={id_claim} lowercase_id={lowercase_id} max_age={max_age} s low_s={low_s}");
        for key in &verifier.keys {
            let _ = writeln!(text, "            key {} {:?}", jwks::thumbprint(&key.key), key.id);
        }
    }
    text
}

/// A whole file of at most so many bytes.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, GenesisError> {
    use std::io::Read as _;
    let failed = |why: String| GenesisError::Read(path.display().to_string(), why);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| failed(e.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(failed(format!("it is above {most} bytes")));
    }
    Ok(bytes)
}
