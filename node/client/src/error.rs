//! What can go wrong, in words that say which member, what happened, and what to do.

use std::fmt;

use torus_statement::Sizes;

/// How a fault begins whose words are the member's.
pub(crate) const REFUSES: &str = "it refuses: ";

/// A member that did not do its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The member.
    pub member: u8,
    /// Its endpoint.
    pub endpoint: String,
    /// What it did, or did not.
    pub what: String,
}

/// Why a call failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network's description cannot be used.
    #[error("the network's file: {0}")]
    Network(String),
    /// The token cannot be used. Nothing was revealed.
    #[error("the token: {0}")]
    Token(String),
    /// Members refuse, and so many of them that asking further ones is no use.
    #[error("refused by the network: {0}{list}", list = Listed(.1))]
    Refused(String, Vec<Fault>),
    /// Too few members did their part.
    #[error("{what}: {got} of the {needed} members needed{list}", list = Listed(.faults))]
    TooFew {
        /// What was asked of them.
        what: &'static str,
        /// How many did it.
        got: usize,
        /// How many must.
        needed: usize,
        /// What the others did.
        faults: Vec<Fault>,
    },
    /// The user has no key yet.
    #[error("the user has no key yet: assign one, or log in")]
    Unassigned,
    /// What members gave does not fit together although each part verified.
    #[error("the rebuilt key is not the certified one{list}", list = Listed(.0))]
    Mismatch(Vec<Fault>),
    /// This machine's side failed.
    #[error("{0}")]
    Local(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} ({}): {}", self.member, self.endpoint, self.what)
    }
}

struct Listed<'a>(&'a [Fault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Error {
    /// Too few members did what was asked. When so many refuse with the same words that there can't be enough, the
    /// words are the reason.
    pub(crate) fn too_few(sizes: Sizes, what: &'static str, got: usize, needed: usize, faults: Vec<Fault>) -> Self {
        let spare = sizes.n().saturating_sub(needed.max(sizes.k()));
        let common = faults.iter().find(|fault| {
            let same = faults.iter().filter(|other| other.what == fault.what).count();
            fault.what.starts_with(REFUSES) && same > spare
        });
        match common.map(|fault| fault.what.trim_start_matches(REFUSES).to_owned()) {
            Some(words) => Self::Refused(words, faults),
            None => Self::TooFew { what, got, needed, faults },
        }
    }

    /// The faults of members that led here.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Refused(_, faults) | Self::TooFew { faults, .. } | Self::Mismatch(faults) => faults,
            Self::Network(_) | Self::Token(_) | Self::Unassigned | Self::Local(_) => &[],
        }
    }

    /// A short name that scripts can compare.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Network(_) => "network-file",
            Self::Token(_) => "token",
            Self::Refused(..) => "refused",
            Self::TooFew { .. } => "too-few-members",
            Self::Unassigned => "unassigned",
            Self::Mismatch(_) => "mismatch",
            Self::Local(_) => "local",
        }
    }
}
