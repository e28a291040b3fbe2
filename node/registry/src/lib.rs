//! The node list as a member sees it: read from Ethereum by a quorum of endpoints, or from a file where there is no chain.
//! It reads, says this member's words, and decides nothing: epochs are decided by the log, committees are approved on the
//! vaults' hosts.
//!
//! # How it is wired into a node
//!
//! Everything that opens a file comes before the lockdown; everything else works under it: outbound TCP only, no name asked
//! for through the C library, no file opened. Its calls are those that the node's filter has: TCP sockets with TCP_NODELAY,
//! and `pread64`, `pwrite64`, `fdatasync` on the journal's and the list's file.
//!
//! ```no_run
//! use std::sync::Arc;
//! use torus_registry::*;
//!
//! # async fn wire(network: &serde_json::Value, names: Arc<dyn Resolve>, own: Own, vault: &dyn SignListing)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! // Before the lockdown. The ports are dialled, so Landlock must be told of them.
//! let source = Source::parse(&network["registry"])?;
//! let Source::Contract(section) = &source else { return Err("a file: FileRegistry::open".into()) };
//! let ports: Vec<u16> = section.ports();
//! let account = Account::load("/etc/torus/account.key".as_ref())?;
//! let journal = FileJournal::open("/var/lib/torus/account.journal".as_ref())?;
//! let authorities = std::fs::read("/etc/ssl/certs/ca-certificates.crt")?;
//! // `names` resolves over TCP, as the node does for its peers.
//! let connector = Connector::new(names).with_authorities(&authorities)?;
//! let purse = Purse { account, journal: Box::new(journal), policy: Policy::default() };
//!
//! // After it, before the node serves.
//! let registry = Ethereum::open(section, &connector, Patience::default(), Some(purse)).await?;
//! registry.resume().await?;
//! register(&registry, &own, vault, false).await?;
//!
//! // While it serves, every few minutes and after each epoch's end.
//! let view = registry.view().await?;
//! let decision = decide(&view, &own, false);
//! # Ok(()) }
//! ```
//!
//! - `Own` comes from the vault's certificate, the account's file and the node's own endpoints. `SignListing` asks the
//!   vault, for `Listing::statement`.
//! - An error of `register` that is a `Disagreement` ends the node with its text. An error of `view` while the node serves
//!   does not: what was read before stays in force, and is asked for again.
//! - `signal_*` return when the word is final, which takes a quarter of an hour on Ethereum: give each a task of its own. They
//!   may be dropped: what is signed is in the journal, and the next word, or `resume`, finishes it.
//! - Endpoints that lag together show an old state, and only the clock tells: compare `Block::time` with it for `doctor`.
//! - `Ethereum::faults` is for `doctor` and metrics: who of the endpoints lies, lags or is gone.
//! - A node may keep the journal in its own store: `Journal` has three calls.

#![forbid(unsafe_code)]

mod account;
mod address;
mod contract;
mod ethereum;
mod fees;
mod file;
mod http;
mod journal;
mod listing;
mod quorum;
mod registration;
mod registry;
mod rpc;
mod section;
mod sender;
mod underway;
mod url;

pub use account::{Account, BadAccount};
pub use address::{Address, BadAddress, BadText, MAX_TEXT, Text};
pub use ethereum::{Ethereum, Purse};
pub use file::{FileRegistry, MAX_FILE, parse as parse_file};
pub use http::{AddressesOnly, BadAuthorities, Connector, HttpError, MAX_ANSWER, Resolve};
pub use journal::{FileJournal, Journal, MAX_KEPT};
pub use listing::{Listing, Place};
pub use quorum::{BadQuorum, Depth, Fault, MAX_ENDPOINTS, Quorum, QuorumError};
pub use registration::{Decision, Disagreement, Own, RegistrationError, SignListing, decide, register};
pub use registry::{
    BadSet, Block, Current, Draft, Member, Next, Proposed, Reach, ReadAt, Registry, RegistryError, Said, Seat, Set,
    View, Word,
};
pub use rpc::{Patience, Rpc, RpcError};
pub use section::{BadSection, Section, Source};
pub use sender::{Policy, Receipt, SendError};
pub use url::{BadUrl, Url};
