//! What a running node does about the list: reads it, lists this member, passes the log's word on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use torus_ipc::{Request, Response};
use torus_registry::{
    Decision, Disagreement, Ethereum, Listing, Next, Own, Patience, Registry, RegistryError, SignListing, View, decide,
    register,
};
use torus_statement::{EpochConfig, Index};

use super::{BadList, Contract, Member, Plan, Planned, Standing, is_astray, is_committee, may_serve};
use crate::vault_link::VaultLink;

/// How long a start waits for the list, before the node serves without having seen it.
const FIRST: Duration = Duration::from_secs(20);
/// How often the list is read; and at first, while a word of this member is due or the list cannot be read.
const POLL: Duration = Duration::from_secs(60);
const BUSY: Duration = Duration::from_secs(2);

impl Plan {
    /// Reads the list and compares it, for as long as a start may wait.
    ///
    /// # Errors
    /// What the operator has to set right before this node serves: the set of the epoch that the network is in and this
    /// member disagree, or what is named is not this network's list. A list that cannot be reached is no reason: it is
    /// asked for again. Nor is a later set: its addresses may be others.
    pub async fn begin(self, config: Arc<EpochConfig>, me: Index, link: VaultLink) -> Result<Keeper, BadList> {
        let me = Member::of(&config, me)?;
        let list = match self.source {
            Planned::File(list) => List::Open(Arc::new(list)),
            Planned::Contract(contract) => List::Named(contract),
        };
        let vault = Arc::new(AskVault(link));
        let (standing, anew) = (Arc::default(), self.anew);
        let mut keeper = Keeper { list, left: None, me, config, vault, anew, acting: None, signalled: None, standing };
        match tokio::time::timeout(FIRST, keeper.look()).await {
            Ok(Err(Failed::Operator(why))) => return Err(BadList(why)),
            Ok(Err(Failed::Passing(why))) => keeper.standing.unread(&why),
            Ok(Ok((view, _))) => {
                may_serve(&view, &keeper.own(&view), &keeper.config, keeper.anew)
                    .map_err(|error| BadList(error.to_string()))?;
            }
            Err(_) => keeper.standing.unread(&format!("it was not read within {FIRST:?}")),
        }
        Ok(keeper)
    }
}

/// Keeps this member listed as it is, and passes the log's word on.
pub struct Keeper {
    list: List,
    /// Where an earlier process may have left something under way, until that is taken up.
    left: Option<Arc<Ethereum>>,
    me: Member,
    config: Arc<EpochConfig>,
    vault: Arc<AskVault>,
    anew: bool,
    /// A word on its way, which takes as long as the chain takes to make it final.
    acting: Option<JoinHandle<Result<(), String>>>,
    /// The proposal that this process has given its word to.
    signalled: Option<u64>,
    standing: Arc<Standing>,
}

enum List {
    Open(Arc<dyn Registry>),
    /// Not reached yet.
    Named(Box<Contract>),
}

/// Why a look at the list came to nothing.
enum Failed {
    /// The operator has to set something right.
    Operator(String),
    /// It may be otherwise the next time.
    Passing(String),
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Chain { .. } | RegistryError::Code { .. } => Self::Operator(error.to_string()),
            _ => Self::Passing(error.to_string()),
        }
    }
}

/// What a member has to say in the list.
enum Word {
    List,
    Ready { proposal: u64 },
}

impl Keeper {
    /// How this member stands, for whoever asks.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// Never returns. What goes wrong is told and tried again.
    pub async fn run(mut self) {
        let (mut wait, mut before) = (BUSY, None);
        loop {
            let busy = match self.look().await {
                Ok((view, decision)) => {
                    let busy = self.act(&view, decision).await;
                    let sets = Some((view.current, view.next));
                    if sets != before || self.acting.is_some() {
                        (before, wait) = (sets, BUSY);
                    }
                    busy
                }
                Err(Failed::Operator(why) | Failed::Passing(why)) => {
                    self.standing.unread(&why);
                    true
                }
            };
            tokio::time::sleep(if busy { wait } else { POLL }).await;
            // What is waited for may take days: then it is not asked for every other second.
            wait = wait.saturating_mul(2).min(POLL);
        }
    }

    /// Reads the list and compares it with this member.
    async fn look(&mut self) -> Result<(View, Result<Decision, Disagreement>), Failed> {
        let list = self.opened().await?;
        let view = list.view().await?;
        let decision = decide(&view, &self.own(&view), self.anew);
        let astray = is_astray(&view, &self.config);
        self.standing.read(&view, &decision, astray);
        Ok((view, decision))
    }

    fn own(&self, view: &View) -> Own {
        let account = match &self.list {
            List::Open(list) => list.place().map(|place| place.account),
            List::Named(_) => None,
        };
        self.me.own(account, &self.config, view)
    }

    /// Has what the list wants of this member said, one word at a time and beside the reading; whether there is something
    /// to wait for.
    async fn act(&mut self, view: &View, decision: Result<Decision, Disagreement>) -> bool {
        if self.acting.as_ref().is_some_and(|acting| !acting.is_finished()) {
            return true;
        }
        if let Some(acting) = self.acting.take() {
            let outcome = acting.await.unwrap_or_else(|error| Err(error.to_string()));
            if outcome.is_err() {
                self.signalled = None;
            }
            self.standing.said(outcome);
        }
        let List::Open(list) = &self.list else { return true };
        if list.place().is_none() {
            return false;
        }
        let left = self.left.take();
        let word = decision.ok().and_then(|decision| self.wanted(view, decision));
        if left.is_none() && word.is_none() {
            // While the network is founded, the first set's proposal is waited for.
            return view.current.is_none() && view.open_epoch == self.config.committee().epoch;
        }
        if let Some(Word::Ready { proposal }) = word {
            self.signalled = Some(proposal);
        }
        let (list, vault, standing, anew) =
            (Arc::clone(list), Arc::clone(&self.vault), Arc::clone(&self.standing), self.anew);
        let own = self.own(view);
        let (epoch, config) = (self.config.committee().epoch, self.config.hash());
        self.standing.begins();
        self.acting = Some(tokio::spawn(async move {
            if let Some(left) = left {
                left.resume().await.map_err(|error| error.to_string())?;
            }
            match word {
                None => Ok(()),
                Some(Word::List) => {
                    let listed = register(list.as_ref(), &own, vault.as_ref(), anew).await;
                    listed.map(|decision| standing.listed(decision)).map_err(|error| error.to_string())
                }
                Some(Word::Ready { proposal }) => {
                    let said = list.signal_ready(epoch, proposal, config).await.map_err(|error| error.to_string())?;
                    standing.signalled(epoch, said);
                    Ok(())
                }
            }
        }));
        true
    }

    /// The log decides and the list follows: a proposal for the epoch that the log is in, of exactly its members, is where
    /// the log is. That the committee's hash is right says nothing of the accounts and addresses beside it.
    fn wanted(&self, view: &View, decision: Decision) -> Option<Word> {
        if let Decision::MustList { .. } = decision {
            return Some(Word::List);
        }
        let Next::Proposed(proposed) = &view.next else { return None };
        let committee = self.config.committee();
        let named = (proposed.set.epoch(), proposed.committee) == (committee.epoch, committee.hash());
        let own = decision == Decision::Listed { current: None, next: Some(self.me.index) };
        let new = self.signalled != Some(proposed.proposal);
        (named && own && new && is_committee(&proposed.set, &self.config))
            .then_some(Word::Ready { proposal: proposed.proposal })
    }

    async fn opened(&mut self) -> Result<Arc<dyn Registry>, Failed> {
        if let List::Named(contract) = &mut self.list {
            let Contract { section, connector, purse } = contract.as_mut();
            let list = Ethereum::open(section, connector, Patience::default(), None).await?;
            let list = Arc::new(match purse.take() {
                Some(purse) => list.with_purse(purse),
                None => list,
            });
            self.left = list.place().map(|_| Arc::clone(&list));
            self.list = List::Open(list);
        }
        match &self.list {
            List::Open(list) => Ok(Arc::clone(list)),
            List::Named(_) => Err(Failed::Passing("it is not open".to_owned())),
        }
    }
}

/// The vault signs for itself: it takes no bytes, and says which of these it does not believe.
struct AskVault(VaultLink);

#[async_trait]
impl SignListing for AskVault {
    async fn sign(&self, listing: &Listing) -> Result<[u8; 65], String> {
        match self.0.ask(Request::List(Box::new(listing.statement()))).await {
            Ok(Response::Listed(signature)) => Ok(signature),
            Ok(Response::Denied(deny)) => Err(deny.to_string()),
            Ok(_) => Err("it answered something else".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}
