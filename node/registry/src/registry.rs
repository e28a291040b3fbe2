//! What a member reads of the node list and may say in it, in plain types: no word here is a chain's.
//!
//! What is read decides nothing by itself. It is material for the log, where q members vote on what each of them
//! read, and for operators, who approve a committee's hash on their vaults' hosts.

use async_trait::async_trait;
use torus_statement::{Hash, Index, Point, Sizes};

use crate::address::{Address, Text};
use crate::listing::{Listing, Place};
use crate::quorum::QuorumError;
use crate::sender::SendError;

/// A node list, wherever it is kept.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Current and next set as one final state has them. A later view is never of an earlier state.
    async fn view(&self) -> Result<View, RegistryError>;

    /// What members of the deciding set have said of the epoch that may come next, by index: the current set, or before there
    /// is one the proposed set. Nobody says a word in a file.
    async fn words(&self) -> Result<Vec<(Index, Word)>, RegistryError> {
        Ok(Vec::new())
    }

    /// Where listings go, and under which account this member is known; `None` if it has none here.
    fn place(&self) -> Option<Place>;

    /// Lists this member's account in the set that is in the making; `proof` is r, s, v by its identity key over
    /// `Listing::digest`. Returns when that is final.
    async fn list(&self, listing: &Listing, proof: &[u8; 65]) -> Result<Said, RegistryError>;

    /// Says that the log's last block of the epoch before names the config with this hash. Returns when that is final.
    async fn signal_ready(&self, epoch: u64, proposal: u64, config: Hash) -> Result<Said, RegistryError>;

    /// Says that the log has given the proposal up. Returns when that is final.
    async fn signal_abort(&self, epoch: u64, proposal: u64) -> Result<Said, RegistryError>;

    /// Says that the log has gone on with the same members to this epoch. Returns when that is final.
    async fn signal_refresh(&self, epoch: u64, config: Hash) -> Result<Said, RegistryError>;
}

/// What a member says that the log has decided of an epoch. It has one word: a later one takes the place of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The log's last block of the epoch before names the config with this hash.
    Ready {
        /// The proposal that is taken.
        proposal: u64,
        /// The hash of the whole config.
        config: Hash,
    },
    /// The log has given a proposal up.
    Abort {
        /// The proposal.
        proposal: u64,
    },
    /// The log has gone on with the same members.
    Refresh {
        /// The hash of the whole config.
        config: Hash,
    },
}

/// What became of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is final.
    Now,
    /// It was said before; nothing was sent.
    Before,
}

/// Current and next set, read at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where it was read.
    pub at: ReadAt,
    /// The set that is in force; `None` until the first one is.
    pub current: Option<Current>,
    /// The epoch that may come next.
    pub open_epoch: u64,
    /// What is there of its set.
    pub next: Next,
}

/// The state that a view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// A block that q endpoints have, deep enough to be final.
    Block(Block),
    /// A file of this hash.
    File(Hash),
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its time in seconds since 1970, as its maker says.
    pub time: u64,
}

/// The set in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its members.
    pub set: Set,
    /// The hash of the epoch's config, as q members read it in their log.
    pub config: Hash,
}

/// The set of the epoch that may come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nobody began one.
    None,
    /// It is in the making.
    Draft(Draft),
    /// It waits for the current members' decision, and does not change until then.
    Proposed(Proposed),
}

/// A proposed set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its members.
    pub set: Set,
    /// The proposal's number.
    pub proposal: u64,
    /// The hash of the committee part that operators are to approve.
    pub committee: Hash,
}

/// A complete set: exactly n members, by index, no account and no identity twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    epoch: u64,
    sizes: Sizes,
    members: Vec<Member>,
}

/// A listed member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What its shares are interpolated at.
    pub index: Index,
    /// The account that listed it.
    pub account: Address,
    /// Its vault's lasting key.
    pub identity: Point,
    /// How it is reached.
    pub reach: Reach,
}

/// A member's addresses. Nothing here is trusted: peers are known by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// `host[:port]` of its JSON-RPC interface (`declaredIp`).
    pub http: Text,
    /// The multiaddress of its engine (`tmP2PListenAddress`).
    pub bft: Text,
    /// The multiaddress for envelopes (`p2pListenAddress`).
    pub p2p: Text,
}

/// A set in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its epoch.
    pub epoch: u64,
    /// Its sizes.
    pub sizes: Sizes,
    /// n seats in the order of their indices.
    pub seats: Vec<Seat>,
}

/// A seat of a set in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Nobody has it.
    Free,
    /// The account may list itself.
    Given(Address),
    /// The account is listed.
    Listed(Member),
}

/// Members that make no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSet {
    /// Not one member for each index in order.
    #[error("the set has not exactly one member for each index from 1 to n")]
    Indices,
    /// An account is there twice.
    #[error("members {0} and {1} have one account")]
    Account(Index, Index),
    /// An identity key is there twice.
    #[error("members {0} and {1} have one identity key")]
    Identity(Index, Index),
}

/// Why the list could not be read, or a word not be said.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The endpoints give no common answer.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// What was read makes no sense.
    #[error("the node list at {at} cannot be used: {what}")]
    Invalid {
        /// Where it was read.
        at: String,
        /// What is wrong.
        what: String,
    },
    /// Another chain than the one that was named.
    #[error("the endpoints serve chain {found}, and network.json names chain {wanted}: correct the one or the other")]
    Chain {
        /// What network.json says.
        wanted: u64,
        /// What the endpoints say.
        found: u64,
    },
    /// No contract, or another one, is at the address.
    #[error(
        "at {address} is not this build's node list (code {found}, wanted {wanted}): check the address in network.json, \
         that node and contract are of one release, and that its deployment is final"
    )]
    Code {
        /// The contract's address.
        address: Address,
        /// The hash of the code there, hex; "none" without code.
        found: String,
        /// The hash that this build knows, hex.
        wanted: String,
    },
    /// The state is older than one that was shown before.
    #[error("the endpoints show block {shown}, and showed {known} before: they lag; ask again later")]
    Behind {
        /// The block they show.
        shown: u64,
        /// The block they showed.
        known: u64,
    },
    /// A transaction did not do what it was for.
    #[error(transparent)]
    Send(#[from] SendError),
    /// This member has no account.
    #[error(
        "this node has no Ethereum account: give it one by its key's file, or let the operator send the transaction"
    )]
    NoAccount,
    /// A file takes no word.
    #[error(
        "this network has no chain but a file as its node list: {0} has nowhere to go; the log alone decides, and the \
         operators change the file"
    )]
    NoChain(&'static str),
    /// The file cannot be read.
    #[error("the node list's file cannot be used: {0}; the one that was read before stays in force")]
    File(String),
}

impl Set {
    /// Checks that there is one member for each index, and no account or identity twice.
    pub fn new(epoch: u64, sizes: Sizes, members: Vec<Member>) -> Result<Self, BadSet> {
        if !sizes.members().eq(members.iter().map(|member| member.index)) {
            return Err(BadSet::Indices);
        }
        distinct(&members)?;
        Ok(Self { epoch, sizes, members })
    }

    /// Its epoch.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// n, k, t.
    pub const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// n members in the order of their indices.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

impl Draft {
    /// Checks that there are n seats in order, and no account or identity twice.
    pub fn new(epoch: u64, sizes: Sizes, seats: Vec<Seat>) -> Result<Self, BadSet> {
        let in_order = seats.len() == sizes.n()
            && sizes
                .members()
                .zip(&seats)
                .all(|(index, seat)| seat.member().is_none_or(|member| member.index == index));
        if !in_order {
            return Err(BadSet::Indices);
        }
        let accounts: Vec<(Index, Address)> =
            sizes.members().zip(&seats).filter_map(|(index, seat)| Some((index, seat.account()?))).collect();
        if let Some((one, other)) = twice(&accounts) {
            return Err(BadSet::Account(one, other));
        }
        distinct(&seats.iter().filter_map(Seat::member).cloned().collect::<Vec<_>>())?;
        Ok(Self { epoch, sizes, seats })
    }

    /// Whether every seat is listed, so that it could be proposed.
    pub fn is_complete(&self) -> bool {
        self.seats.iter().all(|seat| seat.member().is_some())
    }
}

impl Seat {
    /// Who has it.
    pub const fn account(&self) -> Option<Address> {
        match self {
            Self::Free => None,
            Self::Given(account) => Some(*account),
            Self::Listed(member) => Some(member.account),
        }
    }

    /// The member that is listed.
    pub const fn member(&self) -> Option<&Member> {
        match self {
            Self::Listed(member) => Some(member),
            Self::Free | Self::Given(_) => None,
        }
    }
}

impl View {
    /// Whether an account is listed in an epoch's set that this view shows.
    pub fn is_listed(&self, epoch: u64, account: Address) -> bool {
        self.listed(epoch).any(|member| member.account == account)
    }

    /// The members that an epoch's set lists, as far as this view shows it.
    pub fn listed(&self, epoch: u64) -> impl Iterator<Item = &Member> {
        let current = self.current.iter().filter(move |current| current.set.epoch == epoch);
        let next = match &self.next {
            _ if self.open_epoch != epoch => &[][..],
            Next::Draft(draft) => &draft.seats,
            Next::None | Next::Proposed(_) => &[],
        };
        let proposed = match &self.next {
            Next::Proposed(proposed) if self.open_epoch == epoch => proposed.set.members(),
            _ => &[],
        };
        current.flat_map(|current| current.set.members()).chain(next.iter().filter_map(Seat::member)).chain(proposed)
    }
}

fn distinct(members: &[Member]) -> Result<(), BadSet> {
    let accounts: Vec<_> = members.iter().map(|member| (member.index, member.account)).collect();
    let identities: Vec<_> = members.iter().map(|member| (member.index, member.identity)).collect();
    match (twice(&accounts), twice(&identities)) {
        (Some((one, other)), _) => Err(BadSet::Account(one, other)),
        (None, Some((one, other))) => Err(BadSet::Identity(one, other)),
        (None, None) => Ok(()),
    }
}

/// The first two that hold one value. There are 30 at most.
fn twice<T: PartialEq>(held: &[(Index, T)]) -> Option<(Index, Index)> {
    held.iter().enumerate().find_map(|(at, (index, value))| {
        held.iter().take(at).find(|(_, earlier)| earlier == value).map(|(earlier, _)| (*earlier, *index))
    })
}
