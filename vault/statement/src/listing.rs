//! The statement by which a member lists itself in the contract: EIP-712 typed data, which only its identity signs.
//!
//! The preimage is built from typed fields, and the texts are in it by their hashes alone: whoever chooses the fields
//! chooses no byte of what is signed. It names chain and contract, so that it counts nowhere else, and the epoch and the
//! account, so that nobody else can use it.

use alloc::vec::Vec;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::hash::{Hash, keccak256};
use crate::key::{PublicKey, Signature};
use crate::registry::Domain;
use crate::text::ListedText;

const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const NAME: &str = "Torus NodeList";
const VERSION: &str = "1";
const LISTING_TYPE: &str = "Listing(uint256 epoch,address account,string declaredIp,uint256 pubKx,uint256 pubKy,\
                            string tmP2PListenAddress,string p2pListenAddress)";

/// An account or a contract on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u8; 20]);

/// What a member lists of itself; its identity, which signs, is no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The chain that the contract is on, by its id.
    pub chain: u64,
    /// The contract.
    pub contract: Address,
    /// The epoch that the member is listed for.
    pub epoch: u64,
    /// The account that lists it, which the contract's owner gave a seat.
    pub account: Address,
    /// The contract's `declaredIp`: where clients find it, host[:port].
    pub declared_ip: ListedText,
    /// The contract's `tmP2PListenAddress`: where the log's engine listens.
    pub bft: ListedText,
    /// The contract's `p2pListenAddress`: where envelopes are taken.
    pub p2p: ListedText,
}

impl Listing {
    /// The EIP-712 domain separator: name and version of the contract's kind, chain and contract.
    pub fn domain_separator(&self) -> Hash {
        words(&[
            keccak256(DOMAIN_TYPE.as_bytes()),
            keccak256(NAME.as_bytes()),
            keccak256(VERSION.as_bytes()),
            number(self.chain),
            address(&self.contract),
        ])
    }

    /// The hash of the listing itself, of the member with this identity.
    pub fn struct_hash(&self, identity: &PublicKey) -> Hash {
        let (x, y) = coordinates(identity);
        let text = |text: &ListedText| keccak256(text.as_str().as_bytes());
        words(&[
            keccak256(LISTING_TYPE.as_bytes()),
            number(self.epoch),
            address(&self.account),
            text(&self.declared_ip),
            x,
            y,
            text(&self.bft),
            text(&self.p2p),
        ])
    }

    /// The bytes that `identity` signs.
    pub fn preimage(&self, identity: &PublicKey) -> Vec<u8> {
        let (domain, listing) = (self.domain_separator(), self.struct_hash(identity));
        Domain::Contract.preimage(|w| {
            w.raw(&domain).raw(&listing);
        })
    }

    /// What the signature is over: Keccak-256 of the preimage.
    pub fn digest(&self, identity: &PublicKey) -> Hash {
        keccak256(&self.preimage(identity))
    }

    /// Whether these 65 bytes are `identity`'s signature r | s | v in the one form that the contract takes: v is 27 or 28,
    /// s in the lower half, and recovery gives this identity.
    #[must_use]
    pub fn verifies(&self, identity: &PublicKey, signature: &[u8; 65]) -> bool {
        let parsed = signature.first_chunk().and_then(Signature::from_bytes);
        parsed.and_then(|parsed| parsed.with_recovery(identity, &self.digest(identity))) == Some(*signature)
    }
}

/// Keccak-256 over words of 32 bytes: how EIP-712 hashes a struct.
fn words(words: &[Hash]) -> Hash {
    keccak256(words.as_flattened())
}

/// A number as a word.
fn number(value: u64) -> Hash {
    right(&value.to_be_bytes())
}

/// An address as a word.
fn address(address: &Address) -> Hash {
    right(&address.0)
}

/// A word that ends with these bytes, zeros before them.
fn right(bytes: &[u8]) -> Hash {
    let mut word = [0; 32];
    word.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
    word
}

fn coordinates(identity: &PublicKey) -> (Hash, Hash) {
    let xy = identity.to_xy();
    let (x, y) = xy.split_at(32);
    (right(x), right(y))
}

impl Wire for Address {
    fn write(&self, w: &mut Writer) {
        w.raw(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        r.array().map(Self)
    }
}

impl Wire for Listing {
    fn write(&self, w: &mut Writer) {
        w.u64(self.chain);
        self.contract.write(w);
        w.u64(self.epoch);
        self.account.write(w);
        self.declared_ip.write(w);
        self.bft.write(w);
        self.p2p.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            chain: r.u64()?,
            contract: Address::read(r)?,
            epoch: r.u64()?,
            account: Address::read(r)?,
            declared_ip: ListedText::read(r)?,
            bft: ListedText::read(r)?,
            p2p: ListedText::read(r)?,
        })
    }
}
