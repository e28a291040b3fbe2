//! The operator's approval of the next epoch's committee, on the vault's host: shown in words first, then by its hash.
//!
//! No committee comes in without it, whatever the log, the contract or the node say. A vault that runs hears of it over
//! its operator's socket; else it is written into the store. A later approval takes the place of an earlier one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use torus_statement::codec::Wire;
use torus_statement::config::{MAX_COMMITTEE, Member};
use torus_statement::receipt::hex;
use torus_statement::succession::{NotNext, may_follow};
use torus_statement::{Committee, EpochConfig, Hash};

use crate::audit::Journal;
use crate::configs::Configs;
use crate::freeze::{OperatorError, Word, keep, say};
use crate::log::Stamp;
use crate::run::{RunError, alone, read_network};
use crate::store::{Store, StoreError};
use crate::trust::trusted;

/// What is proposed, and where.
pub struct Proposal {
    /// The vault's data directory.
    pub data: PathBuf,
    /// The network file.
    pub network_file: PathBuf,
    /// The committee, in its canonical bytes.
    pub committee: PathBuf,
    /// What the operator approves; nothing if he only looks.
    pub approved: Option<Hash>,
}

/// Why nothing was approved.
#[derive(Debug, thiserror::Error)]
pub enum NotApproved {
    /// The file cannot be read.
    #[error("the committee in {} cannot be read: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It cannot come after the config in force.
    #[error("this committee cannot come after epoch {epoch}: {source}")]
    NotNext {
        /// The epoch in force.
        epoch: u64,
        /// Why.
        source: NotNext,
    },
    /// The hash is another's.
    #[error("the committee in the file has the hash {0}, which is not the one given: nothing is approved")]
    OtherHash(String),
    /// The vault's files.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The running vault.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Shows how the committee differs from the one in force and, if the operator gave its hash, approves it.
///
/// # Errors
/// It cannot be read or come next, the hash is another's, or the approval cannot be kept. Nothing has changed then.
pub fn approve(proposal: &Proposal) -> Result<String, NotApproved> {
    let next = read(&proposal.committee)?;
    let store = Store::open(&proposal.data)?;
    let network = trusted(&store)?.ok_or(RunError::NoNetwork)?;
    let file = read_network(&proposal.network_file, &network).map_err(RunError::from)?;
    let configs = Configs::open(&store, Arc::new(file.config))?;
    let current = &configs.newest().config;
    let epoch = current.committee().epoch;
    may_follow(&next, current.committee(), &current.hash()).map_err(|source| NotApproved::NotNext { epoch, source })?;
    let (hash, difference) = (next.hash(), difference(&next, current));
    let Some(approved) = proposal.approved else {
        return Ok(format!(
            "{difference}\nIts hash, to compare with the other operators over another channel:\n  {}\nNothing is approved \
             yet: give the hash to approve this committee.",
            hex(&hash)
        ));
    };
    if approved != hash {
        return Err(NotApproved::OtherHash(hex(&hash)));
    }
    tell(&proposal.data, &store, &Word::Approve(hash))?;
    Ok(format!("{difference}\napproved: {}", hex(&hash)))
}

/// Takes an approval back.
///
/// # Errors
/// It cannot be kept.
pub fn withdraw(data: &Path) -> Result<String, NotApproved> {
    tell(data, &Store::open(data)?, &Word::Withdraw)?;
    Ok("withdrawn: no committee is approved for the next epoch".to_owned())
}

/// To the vault that runs, or else into its store.
fn tell(data: &Path, store: &Store, word: &Word) -> Result<(), NotApproved> {
    match alone(data) {
        Ok(_alone) => Ok(keep(&*Journal::open(store)?, store, word)?),
        Err(RunError::Running(_)) => Ok(say(data, word).map(drop)?),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<Committee, NotApproved> {
    let unread = |reason: String| NotApproved::Read { path: path.into(), reason };
    let length = std::fs::metadata(path).map_err(|error| unread(error.to_string()))?.len();
    if length > MAX_COMMITTEE as u64 {
        return Err(unread("too large".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| unread(error.to_string()))?;
    Committee::from_bytes(&bytes).map_err(|error| unread(error.to_string()))
}

/// What changes, a line each.
fn difference(next: &Committee, current: &EpochConfig) -> String {
    let before = current.committee();
    let mut lines = vec![format!("After epoch {} of {} comes epoch {}:", before.epoch, before.network, next.epoch)];
    let sizes = |committee: &Committee| {
        let sizes = committee.sizes;
        format!("{} members, {} shares make a key, {} may be hostile", sizes.n(), sizes.k(), sizes.t())
    };
    lines.push(changed("sizes", sizes(before), sizes(next)));
    lines.push(changed("end", moment(before.end), moment(next.end)));
    let buffer = |c: &Committee| format!("batches of {}, kept above {} keys", c.buffer.batch, c.buffer.low_water);
    lines.push(changed("buffer", buffer(before), buffer(next)));
    for (index, member) in next.sizes.members().zip(&next.members) {
        let identity = hex(&member.identity.to_compressed());
        lines.push(match place_of(before, member) {
            None => format!("  member {index}: NEW, identity {identity}, {:?}", member.residency),
            Some((old, known)) => {
                let mut line = format!("  member {index}: ");
                line += &if old == index { "stays".to_owned() } else { format!("was member {old}") };
                if known.residency != member.residency {
                    line += &format!(", NOW {:?} instead of {:?}", member.residency, known.residency);
                }
                line
            }
        });
    }
    for (index, member) in before.sizes.members().zip(&before.members) {
        if place_of(next, member).is_none() {
            lines.push(format!("  LEAVES: member {index}, identity {}", hex(&member.identity.to_compressed())));
        }
    }
    lines.join("\n")
}

/// The end of an epoch; years of five digits stand for none.
fn moment(end: u64) -> String {
    if end / 86_400_000 < 2_932_897 { Stamp::of(end).to_string() } else { "none".to_owned() }
}

fn changed(what: &str, before: String, next: String) -> String {
    if before == next {
        format!("  {what}: {next}, as before")
    } else {
        format!("  {what}: {next} INSTEAD OF {before}")
    }
}

fn place_of<'a>(committee: &'a Committee, member: &Member) -> Option<(torus_statement::Index, &'a Member)> {
    committee.sizes.members().zip(&committee.members).find(|(_, other)| other.identity == member.identity)
}
