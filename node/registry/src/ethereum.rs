//! The node list on Ethereum: state read at one final block that a quorum of endpoints shows, words sent as transactions.
//!
//! State is polled, and no event is listened to: an event may be forged by any other contract, missed, or be of a block
//! that is gone.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::json;
use torus_statement::{Hash, Index, Sizes, keccak256};

use crate::account::Account;
use crate::address::Address;
use crate::contract::{self, Question};
use crate::http::Connector;
use crate::journal::Journal;
use crate::listing::{Listing, Place};
use crate::quorum::{Fault, Quorum, Returned, pinned, plain};
use crate::registry::{
    Block, Current, Draft, Member, Next, Proposed, ReadAt, Registry, RegistryError, Said, Seat, Set, View, Word,
};
use crate::rpc::{Patience, Rpc, bytes_in, short_in};
use crate::section::Section;
use crate::sender::{Policy, Receipt, SendError, Sender};

/// Most bytes of a contract's code.
const MAX_CODE: usize = 24 << 10;

/// An account and what it takes to send with it.
pub struct Purse {
    /// The account.
    pub account: Account,
    /// Where what is under way is kept.
    pub journal: Box<dyn Journal>,
    /// What the operator allows.
    pub policy: Policy,
}

/// The contract, behind a quorum of endpoints.
pub struct Ethereum {
    quorum: Arc<Quorum>,
    contract: Address,
    chain: u64,
    sender: Option<Sender>,
    newest: Mutex<u64>,
}

impl Ethereum {
    /// Connects, and checks chain and contract: the chain that network.json names, if it names one, and exactly the code
    /// that this build was made for.
    pub async fn open(
        section: &Section,
        connector: &Connector,
        patience: Patience,
        purse: Option<Purse>,
    ) -> Result<Self, RegistryError> {
        let endpoints = section.rpc().iter().map(|url| Rpc::new(url.clone(), connector.clone(), patience)).collect();
        let quorum = Quorum::new(endpoints, section.quorum(), section.depth());
        let invalid = |what: String| RegistryError::Invalid { at: "network.json".to_owned(), what };
        let quorum = Arc::new(quorum.map_err(|error| invalid(error.to_string()))?);
        let chain = quorum.agree("the chain", "eth_chainId", json!([]), |answer| short_in(&plain(answer)?)).await?;
        if let Some(wanted) = section.chain_id().filter(|wanted| *wanted != chain) {
            return Err(RegistryError::Chain { wanted, found: chain });
        }
        let contract = section.address();
        let at = quorum.pin().await?;
        let params = json!([contract.to_string(), pinned(&at)]);
        let code = quorum
            .agree("the contract's code", "eth_getCode", params, |answer| bytes_in(&plain(answer)?, MAX_CODE))
            .await?;
        let found = if code.is_empty() { "none".to_owned() } else { hex::encode(keccak256(&code)) };
        if found != contract::CODE_HASH {
            return Err(RegistryError::Code { address: contract, found, wanted: contract::CODE_HASH.to_owned() });
        }
        let opened = Self { quorum, contract, chain, sender: None, newest: Mutex::new(0) };
        Ok(match purse {
            Some(purse) => opened.with_purse(purse),
            None => opened,
        })
    }

    /// The same, with an account to send by.
    #[must_use]
    pub fn with_purse(self, purse: Purse) -> Self {
        let Purse { account, journal, policy } = purse;
        let sender = Sender::new(Arc::clone(&self.quorum), self.chain, account, journal, policy);
        Self { sender: Some(sender), ..self }
    }

    /// What endpoints did wrong in the last ten minutes.
    pub fn faults(&self) -> Vec<Fault> {
        self.quorum.faults()
    }

    /// Finishes what an earlier process left under way; `None` if nothing is, or there is no account.
    pub async fn resume(&self) -> Result<Option<Receipt>, RegistryError> {
        match &self.sender {
            Some(sender) => Ok(sender.resume().await?),
            None => Ok(None),
        }
    }

    /// The newest final block, never an older one than before.
    async fn pin(&self) -> Result<Block, RegistryError> {
        let at = self.quorum.pin().await?;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if at.number < *newest {
            return Err(RegistryError::Behind { shown: at.number, known: *newest });
        }
        *newest = at.number;
        Ok(at)
    }

    async fn ask<T>(&self, at: &Block, question: Question<T>) -> Result<T, RegistryError> {
        match self.answer(at, &question).await? {
            Returned::Bytes(bytes) => question.read(&bytes).map_err(|what| invalid(at, what)),
            Returned::Reverted(data) => Err(invalid(at, format!("{}: {}", question.about, contract::reason(&data)))),
        }
    }

    async fn answer<T>(&self, at: &Block, question: &Question<T>) -> Result<Returned, RegistryError> {
        let about = format!("{} at block {}", question.about, at.number);
        Ok(self.quorum.call(at, self.contract, &question.data, &about).await?)
    }

    /// An epoch's sizes; `None` if nobody began its set.
    async fn sizes(&self, at: &Block, epoch: u64) -> Result<Option<Sizes>, RegistryError> {
        let question = contract::sizes(epoch);
        match self.answer(at, &question).await? {
            Returned::Bytes(bytes) => question.read(&bytes).map(Some).map_err(|what| invalid(at, what)),
            Returned::Reverted(data) if contract::reason(&data) == contract::NO_SUCH_EPOCH => Ok(None),
            Returned::Reverted(data) => Err(invalid(at, format!("{}: {}", question.about, contract::reason(&data)))),
        }
    }

    /// An epoch's seats, each as it is listed.
    async fn seats(&self, at: &Block, epoch: u64, sizes: Sizes) -> Result<Vec<Seat>, RegistryError> {
        let mut seats = Vec::new();
        for (index, account) in sizes.members().zip(self.ask(at, contract::seats(epoch, sizes)).await?) {
            seats.push(match account {
                None => Seat::Free,
                Some(account) => self.seat(at, epoch, index, account).await?,
            });
        }
        Ok(seats)
    }

    async fn seat(&self, at: &Block, epoch: u64, index: Index, account: Address) -> Result<Seat, RegistryError> {
        let Some(details) = self.ask(at, contract::details(epoch, account)).await? else {
            return Ok(Seat::Given(account));
        };
        if details.position != index.get() {
            return Err(invalid(at, format!("{account} has seat {index} and says that it has {}", details.position)));
        }
        Ok(Seat::Listed(Member { index, account, identity: details.identity, reach: details.reach }))
    }

    async fn set(&self, at: &Block, epoch: u64, sizes: Sizes) -> Result<Set, RegistryError> {
        let mut members = Vec::new();
        for seat in self.seats(at, epoch, sizes).await? {
            let Seat::Listed(member) = seat else {
                return Err(invalid(at, format!("epoch {epoch} has a set in which not all are listed")));
            };
            members.push(member);
        }
        Set::new(epoch, sizes, members).map_err(|error| invalid(at, format!("epoch {epoch}: {error}")))
    }

    async fn current(&self, at: &Block) -> Result<Option<Current>, RegistryError> {
        let epoch = self.ask(at, contract::current_epoch()).await?;
        if epoch == 0 {
            return Ok(None);
        }
        let missing = || invalid(at, format!("epoch {epoch} is current and has no set"));
        let sizes = self.sizes(at, epoch).await?.ok_or_else(missing)?;
        let set = self.set(at, epoch, sizes).await?;
        Ok(Some(Current { set, config: self.ask(at, contract::config_hash(epoch)).await? }))
    }

    async fn next(&self, at: &Block, epoch: u64) -> Result<Next, RegistryError> {
        let Some(sizes) = self.sizes(at, epoch).await? else { return Ok(Next::None) };
        if self.ask(at, contract::is_proposed()).await? {
            let set = self.set(at, epoch, sizes).await?;
            let proposal = self.ask(at, contract::proposals()).await?;
            let committee = self.ask(at, contract::committee_hash(epoch)).await?;
            return Ok(Next::Proposed(Proposed { set, proposal, committee }));
        }
        let draft = Draft::new(epoch, sizes, self.seats(at, epoch, sizes).await?);
        draft.map(Next::Draft).map_err(|error| invalid(at, format!("epoch {epoch}: {error}")))
    }

    fn sender(&self) -> Result<&Sender, RegistryError> {
        self.sender.as_ref().ok_or(RegistryError::NoAccount)
    }

    async fn say(&self, epoch: u64, word: Word) -> Result<Said, RegistryError> {
        let sender = self.sender()?;
        let at = self.pin().await?;
        if self.ask(&at, contract::signal(epoch, sender.account())).await? == Some(word) {
            return Ok(Said::Before);
        }
        match sender.send(self.contract, &contract::say(epoch, word)).await {
            Ok(_) => Ok(Said::Now),
            Err(SendError::Refused(reason)) if reason == contract::SAID_BEFORE => Ok(Said::Before),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Registry for Ethereum {
    async fn view(&self) -> Result<View, RegistryError> {
        let at = self.pin().await?;
        let current = self.current(&at).await?;
        let open_epoch = self.ask(&at, contract::open_epoch()).await?;
        let follows = current.as_ref().is_none_or(|current| current.set.epoch().checked_add(1) == Some(open_epoch));
        if !follows || open_epoch == 0 {
            return Err(invalid(&at, format!("epoch {open_epoch} does not follow the current one")));
        }
        let next = self.next(&at, open_epoch).await?;
        Ok(View { at: ReadAt::Block(at), current, open_epoch, next })
    }

    async fn words(&self) -> Result<Vec<(Index, Word)>, RegistryError> {
        let at = self.pin().await?;
        let current = self.ask(&at, contract::current_epoch()).await?;
        let open = self.ask(&at, contract::open_epoch()).await?;
        let deciding = if current == 0 { open } else { current };
        let Some(sizes) = self.sizes(&at, deciding).await? else { return Ok(Vec::new()) };
        let mut words = Vec::new();
        for (index, account) in sizes.members().zip(self.ask(&at, contract::seats(deciding, sizes)).await?) {
            let Some(account) = account else { continue };
            words.extend(self.ask(&at, contract::signal(open, account)).await?.map(|word| (index, word)));
        }
        Ok(words)
    }

    fn place(&self) -> Option<Place> {
        let account = self.sender.as_ref()?.account();
        Some(Place { chain: self.chain, contract: self.contract, account })
    }

    async fn list(&self, listing: &Listing, proof: &[u8; 65]) -> Result<Said, RegistryError> {
        let sender = self.sender()?;
        let at = self.pin().await?;
        let listed = self.ask(&at, contract::details(listing.epoch, sender.account())).await?;
        if listed.is_some_and(|listed| listed.identity == listing.identity && listed.reach == listing.reach) {
            return Ok(Said::Before);
        }
        sender.send(self.contract, &contract::list(listing, proof)).await?;
        Ok(Said::Now)
    }

    async fn signal_ready(&self, epoch: u64, proposal: u64, config: Hash) -> Result<Said, RegistryError> {
        self.say(epoch, Word::Ready { proposal, config }).await
    }

    async fn signal_abort(&self, epoch: u64, proposal: u64) -> Result<Said, RegistryError> {
        self.say(epoch, Word::Abort { proposal }).await
    }

    async fn signal_refresh(&self, epoch: u64, config: Hash) -> Result<Said, RegistryError> {
        self.say(epoch, Word::Refresh { config }).await
    }
}

fn invalid(at: &Block, what: String) -> RegistryError {
    RegistryError::Invalid { at: format!("block {}", at.number), what }
}
