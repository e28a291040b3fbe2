//! This member and the node list: compared before the node serves, listed if it must be, and the list told what the log
//! has decided. Nothing that is read there changes what the node does in the log.

mod keeper;
mod standing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use torus_registry::{
    Account, Address, AddressesOnly, Connector, Decision, Disagreement, Ethereum, Fault, FileJournal, FileRegistry,
    Next, Own, Patience, Policy, Purse, Reach, Registry, RegistryError, Resolve, Section, Set, Source, Text, View,
    decide,
};
use torus_statement::config::Endpoint;
use torus_statement::{EpochConfig, Index};

use crate::names::Names;
pub use keeper::Keeper;
pub use standing::Standing;

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
    /// It has others in force for this network's epoch than the network.
    pub astray: bool,
    /// What endpoints did wrong meanwhile.
    pub faults: Vec<Fault>,
}

enum Planned {
    File(FileRegistry),
    Contract(Box<Contract>),
}

struct Contract {
    section: Section,
    connector: Connector,
    purse: Option<Purse>,
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
        let contract = Contract { section, connector, purse: purse.transpose()? };
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
                let Contract { section, connector, .. } = contract.as_ref();
                let list = Ethereum::open(section, connector, Patience::default(), None).await.map_err(bad)?;
                let list = Arc::new(list);
                (Arc::clone(&list) as Arc<dyn Registry>, Some(list))
            }
        };
        let view = list.view().await.map_err(bad)?;
        let own = member.own(self.account, config, &view);
        let decision = decide(&view, &own, self.anew);
        let faults = faults.map_or_else(Vec::new, |list| list.faults());
        let astray = is_astray(&view, config);
        Ok(Look { view, decision, astray, faults })
    }

    /// The TCP ports that are dialled.
    pub fn ports(&self) -> Vec<u16> {
        match &self.source {
            Planned::File(_) => Vec::new(),
            Planned::Contract(contract) => contract.section.ports(),
        }
    }
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

/// Whether a member may serve, as far as the list goes: only a set of the epoch that the network is in refuses it. A later
/// one may have other addresses; and a listing in the making that the operator wants replaced is no reason.
fn may_serve(view: &View, own: &Own, config: &EpochConfig, anew: bool) -> Result<(), Disagreement> {
    let epoch = config.committee().epoch;
    let mut view = view.clone();
    view.current = view.current.filter(|current| current.set.epoch() == epoch);
    if view.open_epoch != epoch {
        view.next = Next::None;
    }
    decide(&view, own, anew).map(|_| ())
}

/// Whether the list has others in force than this network's log. One that is behind will follow; one that names others
/// for this epoch, or a later one, will not.
fn is_astray(view: &View, config: &EpochConfig) -> bool {
    view.current.as_ref().is_some_and(|current| {
        let other = current.config != config.hash() || !is_committee(&current.set, config);
        let (theirs, ours) = (current.set.epoch(), config.committee().epoch);
        theirs > ours || (theirs == ours && other)
    })
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
