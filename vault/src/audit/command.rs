//! `torus-vault audit`: what an operator, and whoever has a copy of the log, asks of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use torus_audit::Found;
use torus_hsm::{Pin, Token, TokenConfig};
use torus_statement::receipt::{hex, unhex};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Hash, Point, PublicKey};

use super::copies::{CopyError, export, prune, releases, verify};
use super::{subjects, text};
use crate::run::{RunError, open_device};
use crate::store::Store;
use crate::strongroom::for_a_command;

/// The verbs.
#[derive(Subcommand)]
pub enum Audit {
    /// Verifies a copy, anywhere: needs no token and no data directory. Fails on the first fault and names it.
    Verify(Proof),
    /// Verifies a copy and lists its records.
    Show(Proof),
    /// Takes a copy of the log, while the vault runs or not, or from a copied data directory.
    Export {
        /// The vault's data directory.
        #[arg(long)]
        data: PathBuf,
        /// Where the copy goes.
        #[arg(long)]
        out: PathBuf,
    },
    /// Removes the records that a copy proves, up to its newest checkpoint. Keep the copy: nothing else has them then.
    Prune {
        /// The vault's data directory.
        #[arg(long)]
        data: PathBuf,
        /// The copy.
        #[arg(long)]
        copy: PathBuf,
        /// The vault's identity, 66 hex digits.
        #[arg(long, value_parser = key)]
        key: PublicKey,
    },
}

/// A copy, and what it is measured by.
#[derive(Args)]
pub struct Proof {
    /// The copy.
    file: PathBuf,
    /// The vault's identity, 66 hex digits, as its member file has it.
    #[arg(long, value_parser = key)]
    key: PublicKey,
    /// A head that peers hold of this log, 64 hex digits (`link` in a node's /audit): the log must have it.
    #[arg(long, value_parser = head)]
    head: Option<Hash>,
}

/// Whose releases are asked for.
#[derive(Args)]
pub struct Who {
    /// The verifier.
    #[arg(long, value_parser = verifier)]
    pub verifier: VerifierName,
    /// The user's id, in lower case where the verifier's policy lowers ids.
    #[arg(long, value_parser = id)]
    pub id: VerifierId,
}

/// Does it; what there is to say. The lines of `show` go out as they are read.
///
/// # Errors
/// The first fault of a copy, or file or store fails.
pub fn run(verb: Audit) -> Result<String, CopyError> {
    match verb {
        Audit::Verify(Proof { file, key, head }) => verify(&file, key, head, |_| {}).map(|found| verdict(&found)),
        Audit::Show(Proof { file, key, head }) => {
            verify(&file, key, head, |record| println!("{}", text::line(record))).map(|found| verdict(&found))
        }
        Audit::Export { data, out } => export(&data, &out).map(|count| format!("{count} records in {}", out.display())),
        Audit::Prune { data, copy, key } => prune(&data, &copy, key).map(|below| format!("the log begins at {below}")),
    }
}

/// The releases of a user, whom only this vault's token can tell from the log's hashes.
///
/// # Errors
/// Token or store cannot be opened.
pub fn who(data: &std::path::Path, token: &TokenConfig, pin: &std::path::Path, who: &Who) -> Result<String, WhoError> {
    let token = Token::open(token, &Pin::from_file(pin).map_err(RunError::from)?).map_err(RunError::from)?;
    let store = Store::open(data).map_err(RunError::from)?;
    let (pool, _) = for_a_command().map_err(RunError::from)?;
    let subjects = subjects::open(&store, open_device(&token)?.as_mut(), pool).map_err(RunError::from)?;
    let lines = releases(&store, &subjects.user(&who.verifier, &who.id))?;
    if lines.is_empty() {
        return Ok("no share was released to this user since the log begins".to_owned());
    }
    Ok(lines.join("\n"))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhoError {
    /// The token or the store.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The log.
    #[error(transparent)]
    Log(#[from] CopyError),
}

fn verdict(found: &Found) -> String {
    let Found { first, next, last, proven } = found;
    format!(
        "sound: records {first} to {} are chained without gap, last link {}\n{}\n{} records after it are chained, and \
         signed by nobody yet",
        next.saturating_sub(1),
        hex(last),
        text::proven(Some(proven)),
        next.saturating_sub(proven.count)
    )
}

fn key(text: &str) -> Result<PublicKey, &'static str> {
    let parse = || {
        let (tag, x) = text.split_at_checked(2)?;
        let tag = u8::from_str_radix(tag, 16).ok().filter(|tag| [2, 3].contains(tag))?;
        let bytes = [&[tag], unhex(x)?.as_slice()].concat();
        Point::from_compressed(bytes.as_slice().try_into().ok()?).ok()
    };
    parse().ok_or("an identity is a compressed point, 66 lower-case hex digits")
}

fn head(text: &str) -> Result<Hash, &'static str> {
    unhex(text).ok_or("64 lower-case hex digits")
}

fn verifier(text: &str) -> Result<VerifierName, &'static str> {
    VerifierName::new(text).ok_or("no verifier has such a name")
}

fn id(text: &str) -> Result<VerifierId, &'static str> {
    VerifierId::new(text).ok_or("no user has such an id")
}
