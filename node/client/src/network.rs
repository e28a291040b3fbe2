//! The network as its file describes it: members with their keys and endpoints, verifiers, sizes.

use std::collections::BTreeSet;

use hyper::Uri;
use serde::Deserialize;
use torus_statement::text::NetworkName;
use torus_statement::{Hash, Index, Point, Sizes};

use crate::error::Error;

/// A network that a client can talk to: sizes that the protocol is sound for, every member once, keys that are points.
#[derive(Clone, Debug)]
pub struct Network {
    /// The name that receipts carry.
    pub name: NetworkName,
    /// The epoch that receipts carry.
    pub epoch: u64,
    /// n, k, t.
    pub sizes: Sizes,
    /// n members in the order of their indices.
    pub members: Vec<Member>,
    /// Verifiers, as far as the file tells.
    pub verifiers: Vec<VerifierInfo>,
    /// Where a devnet mints tokens: an e-mail address is appended.
    pub mint: Option<String>,
    /// The hash of the network's founding file, if this file pins it.
    pub genesis: Option<Hash>,
}

/// One member.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its index.
    pub index: Index,
    /// Its JSON-RPC URL.
    pub endpoint: Uri,
    /// Its identity.
    pub key: Point,
}

/// A verifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct VerifierInfo {
    /// Its name.
    pub name: String,
    /// Whose tokens it takes.
    #[serde(default)]
    pub issuer: String,
    /// For whom they must be.
    #[serde(default)]
    pub audience: String,
    /// The claim that names the user.
    #[serde(default)]
    pub id_claim: String,
}

#[derive(Deserialize)]
struct Raw {
    network: String,
    epoch: u64,
    n: u8,
    k: u8,
    t: u8,
    members: Vec<RawMember>,
    #[serde(default)]
    verifiers: Vec<VerifierInfo>,
    mint: Option<String>,
    genesis: Option<String>,
}

#[derive(Deserialize)]
struct RawMember {
    index: u8,
    endpoint: String,
    pubkey: RawKey,
}

#[derive(Deserialize)]
struct RawKey {
    x: String,
    y: String,
}

impl Network {
    /// Parses the JSON text; further members of its objects are passed over.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let raw: Raw = serde_json::from_slice(text).map_err(|e| Error::Network(e.to_string()))?;
        let sizes = Sizes::new(raw.n, raw.k, raw.t).map_err(|rule| Error::Network(rule.to_string()))?;
        let mut members = raw.members.into_iter().map(|m| member(sizes, m)).collect::<Result<Vec<_>, _>>()?;
        members.sort_by_key(|member| member.index);
        let in_order = members.iter().map(|member| member.index).eq(sizes.members());
        let keys: BTreeSet<Point> = members.iter().map(|member| member.key).collect();
        if !in_order || keys.len() != members.len() {
            return Err(Error::Network(format!("it must list {} different members, each index once", raw.n)));
        }
        Ok(Self {
            name: NetworkName::new(&raw.network).ok_or_else(|| Error::Network("the name is not valid".to_owned()))?,
            epoch: raw.epoch,
            sizes,
            members,
            verifiers: raw.verifiers,
            mint: raw.mint,
            genesis: raw.genesis.map(|text| parse_hash(&text)).transpose()?,
        })
    }
}

/// 64 hex digits.
pub(crate) fn parse_hash(text: &str) -> Result<Hash, Error> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash)
        .map_err(|_| Error::Network("the genesis hash is not 64 hex digits".to_owned()))?;
    Ok(hash)
}

fn member(sizes: Sizes, raw: RawMember) -> Result<Member, Error> {
    let bad = |what: &str| Error::Network(format!("member {}: {what}", raw.index));
    let mut xy = [0; 64];
    let (x, y) = xy.split_at_mut(32);
    for (to, from) in [(x, &raw.pubkey.x), (y, &raw.pubkey.y)] {
        hex::decode_to_slice(format!("{from:0>64}"), to).map_err(|_| bad("pubkey is not hex"))?;
    }
    let endpoint: Uri = raw.endpoint.parse().map_err(|_| bad("endpoint is not a URL"))?;
    if !matches!(endpoint.scheme_str(), Some("http" | "https")) || endpoint.host().is_none() {
        return Err(bad("endpoint is not an http or https URL"));
    }
    Ok(Member {
        index: sizes.member(raw.index).ok_or_else(|| bad("its index is not one of 1 to n"))?,
        endpoint,
        key: Point::from_xy(&xy).map_err(|_| bad("pubkey is not a point of secp256k1"))?,
    })
}
