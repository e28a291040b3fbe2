//! The public HTTP interface: JSON-RPC for users' front ends, and readiness and metrics for the operator.
//!
//! It speaks both generations of the torus.js protocol for secp256k1 keys. It decides nothing: every login goes to the
//! vault as it came, and what is checked here is checked only to refuse early and in words. It refuses what the network
//! does not serve (other key types, imports, logins without a commitment), anything above its bounds, and to say
//! anything in an error that differs between members, because clients count equal answers.
//!
//! Everything behind it is one trait, [`Backend`]; `methods` holds no socket and no clock.

mod admin;
mod backend;
mod details;
mod encode;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod limit;
mod listen;
mod methods;
mod metrics;
mod params;
mod readiness;
mod receipts;
mod tls;

pub use backend::{
    AssignError, Backend, BatchStage, BatchStatus, CertifiedKey, Found, KeyOwner, MAX_BATCHES, NodeStatus, ReleaseInput,
};
pub use encode::address;
pub use error::{Outcome, RpcError};
pub use limit::{Limits, Rate};
pub use listen::{Server, serve_admin, serve_api};
pub use methods::{Api, Caller};
pub use metrics::{EngineMetrics, Metrics};
pub use params::Call;
pub use readiness::{Readiness, Reason};
pub use tls::{BadTls, Tls};

#[cfg(test)]
pub(crate) mod tests;
