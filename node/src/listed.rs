//! This member and the node list: compared before the node serves, listed if it must be, and the list told what the log
//! has decided. Nothing that is read there changes what the node does in the log.

mod standing;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use torus_ipc::{Request, Response};
use torus_registry::{
    Account, Address, AddressesOnly, Connector, Decision, Ethereum, FileJournal, FileRegistry, Listing, Next, Own,
    Patience, Policy, Purse, Reach, RegistrationError, Registry, RegistryError, Resolve, Section, SignListing, Source,
    Text, View, decide, register,
};
use torus_statement::config::Endpoint;
use torus_statement::{EpochConfig, Index};

use crate::names::Names;
use crate::vault_link::VaultLink;
pub use standing::Standing;

/// How long a start waits for the list, before the node serves without having seen it.
const FIRST: Duration = Duration::from_secs(20);
/// How often the list is read; and while a set is in the making, or it cannot be read.
const POLL: Duration = Duration::from_secs(60);
const BUSY: Duration = Duration::from_secs(5);
/// How often the chain is looked at for what was sent.
const SENT: Duration = Duration::from_secs(4);
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
}

/// The list, with everything that needs a file opened.
pub struct Plan {
    source: Planned,
    anew: bool,
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
        let Options { file, account, authorities, anew } = options;
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
            return Ok(Self { source: Planned::File(list), anew: *anew });
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
        let purse = account.as_ref().map(|path| {
            let account = Account::load(path).map_err(|error| BadList(error.to_string()))?;
            let journal = data.join("account.journal");
            let journal = FileJournal::open(&journal).map_err(|error| bad(&journal, &error))?;
            Ok(Purse { account, journal: Box::new(journal), policy: Policy { poll: SENT, ..Policy::default() } })
        });
        let contract = (section, connector, purse.transpose()?);
        Ok(Self { source: Planned::Contract(Box::new(contract)), anew: *anew })
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
    /// What the operator has to set right before this node serves: the list and this member disagree, or what is named
    /// is not this network's list. A list that cannot be reached is no reason: it is asked for again.
    pub async fn begin(self, config: Arc<EpochConfig>, me: Index, link: VaultLink) -> Result<Keeper, BadList> {
        let (member, endpoint) = match (config.member(me), config.keys().endpoints.get(me.slot())) {
            (Some(member), Some(endpoint)) => (member, endpoint),
            _ => return Err(BadList("this node is no member".to_owned())),
        };
        let me = Member { identity: member.identity, reach: reach(endpoint)? };
        let list = match self.source {
            Planned::File(list) => List::Open(Arc::new(list)),
            Planned::Contract(contract) => List::Named(contract),
        };
        let vault = AskVault(link);
        let mut keeper = Keeper { list, me, config, vault, anew: self.anew, standing: Arc::default() };
        match tokio::time::timeout(FIRST, keeper.look()).await {
            Ok(Err(Failed::Operator(why))) => return Err(BadList(why)),
            Ok(Err(Failed::Passing(why))) => keeper.standing.failed(&why),
            Ok(Ok(())) => {}
            Err(_) => keeper.standing.failed(&format!("the node list was not read within {FIRST:?}")),
        }
        Ok(keeper)
    }
}

/// Keeps this member listed as it is, and passes the log's word on.
pub struct Keeper {
    list: List,
    me: Member,
    config: Arc<EpochConfig>,
    vault: AskVault,
    anew: bool,
    standing: Arc<Standing>,
}

enum List {
    Open(Arc<dyn Registry>),
    /// Not reached yet.
    Named(Box<(Section, Connector, Option<Purse>)>),
}

struct Member {
    identity: torus_statement::Point,
    reach: Reach,
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

impl Keeper {
    /// How this member stands, for whoever asks.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// Never returns. What goes wrong is told and tried again.
    pub async fn run(mut self) {
        loop {
            let outcome = match self.look().await {
                Ok(()) => self.act().await,
                failed => failed,
            };
            let quiet = outcome.is_ok() && self.standing.is_settled();
            if let Err(Failed::Operator(why) | Failed::Passing(why)) = outcome {
                self.standing.failed(&why);
            }
            tokio::time::sleep(if quiet { POLL } else { BUSY }).await;
        }
    }

    /// Reads the list and compares it with this member.
    async fn look(&mut self) -> Result<(), Failed> {
        let list = self.opened().await?;
        let view = list.view().await?;
        let own = self.own(list.as_ref(), &view);
        let decision = decide(&view, &own, self.anew).map_err(|error| Failed::Operator(error.to_string()))?;
        self.standing.saw(&view, decision, &self.config);
        Ok(())
    }

    /// Does what the list wants of this member: a listing, or the word that the log is where a proposal leads.
    async fn act(&mut self) -> Result<(), Failed> {
        let list = self.opened().await?;
        if list.place().is_none() {
            return Ok(());
        }
        let view = list.view().await?;
        let own = self.own(list.as_ref(), &view);
        if let Decision::MustList { .. } =
            decide(&view, &own, self.anew).map_err(|e| Failed::Operator(e.to_string()))?
        {
            let done = register(list.as_ref(), &own, &self.vault, self.anew).await;
            let decision = done.map_err(|error| match error {
                RegistrationError::Disagreement(error) => Failed::Operator(error.to_string()),
                error => Failed::Passing(error.to_string()),
            })?;
            self.standing.listed(decision);
        }
        // The log decides and the list follows: what is proposed here may be what the log has come to.
        let committee = self.config.committee();
        if let Next::Proposed(proposed) = &view.next
            && (proposed.set.epoch(), proposed.committee) == (committee.epoch, committee.hash())
        {
            let said = list.signal_ready(committee.epoch, proposed.proposal, self.config.hash()).await?;
            self.standing.signalled(committee.epoch, said);
        }
        Ok(())
    }

    async fn opened(&mut self) -> Result<Arc<dyn Registry>, Failed> {
        if let List::Named(contract) = &mut self.list {
            let (section, connector, purse) = contract.as_mut();
            let list = Ethereum::open(section, connector, Patience::default(), None).await?;
            let list = match purse.take() {
                Some(purse) => list.with_purse(purse),
                None => list,
            };
            self.list = List::Open(Arc::new(list));
        }
        match &self.list {
            List::Open(list) => Ok(Arc::clone(list)),
            List::Named(_) => Err(Failed::Passing("the node list is not open".to_owned())),
        }
    }

    /// Who this member is to the list: by its account; without one, by whichever account lists its identity.
    fn own(&self, list: &dyn Registry, view: &View) -> Own {
        let identity = self.me.identity;
        let epochs = [self.config.committee().epoch, view.open_epoch];
        let lister = || {
            let mut listed = epochs.into_iter().flat_map(|epoch| view.listed(epoch));
            listed.find(|member| member.identity == identity).map(|member| member.account)
        };
        let account = list.place().map(|place| place.account).or_else(lister);
        let account = account.unwrap_or_else(|| Address::of(&identity));
        Own { account, identity, reach: self.me.reach.clone() }
    }
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
