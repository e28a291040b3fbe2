//! The `registry` part of network.json: which endpoints to ask for which contract, or which file to read.
//!
//! `{"rpc": URL or [URL, …], "address": "0x…"}`, and where wanted `"chain_id"`, `"quorum"` (else more than half),
//! `"confirmations"` (else what the chain calls finalized).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::{Address, BadAddress};
use crate::quorum::{Depth, MAX_ENDPOINTS};
use crate::url::{BadUrl, Url};

/// Deeper than any chain reorganises.
const MAX_CONFIRMATIONS: u64 = 1024;

/// Where the node list is on a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    rpc: Vec<Url>,
    address: Address,
    chain_id: Option<u64>,
    confirmations: Option<u64>,
    quorum: Option<usize>,
}

/// A `registry` part: a contract, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `{"rpc": …, "address": …}`.
    Contract(Section),
    /// `{"file": "…"}`: for a network without a chain.
    File(PathBuf),
}

/// What is wrong with the `registry` part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSection {
    /// Not of the shape.
    #[error("registry in network.json: {0}")]
    Shape(String),
    /// A URL is not one.
    #[error("registry.rpc in network.json, number {0}: {1}")]
    Url(usize, BadUrl),
    /// Two are the same.
    #[error("registry.rpc in network.json names {0} twice: one operator's word would count as two")]
    Twice(String),
    /// None or too many.
    #[error("registry.rpc in network.json: 1 to {MAX_ENDPOINTS} endpoints")]
    Count,
    /// The contract's address is not one.
    #[error("registry.address in network.json: {0}")]
    Address(BadAddress),
    /// A quorum that is none.
    #[error("registry.quorum in network.json must be more than half of the endpoints and no more than there are")]
    Quorum,
    /// Deeper than any chain.
    #[error("registry.confirmations in network.json: at most {MAX_CONFIRMATIONS}")]
    Confirmations,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rpc: Urls,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmations: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quorum: Option<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    file: PathBuf,
}

impl Source {
    /// Reads a `registry` part.
    pub fn parse(part: &Value) -> Result<Self, BadSection> {
        if part.get("file").is_some() {
            let written = WrittenFile::deserialize(part).map_err(|error| BadSection::Shape(error.to_string()))?;
            return Ok(Self::File(written.file));
        }
        Section::parse(part).map(Self::Contract)
    }

    /// As it is written.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Contract(section) => section.to_json(),
            Self::File(path) => serde_json::json!({"file": path}),
        }
    }

    /// The file, if it is one: relative to the directory of network.json.
    pub fn file(&self, beside: &Path) -> Option<PathBuf> {
        match self {
            Self::Contract(_) => None,
            Self::File(path) => Some(beside.join(path)),
        }
    }
}

impl Section {
    /// Reads a `registry` part that names a contract.
    pub fn parse(part: &Value) -> Result<Self, BadSection> {
        let written = Written::deserialize(part).map_err(|error| BadSection::Shape(error.to_string()))?;
        let texts = match written.rpc {
            Urls::One(text) => vec![text],
            Urls::Several(texts) => texts,
        };
        if texts.is_empty() || texts.len() > MAX_ENDPOINTS {
            return Err(BadSection::Count);
        }
        let mut rpc: Vec<Url> = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let url = Url::parse(text).map_err(|error| BadSection::Url(at + 1, error))?;
            if rpc.iter().any(|earlier| earlier.name() == url.name()) {
                return Err(BadSection::Twice(url.name()));
            }
            rpc.push(url);
        }
        let address = written.address.parse().map_err(BadSection::Address)?;
        if written.quorum.is_some_and(|quorum| quorum > rpc.len() || quorum.saturating_mul(2) <= rpc.len()) {
            return Err(BadSection::Quorum);
        }
        if written.confirmations.is_some_and(|confirmations| confirmations > MAX_CONFIRMATIONS) {
            return Err(BadSection::Confirmations);
        }
        let Written { chain_id, confirmations, quorum, .. } = written;
        Ok(Self { rpc, address, chain_id, confirmations, quorum })
    }

    /// As it is written. It holds the URLs whole, with the keys that they may hold.
    pub fn to_json(&self) -> Value {
        let mut texts: Vec<String> = self.rpc.iter().map(|url| url.as_str().to_owned()).collect();
        let rpc = if texts.len() == 1 { Urls::One(texts.remove(0)) } else { Urls::Several(texts) };
        let address = self.address.to_string();
        let Self { chain_id, confirmations, quorum, .. } = *self;
        let written = Written { rpc, address, chain_id, confirmations, quorum };
        serde_json::to_value(written).unwrap_or_default()
    }

    /// The endpoints.
    pub fn rpc(&self) -> &[Url] {
        &self.rpc
    }

    /// The ports that are dialled: what the sandbox must allow.
    pub fn ports(&self) -> Vec<u16> {
        self.rpc.iter().map(Url::port).collect()
    }

    /// Whether an endpoint is asked over TLS, so that authorities are needed.
    pub fn needs_authorities(&self) -> bool {
        self.rpc.iter().any(Url::is_secure)
    }

    /// The contract.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The chain's number, if it is to be checked.
    pub const fn chain_id(&self) -> Option<u64> {
        self.chain_id
    }

    /// How many endpoints must agree.
    pub fn quorum(&self) -> usize {
        self.quorum.unwrap_or(self.rpc.len() / 2 + 1)
    }

    /// From which depth on a block counts.
    pub const fn depth(&self) -> Depth {
        match self.confirmations {
            Some(confirmations) => Depth::Confirmations(confirmations),
            None => Depth::Finalized,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ADDRESS: &str = "0x700b6A60ce7EaaEA56F065753d8dcB9653dbAD35";

    #[test]
    fn one_endpoint_or_several_are_read_and_written_as_they_came() {
        for (part, quorum, depth) in [
            (json!({"rpc": "http://127.0.0.1:8545", "address": ADDRESS}), 1, Depth::Finalized),
            (json!({"rpc": ["http://a", "https://b/key", "http://c"], "address": ADDRESS}), 2, Depth::Finalized),
            (
                json!({"rpc": ["http://a", "http://b", "http://c"], "address": ADDRESS, "chain_id": 1, "confirmations": 12, "quorum": 3}),
                3,
                Depth::Confirmations(12),
            ),
        ] {
            let section = Section::parse(&part).unwrap();
            assert_eq!((section.quorum(), section.depth()), (quorum, depth));
            assert_eq!(section.to_json(), part);
            assert_eq!(Source::parse(&part).unwrap(), Source::Contract(section));
        }
    }

    #[test]
    fn a_file_is_the_other_kind() {
        let part = json!({"file": "committee.json"});
        let source = Source::parse(&part).unwrap();
        assert_eq!(source.to_json(), part);
        assert_eq!(source.file(Path::new("/etc/torus")), Some(PathBuf::from("/etc/torus/committee.json")));
        assert!(Source::parse(&json!({"file": "a", "rpc": "http://a", "address": ADDRESS})).is_err());
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_its_reason() {
        let part = |rpc: Value| json!({"rpc": rpc, "address": ADDRESS});
        assert!(matches!(Section::parse(&json!({"rpc": "http://a"})), Err(BadSection::Shape(_))));
        assert!(matches!(
            Section::parse(&json!({"rpc": "http://a", "address": ADDRESS, "more": 1})),
            Err(BadSection::Shape(_))
        ));
        assert!(matches!(Section::parse(&json!([])), Err(BadSection::Shape(_))));
        assert_eq!(Section::parse(&part(json!([]))), Err(BadSection::Count));
        assert_eq!(Section::parse(&part(json!(vec!["http://a"; 8]))), Err(BadSection::Count));
        assert_eq!(Section::parse(&part(json!(["http://a", "ws://b"]))), Err(BadSection::Url(2, BadUrl)));
        assert_eq!(Section::parse(&part(json!(["http://a/1", "http://a/2"]))), Err(BadSection::Twice("a:80".into())));
        let bad = json!({"rpc": "http://a", "address": "0x12"});
        assert_eq!(Section::parse(&bad), Err(BadSection::Address(BadAddress::Shape)));
        for quorum in [0, 1, 4] {
            let part = json!({"rpc": ["http://a", "http://b", "http://c"], "address": ADDRESS, "quorum": quorum});
            assert_eq!(Section::parse(&part), Err(BadSection::Quorum));
        }
        let deep = json!({"rpc": "http://a", "address": ADDRESS, "confirmations": 2000});
        assert_eq!(Section::parse(&deep), Err(BadSection::Confirmations));
    }
}
