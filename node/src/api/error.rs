//! Errors as clients count, match and show them: the same on every member, and telling the user what to do.

use serde_json::{Value, json};
use torus_ipc::Deny;

use super::backend::AssignError;

/// The body is no JSON.
pub(super) const PARSE: i32 = -32700;
/// The body is no request.
pub(super) const INVALID_REQUEST: i32 = -32600;
/// No such method here.
pub(super) const METHOD: i32 = -32601;
/// What the caller sent cannot be served.
pub(super) const PARAMS: i32 = -32602;
/// The network's side.
pub(super) const INTERNAL: i32 = -32603;

/// A JSON-RPC error. Clients compare it whole, so it holds nothing of the member that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// The code.
    pub code: i32,
    /// One of the few titles that clients have always seen.
    pub message: &'static str,
    /// What the user is shown.
    pub data: String,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The result, HTTP 200.
    Result(Value),
    /// An error, HTTP 200 too.
    Error(RpcError),
    /// An HTTP status alone: what makes old clients ask another member. Seconds to wait, if known.
    Status(u16, Option<u32>),
}

impl RpcError {
    /// "Input error": the request names something that is not there.
    pub fn input(data: impl Into<String>) -> Self {
        Self { code: PARAMS, message: "Input error", data: data.into() }
    }

    /// The prefix by which clients recognise a token that was refused.
    pub fn verifying(why: impl core::fmt::Display) -> Self {
        let data = format!("Error occurred while verifying params: {why}");
        Self { code: PARAMS, message: "Internal error", data }
    }

    /// Too few receipts count.
    pub fn too_few_receipts(valid: usize, needed: usize) -> Self {
        let data = format!(
            "Not enough valid signatures. Only {valid} valid signatures found, {needed} are needed. Start the login \
             again with a fresh token."
        );
        Self { code: PARAMS, message: "Internal error", data }
    }

    /// "Internal error": not the caller's fault.
    pub fn internal(data: impl Into<String>) -> Self {
        Self { code: INTERNAL, message: "Internal error", data: data.into() }
    }

    /// The user has no key yet. Clients match these words and assign one.
    pub fn unassigned() -> Self {
        let data = "Verifier + VerifierID has not yet been assigned".to_owned();
        Self { code: PARAMS, message: "Input Error", data }
    }

    /// The network has no such verifier. Clients match these words.
    pub fn unknown_verifier() -> Self {
        Self::input("Verifier not supported")
    }

    /// What this network does not serve, and what to do instead.
    pub fn not_served(what: &str) -> Self {
        Self::input(format!("Not served by this network: {what}"))
    }

    /// The member of a JSON-RPC response.
    pub fn to_json(&self) -> Value {
        json!({"code": self.code, "message": self.message, "data": self.data})
    }
}

/// A refusal of the vault. Faults of the member's own side share one text: which one it was is in its log.
impl From<Deny> for RpcError {
    fn from(deny: Deny) -> Self {
        match deny {
            Deny::Held => Self::internal("Duplicate token found"),
            Deny::Busy => Self::internal("The network is busy. Try again in a few seconds."),
            Deny::Settling => Self::internal(
                "The network has just restarted and takes no logins yet. Try again in two minutes with a fresh token.",
            ),
            Deny::Verifier => Self::unknown_verifier(),
            Deny::Malformed => Self::verifying("the request cannot be read"),
            Deny::TokenForm => {
                Self::verifying("the token is not in its one form (strict base64url, three segments, low-s signature)")
            }
            Deny::TokenKey => Self::verifying(
                "the token's algorithm or key is not one of the verifier's. Check the verifier's keys, then sign in again",
            ),
            Deny::TokenSignature => Self::verifying("the token's signature does not verify. Sign in again"),
            Deny::TokenIssuer => Self::verifying("the token's issuer is not the verifier's"),
            Deny::TokenAudience => Self::verifying("the token's audience is not the verifier's"),
            Deny::TokenTime => Self::verifying("the token is not yet valid, expired or too old. Sign in again"),
            Deny::NotBefore => Self::verifying("the token was issued before the network's last restart. Sign in again"),
            Deny::TokenId => Self::verifying("the token does not name its user as the verifier asks"),
            Deny::TokenUser => Self::verifying("the token names another user than the request"),
            Deny::NotCommitted => Self::internal(
                "The token was not committed here, or too long ago. Start the login again with a fresh token.",
            ),
            Deny::Receipts => Self {
                code: PARAMS,
                message: "Internal error",
                data: "Not enough valid signatures. Start the login again with a fresh token.".to_owned(),
            },
            Deny::Epoch => Self::internal("The network's epoch has ended. Ask its operators."),
            Deny::Frozen => {
                Self::internal("The member's operator has stopped it. Nothing is lost; others may serve you.")
            }
            Deny::Quota => Self::internal("Too many logins in this hour. Nothing is lost; try again later."),
            Deny::Owner => Self::internal("The key was first released to another user. Ask the network's operators."),
            Deny::Device
            | Deny::Store
            | Deny::Clock
            | Deny::Header
            | Deny::Stale
            | Deny::Proof
            | Deny::Height
            | Deny::Evidence
            | Deny::NoVote
            | Deny::Attempt
            | Deny::Approval
            | Deny::Envelope
            | Deny::NoShare
            | Deny::Commitment => {
                Self::internal("The member cannot serve logins now. Nothing is lost; try again in a minute.")
            }
        }
    }
}

impl From<AssignError> for RpcError {
    fn from(error: AssignError) -> Self {
        Self::internal(match error {
            AssignError::NoKeys => "No unassigned key is left. New ones are being made; try again in a minute.",
            AssignError::Timeout => "key assignment error: timed out. It may still come; try again in a few seconds.",
            AssignError::RateLimited => "Too many new keys are asked for. Try again in a minute.",
            AssignError::NotReady => "The member takes no assignments yet. Try again in a minute.",
        })
    }
}
