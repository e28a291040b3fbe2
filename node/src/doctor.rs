//! What an operator can find out about his node from beside it: its files, how it says that it is, and the node list as
//! each endpoint shows it. It changes nothing and sends nothing.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use torus_registry::{Decision, ReadAt};
use torus_statement::{EpochConfig, Index, NetworkFile, Wire};

use crate::genesis::load_p2p_key;
use crate::listed::{self, Plan};
use crate::names::Names;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MOST: usize = 1 << 20;
/// A list that was final longer ago is shown by endpoints that lag, or on a chain that stands.
const OLD: u64 = 3600;

/// What is to be examined.
pub struct Patient {
    /// The node's data directory.
    pub data: PathBuf,
    /// The network's file.
    pub network_file: PathBuf,
    /// This member.
    pub index: u8,
    /// The operator's listener of the running node.
    pub admin: Option<SocketAddr>,
    /// Name servers instead of the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Where the node list is.
    pub list: Option<listed::Options>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Worth a look.
    Warn,
    /// To be set right.
    Fail,
}

/// Everything that was found, a line a check.
#[derive(Default)]
pub struct Findings(Vec<(&'static str, Verdict, String)>);

impl Findings {
    /// Whether nothing failed.
    pub fn healthy(&self) -> bool {
        self.0.iter().all(|(_, verdict, _)| *verdict != Verdict::Fail)
    }

    /// For people.
    pub fn text(&self) -> String {
        let line = |(name, verdict, said): &(&str, Verdict, String)| format!("{}  {name:<16} {said}\n", word(*verdict));
        self.0.iter().map(line).collect()
    }

    /// For programs: `{"healthy", "checks": [{"name", "verdict", "detail"}]}`.
    pub fn json(&self) -> Value {
        let check = |(name, verdict, said): &(&str, Verdict, String)| json!({"name": name, "verdict": word(*verdict), "detail": said});
        json!({"healthy": self.healthy(), "checks": self.0.iter().map(check).collect::<Vec<_>>()})
    }

    fn add(&mut self, name: &'static str, verdict: Verdict, said: impl Display) {
        self.0.push((name, verdict, said.to_string()));
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    }
}

/// Examines what there is; what cannot be looked at is a finding.
pub async fn doctor(patient: &Patient) -> Findings {
    let mut found = Findings::default();
    let member = files(patient, &mut found);
    if let Some(admin) = patient.admin {
        running(admin, &mut found).await;
    }
    if let (Some(list), Some((config, me))) = (&patient.list, member) {
        match tokio::time::timeout(LIMIT, node_list(patient, list, &config, me, &mut found)).await {
            Ok(()) => {}
            Err(_) => found.add("node-list", Verdict::Fail, format!("it was not read within {LIMIT:?}")),
        }
    }
    found
}

fn files(patient: &Patient, found: &mut Findings) -> Option<(EpochConfig, Index)> {
    let path = patient.network_file.display();
    let read = std::fs::read(&patient.network_file).map_err(|error| error.to_string());
    let network = match read.and_then(|bytes| NetworkFile::from_bytes(&bytes).map_err(|error| error.to_string())) {
        Ok(network) => network,
        Err(error) => {
            found.add("network-file", Verdict::Fail, format!("{path}: {error}"));
            return None;
        }
    };
    let sizes = network.config.sizes();
    let said =
        format!("{}, {} members, hash {}", network.config.committee().network, sizes.n(), hex::encode(network.hash()));
    found.add("network-file", Verdict::Pass, said);
    let Some(me) = sizes.member(patient.index) else {
        found.add("member", Verdict::Fail, format!("the network has no member {}", patient.index));
        return None;
    };
    let certified = network.config.member(me).map(|keys| keys.p2p);
    match load_p2p_key(&patient.data) {
        Ok(key) if Some(key.verifying_key().to_bytes()) == certified => {
            found.add("p2p-key", Verdict::Pass, format!("the one that member {me} was certified with"));
        }
        Ok(_) => {
            let said =
                format!("the key in {} is not the one of member {me}: is --index right?", patient.data.display());
            found.add("p2p-key", Verdict::Fail, said);
        }
        Err(error) => found.add("p2p-key", Verdict::Fail, error),
    }
    Some((network.config, me))
}

/// The node's own words: vault, peers, log, clock.
async fn running(admin: SocketAddr, found: &mut Findings) {
    let said = match get(admin, "/readyz").await {
        Ok(said) => said,
        Err(error) => {
            let said = format!("nobody answers at {admin} ({error}): is the node started, and is this its --admin?");
            return found.add("node", Verdict::Fail, said);
        }
    };
    let words = |list: &str| -> Vec<String> {
        let texts = said.get(list).and_then(Value::as_array).into_iter().flatten();
        texts.filter_map(|reason| Some(reason.get("text")?.as_str()?.to_owned())).collect()
    };
    let reasons = words("reasons");
    if reasons.is_empty() {
        found.add(
            "node",
            Verdict::Pass,
            format!("it serves, at height {}", said.get("height").unwrap_or(&Value::Null)),
        );
    }
    reasons.iter().for_each(|why| found.add("node", Verdict::Fail, why));
    words("warnings").iter().for_each(|why| found.add("node", Verdict::Warn, why));
    let peers = |field: &str| said.get(field).and_then(Value::as_u64).unwrap_or_default();
    let connected = format!("{} by the log's engine, {} for envelopes", peers("peers"), peers("envelope_peers"));
    found.add("peers", if peers("peers") == 0 { Verdict::Warn } else { Verdict::Pass }, connected);
    let clock = said.pointer("/vault/clock").and_then(Value::as_bool);
    match clock {
        Some(true) => found.add("clock", Verdict::Pass, "the vault's clock agrees with the log"),
        Some(false) => found.add("clock", Verdict::Fail, "the vault's clock is off: set this machine's, by NTP"),
        None => found.add("clock", Verdict::Warn, "the vault does not say"),
    }
}

async fn node_list(patient: &Patient, list: &listed::Options, config: &EpochConfig, me: Index, found: &mut Findings) {
    let names = Names::new(&patient.resolvers).ok().map(std::sync::Arc::new);
    let look = match Plan::open_to_read(list, names) {
        Ok(plan) => plan.look(config, me).await,
        Err(error) => Err(error),
    };
    let look = match look {
        Ok(look) => look,
        Err(error) => return found.add("node-list", Verdict::Fail, error),
    };
    for fault in &look.faults {
        found.add("endpoint", Verdict::Warn, format!("{} {}", fault.endpoint, fault.what));
    }
    match look.view.at {
        ReadAt::File(hash) => found.add("node-list", Verdict::Pass, format!("a file, {}", hex::encode(hash))),
        ReadAt::Block(block) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let age = now.saturating_sub(block.time);
            let said = format!("chain and contract are as named; block {} is final, {age} s old", block.number);
            found.add("node-list", if age > OLD { Verdict::Warn } else { Verdict::Pass }, said);
        }
    }
    let (epoch, hash) = (config.committee().epoch, config.hash());
    match &look.view.current {
        None => found.add("epoch", Verdict::Warn, "no set is in force in the list yet"),
        Some(current) if (current.set.epoch(), current.config) == (epoch, hash) && look.astray => {
            let said = "this network's config is in force there, but with other members, seats or addresses: clients that \
                        read the list are led elsewhere; ask the other operators";
            found.add("epoch", Verdict::Fail, said);
        }
        Some(current) if (current.set.epoch(), current.config) == (epoch, hash) => {
            found.add("epoch", Verdict::Pass, format!("epoch {epoch} is in force there, with this network's members"));
        }
        Some(current) => {
            let said = format!(
                "epoch {} is in force there with config {}; the network file has epoch {epoch} with {}",
                current.set.epoch(),
                hex::encode(current.config),
                hex::encode(hash)
            );
            found.add("epoch", if current.set.epoch() < epoch { Verdict::Warn } else { Verdict::Fail }, said);
        }
    }
    match look.decision {
        Err(disagreement) => found.add("listing", Verdict::Fail, disagreement),
        Ok(Decision::NoSeat) => {
            found.add("listing", Verdict::Warn, "this member has no seat: the list's owner gives its account one");
        }
        Ok(Decision::MustList { epoch, index }) => {
            let said =
                format!("seat {index} of epoch {epoch} waits for this member: a running node takes it by itself");
            found.add("listing", Verdict::Warn, said);
        }
        Ok(Decision::Listed { current, next }) => {
            let index =
                |index: Option<Index>| index.map_or_else(|| "not".to_owned(), |index| format!("as member {index}"));
            let said = format!("in the set in force {}, in the next {}", index(current), index(next));
            found.add("listing", Verdict::Pass, said);
        }
    }
}

/// JSON from the operator's listener, whatever its status.
async fn get(admin: SocketAddr, path: &str) -> Result<Value, String> {
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(admin).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let request = Request::get(path).header("host", admin.to_string()).body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.map_err(|error| error.to_string())?).await;
        let body = Limited::new(answer.map_err(|error| error.to_string())?.into_body(), MOST).collect().await;
        let bytes = body.map_err(|error| error.to_string())?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_lines_for_people_and_json_for_programs() {
        let mut found = Findings::default();
        found.add("p2p-key", Verdict::Pass, "as certified");
        assert!(found.healthy());
        found.add("node", Verdict::Fail, "nobody \"answers\"");
        assert_eq!(found.text(), "pass  p2p-key          as certified\nFAIL  node             nobody \"answers\"\n");
        let json = json!({"healthy": false, "checks": [
            {"name": "p2p-key", "verdict": "pass", "detail": "as certified"},
            {"name": "node", "verdict": "FAIL", "detail": "nobody \"answers\""},
        ]});
        assert_eq!(found.json(), json);
    }
}
