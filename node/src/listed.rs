//! This member and the node list: compared before the node serves, listed if it must be, and the list told what the log
//! has decided. Nothing that is read there changes what the node does in the log.

mod standing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use torus_ipc::{Request, Response};
use torus_registry::{
    Account, Address, AddressesOnly, Connector, Decision, Disagreement, Ethereum, Fault, FileJournal, FileRegistry,
    Listing, Next, Own, Patience, Policy, Purse, Reach, Registry, RegistryError, Resolve, Section, Set, SignListing,
    Source, Text, View, decide, register,
};
use torus_statement::config::Endpoint;
use torus_statement::{EpochConfig, Index};

use crate::names::Names;
use crate::vault_link::VaultLink;
pub use standing::Standing;

/// How long a start waits for the list, before the node serves without having seen it.
const FIRST: Duration = Duration::from_secs(20);
/// How often the list is read; and at first, while a word of this member is due or the list cannot be read.
const POLL: Duration = Duration::from_secs(60);
const BUSY: Duration = Duration::from_secs(2);
/// How often the chain is looked at for what was sent.
const SENT: Duration = Duration::from_secs(2);
/// Most bytes of the file that names the list, and of the authorities'.
const MOST: u64 = 4 << 20;

/// What a node is told of the list.
pub struct Options {
    /// A JSON file whose part `registry` names a contract or a file: network.json.
    pub file: PathBuf,
    /// The file of the operator's account, if the node is to list itself and to pass the log's word on.
    pub account: Option<PathBuf>,
    /// Certificate authorities in PEM, for endpoints with https.
    pub authorities: PathBuf,
    /// A listing that differs is replaced, as long as its set is in the making.
    pub anew: bool,
    /// The most that a unit of gas may cost, in billionths of an ether.
    pub max_fee: u32,
}

/// The list, with everything that needs a file opened.
pub struct Plan {
    source: Planned,
    anew: bool,
    /// Whose seat is looked for by who only reads.
    account: Option<Address>,
}

/// The list as it is now, and what it says of this member.
pub struct Look {
    /// The list.
    pub view: View,
    /// Whether it and this member agree.
    pub decision: Result<Decision, Disagreement>,
    /// What endpoints did wrong meanwhile.
    pub faults: Vec<Fault>,
}

enum Planned {
    File(FileRegistry),
    Contract(Box<(Section, Connector, Option<Purse>)>),
}

/// The list cannot be used, in words for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadList(String);

impl Plan {
    /// Opens what it takes; the journal of what is under way lies in the node's data directory. To be called before the
    /// lockdown.
    pub fn open(options: &Options, data: &Path, names: Option<Arc<Names>>) -> Result<Self, BadList> {
        let Options { file, account, authorities, anew, max_fee } = options;
        let bad = |path: &Path, why: &dyn std::fmt::Display| BadList(format!("{}: {why}", path.display()));
        let json: serde_json::Value = serde_json::from_slice(&read(file)?).map_err(|error| bad(file, &error))?;
        let part = json.get("registry").ok_or_else(|| bad(file, &"it has no part `registry`"))?;
        let source = Source::parse(part).map_err(|error| bad(file, &error))?;
        let beside = file.parent().unwrap_or(Path::new("."));
        if let Some(path) = source.file(beside) {
            if account.is_some() {
                return Err(BadList("--account-key: a node list that is a file takes nobody's word".to_owned()));
            }
            let list = FileRegistry::open(&path).map_err(|error| BadList(error.to_string()))?;
            return Ok(Self { source: Planned::File(list), anew: *anew, account: None });
        }
        let Source::Contract(section) = source else { return Err(bad(file, &"it names neither contract nor file")) };
        let resolver: Arc<dyn Resolve> = match names {
            Some(names) => Arc::new(ByNames(names)),
            None => Arc::new(AddressesOnly),
        };
        let mut connector = Connector::new(resolver);
        if section.needs_authorities() {
            connector = connector.with_authorities(&read(authorities)?).map_err(|e| bad(authorities, &e))?;
        }
        let policy = Policy { poll: SENT, max_fee: u64::from(*max_fee) * 1_000_000_000, ..Policy::default() };
        let purse = account.as_ref().map(|path| {
            let account = Account::load(path).map_err(|error| BadList(error.to_string()))?;
            let journal = data.join("account.journal");
            let journal = FileJournal::open(&journal).map_err(|error| bad(&journal, &error))?;
            Ok(Purse { account, journal: Box::new(journal), policy })
        });
        let contract = (section, connector, purse.transpose()?);
        Ok(Self { source: Planned::Contract(Box::new(contract)), anew: *anew, account: None })
    }

    /// The same to read the list alone: nothing is sent, and no journal is touched.
    pub fn open_to_read(options: &Options, names: Option<Arc<Names>>) -> Result<Self, BadList> {
        let account = options.account.as_deref().map(Account::load).transpose();
        let account = account.map_err(|error| BadList(error.to_string()))?.map(|account| account.address());
        let Options { file, authorities, anew, max_fee, .. } = options;
        let (file, authorities) = (file.clone(), authorities.clone());
        let blind = Options { file, account: None, authorities, anew: *anew, max_fee: *max_fee };
        Ok(Self { account, ..Self::open(&blind, Path::new(""), names)? })
    }

    /// Reads the list once and compares it.
    ///
    /// # Errors
    /// It cannot be reached, or is not this network's; in words.
    pub async fn look(self, config: &EpochConfig, me: Index) -> Result<Look, BadList> {
        let member = Member::of(config, me)?;
        let bad = |error: RegistryError| BadList(error.to_string());
        let (list, faults): (Arc<dyn Registry>, _) = match self.source {
            Planned::File(list) => (Arc::new(list), None),
            Planned::Contract(contract) => {
                let (section, connector, _) = contract.as_ref();
                let list = Ethereum::open(section, connector, Patience::default(), None).await.map_err(bad)?;
                let list = Arc::new(list);
                (Arc::clone(&list) as Arc<dyn Registry>, Some(list))
            }
        };
        let view = list.view().await.map_err(bad)?;
        let own = member.own(self.account, config, &view);
        let decision = decide(&view, &own, self.anew);
        let faults = faults.map_or_else(Vec::new, |list| list.faults());
        Ok(Look { view, decision, faults })
    }

    /// The TCP ports that are dialled.
    pub fn ports(&self) -> Vec<u16> {
        match &self.source {
            Planned::File(_) => Vec::new(),
            Planned::Contract(contract) => contract.0.ports(),
        }
    }

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
                let view = keeper.of_this_epoch(view);
                decide(&view, &keeper.own(&view), false).map_err(|error| BadList(error.to_string()))?;
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
    Named(Box<(Section, Connector, Option<Purse>)>),
}

struct Member {
    index: Index,
    identity: torus_statement::Point,
    reach: Reach,
}

impl Member {
    fn of(config: &EpochConfig, index: Index) -> Result<Self, BadList> {
        match (config.member(index), config.keys().endpoints.get(index.slot())) {
            (Some(member), Some(endpoint)) => Ok(Self { index, identity: member.identity, reach: reach(endpoint)? }),
            _ => Err(BadList("this node is no member".to_owned())),
        }
    }

    /// Who this member is to the list: by its account; without one, by whichever account lists its identity.
    fn own(&self, account: Option<Address>, config: &EpochConfig, view: &View) -> Own {
        let identity = self.identity;
        let epochs = [config.committee().epoch, view.open_epoch];
        let lister = || {
            let mut listed = epochs.into_iter().flat_map(|epoch| view.listed(epoch));
            listed.find(|member| member.identity == identity).map(|member| member.account)
        };
        let account = account.or_else(lister).unwrap_or_else(|| Address::of(&identity));
        Own { account, identity, reach: self.reach.clone() }
    }
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
        let epoch = self.config.committee().epoch;
        let astray = view.current.as_ref().is_some_and(|current| {
            // A list that is behind will follow; one that names others for this epoch will not.
            let other = current.config != self.config.hash() || !is_committee(&current.set, &self.config);
            current.set.epoch() > epoch || (current.set.epoch() == epoch && other)
        });
        self.standing.read(&view, &decision, astray);
        Ok((view, decision))
    }

    /// The view without sets of other epochs than the one that the network is in.
    fn of_this_epoch(&self, mut view: View) -> View {
        let epoch = self.config.committee().epoch;
        view.current = view.current.filter(|current| current.set.epoch() == epoch);
        if view.open_epoch != epoch {
            view.next = Next::None;
        }
        view
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
            let (section, connector, purse) = contract.as_mut();
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

/// Whether a set is the committee that a config has: its sizes, and at each index its identity and addresses.
fn is_committee(set: &Set, config: &EpochConfig) -> bool {
    let members = config.committee().members.iter().zip(&config.keys().endpoints);
    set.sizes() == config.sizes()
        && set.members().len() == config.committee().members.len()
        && set.members().iter().zip(members).all(|(listed, (member, endpoint))| {
            listed.identity == member.identity && reach(endpoint).is_ok_and(|reach| reach == listed.reach)
        })
}

/// A member's addresses as the list has them.
fn reach(endpoint: &Endpoint) -> Result<Reach, BadList> {
    let text = |field: &str, text: &str| {
        Text::new(text).map_err(|error| BadList(format!("this member's {field} {text} cannot be listed: {error}")))
    };
    Ok(Reach {
        http: text("endpoint", host(&endpoint.http))?,
        bft: text("engine's address", &endpoint.bft)?,
        p2p: text("address for envelopes", &endpoint.p2p)?,
    })
}

/// host[:port] of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

fn read(path: &Path) -> Result<Vec<u8>, BadList> {
    let bad = |error: std::io::Error| BadList(format!("{}: {error}", path.display()));
    if std::fs::metadata(path).map_err(bad)?.len() > MOST {
        return Err(BadList(format!("{} is above {MOST} bytes: is it another file?", path.display())));
    }
    std::fs::read(path).map_err(bad)
}

/// The names of endpoints, asked for as other members' are.
struct ByNames(Arc<Names>);

#[async_trait]
impl Resolve for ByNames {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        self.0.resolve(host).await.map_err(|error| error.to_string())
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
