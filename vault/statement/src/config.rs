//! An epoch's config: the committee part, whose hash operators approve, and the key part of one attempt.

use alloc::string::String;
use alloc::vec::Vec;

use torus_sharing::{Index, Sizes};

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::hash::{Hash, sha256};
use crate::key::PublicKey;
use crate::keycert::{KeyCertificate, Residency};
use crate::text::NetworkName;

/// The version of config that this build reads and writes.
pub const CONFIG_VERSION: u8 = 1;
/// Most bytes of a committee: 30 members.
pub const MAX_COMMITTEE: usize = 4 << 10;
/// Most bytes of a config: 30 members, each with a certificate and three endpoints.
pub const MAX_CONFIG: usize = 64 << 10;

/// Durations that all members share, in milliseconds. Fixed for a network when it is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeConstants {
    /// A block at least this often, so that a header's age bounds staleness.
    pub heartbeat: u32,
    /// Oldest header that proves anything for a release.
    pub freshness: u32,
    /// How far a vault's clock may be behind the newest certified header.
    pub clock_behind: u32,
    /// How far a vault's clock may be ahead of the newest certified header.
    pub clock_ahead: u32,
    /// How far ahead of a member's clock a block's time, or a receipt's, may be.
    pub skew: u32,
    /// How long a receipt counts.
    pub receipt_window: u32,
    /// The oldest token that any policy may accept.
    pub token_age: u32,
    /// How long after an epoch's start tokens must be issued to count.
    pub epoch_guard: u32,
    /// How long after a vault's start tokens must be issued to count.
    pub start_guard: u32,
    /// An attempt without a qualified set is abandoned after this.
    pub abandon_open: u32,
    /// An attempt with a qualified set that is never published is abandoned after this.
    pub abandon_qualified: u32,
}

impl TimeConstants {
    /// The defaults of the design.
    pub const DEFAULT: Self = Self {
        heartbeat: 60_000,
        freshness: 300_000,
        clock_behind: 20_000,
        clock_ahead: 300_000,
        skew: 10_000,
        receipt_window: 60_000,
        token_age: 3_600_000,
        epoch_guard: 30_000,
        start_guard: 10_000,
        abandon_open: 600_000,
        abandon_qualified: 86_400_000,
    };
}

/// One member as operators approve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The vault's lasting key.
    pub identity: PublicKey,
    /// Where its shares live.
    pub residency: Residency,
}

/// The committee part of an epoch's config: what an operator approves by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    /// The network.
    pub network: NetworkName,
    /// The chain: one for all epochs of a network.
    pub chain: Hash,
    /// From 1.
    pub epoch: u64,
    /// The hash of the config before, zero at genesis.
    pub predecessor: Hash,
    /// n, k, t.
    pub sizes: Sizes,
    /// n members in the order of their indices.
    pub members: Vec<Member>,
    /// The end in milliseconds since 1970: past it a vault releases nothing.
    pub end: u64,
    /// The durations that all members share.
    pub times: TimeConstants,
    /// How the buffer of unassigned keys is kept filled.
    pub buffer: Buffer,
    /// The time of height 0 in milliseconds since 1970.
    pub genesis_time: u64,
    /// The state root of height 0.
    pub genesis_root: Hash,
}

/// How the buffer of unassigned keys is kept filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Keys of a batch, 1 to 256.
    pub batch: u16,
    /// Below this many unassigned keys, those of open batches counted, the next batch opens.
    pub low_water: u32,
}

/// How to reach a member. Nothing here is trusted: keys are pinned by the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The public JSON-RPC URL.
    pub http: String,
    /// The multiaddress for envelopes, without the peer id.
    pub p2p: String,
    /// The multiaddress of the BFT engine, without the peer id.
    pub bft: String,
}

/// The key part of an epoch's config: one attempt's keys and endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// From 0.
    pub attempt: u32,
    /// n certificates in the order of their indices.
    pub certificates: Vec<KeyCertificate>,
    /// n endpoints in the order of their indices.
    pub endpoints: Vec<Endpoint>,
}

/// A config whose parts agree: every certificate verifies and names the committee's network, epoch and identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochConfig {
    committee: Committee,
    keys: KeyPart,
    hash: Hash,
}

/// What is wrong with a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// The number of members, certificates or endpoints is not n.
    #[error("members, certificates and endpoints must be n each")]
    Count,
    /// Two members have one key.
    #[error("members {0} and {1} share a key")]
    SharedKey(Index, Index),
    /// A certificate's signature does not verify.
    #[error("the key certificate of member {0} does not verify")]
    Signature(Index),
    /// A certificate is for another network, epoch, attempt, index, identity or residency.
    #[error("the key certificate of member {0} is for something else")]
    Mismatch(Index),
}

/// The chain of a network founded at a time.
pub fn chain_id(network: &NetworkName, genesis_time: u64) -> Hash {
    sha256("torus/chain/v1\0", &[network.as_str().as_bytes(), &[0], &genesis_time.to_be_bytes()])
}

impl Committee {
    /// The hash that an operator approves.
    pub fn hash(&self) -> Hash {
        sha256("torus/committee/v1\0", &[&self.to_bytes()])
    }
}

impl EpochConfig {
    /// Joins the parts after checking every certificate.
    pub fn new(committee: Committee, keys: KeyPart) -> Result<Self, BadConfig> {
        let n = committee.sizes.n();
        if committee.members.len() != n || keys.certificates.len() != n || keys.endpoints.len() != n {
            return Err(BadConfig::Count);
        }
        let mut seen: Vec<(PublicKey, Index)> = Vec::new();
        for (index, (member, certificate)) in
            committee.sizes.members().zip(committee.members.iter().zip(&keys.certificates))
        {
            let c = &certificate.keys;
            let matches = c.network == committee.network
                && c.epoch == committee.epoch
                && c.attempt == keys.attempt
                && c.index == index
                && c.identity == member.identity
                && c.residency == member.residency;
            if !matches {
                return Err(BadConfig::Mismatch(index));
            }
            if !certificate.verifies() {
                return Err(BadConfig::Signature(index));
            }
            for key in [c.identity, c.envelope, c.consensus] {
                if let Some((_, other)) = seen.iter().find(|(seen, _)| *seen == key) {
                    return Err(BadConfig::SharedKey(*other, index));
                }
                seen.push((key, index));
            }
            // Nodes tell members apart by it: who copied another's would be taken for him.
            let earlier = keys.certificates.iter().take(index.slot());
            if let Some(other) = earlier.map(|certificate| &certificate.keys).find(|other| other.p2p == c.p2p) {
                return Err(BadConfig::SharedKey(other.index, index));
            }
        }
        let hash = sha256("torus/config/v1\0", &[&committee.to_bytes(), &keys.to_bytes()]);
        Ok(Self { committee, keys, hash })
    }

    /// The committee part.
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The key part.
    pub const fn keys(&self) -> &KeyPart {
        &self.keys
    }

    /// The hash of the whole: what votes, sids and envelopes bind.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// n, k, t.
    pub const fn sizes(&self) -> Sizes {
        self.committee.sizes
    }

    /// The keys of the member with this identity.
    pub fn member_of(&self, identity: &PublicKey) -> Option<&crate::keycert::MemberKeys> {
        self.keys.certificates.iter().map(|certificate| &certificate.keys).find(|keys| keys.identity == *identity)
    }

    /// The keys of a member; `None` for an index above n.
    pub fn member(&self, index: Index) -> Option<&crate::keycert::MemberKeys> {
        self.keys.certificates.get(index.slot()).map(|certificate| &certificate.keys)
    }
}

impl Wire for TimeConstants {
    fn write(&self, w: &mut Writer) {
        for value in [
            self.heartbeat,
            self.freshness,
            self.clock_behind,
            self.clock_ahead,
            self.skew,
            self.receipt_window,
            self.token_age,
            self.epoch_guard,
            self.start_guard,
            self.abandon_open,
            self.abandon_qualified,
        ] {
            w.u32(value);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            heartbeat: r.u32()?,
            freshness: r.u32()?,
            clock_behind: r.u32()?,
            clock_ahead: r.u32()?,
            skew: r.u32()?,
            receipt_window: r.u32()?,
            token_age: r.u32()?,
            epoch_guard: r.u32()?,
            start_guard: r.u32()?,
            abandon_open: r.u32()?,
            abandon_qualified: r.u32()?,
        })
    }
}

impl Wire for Buffer {
    fn write(&self, w: &mut Writer) {
        w.u16(self.batch).u32(self.low_water);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let buffer = Self { batch: r.u16()?, low_water: r.u32()? };
        if buffer.batch == 0 || buffer.batch > 256 {
            return Err(Malformed::Field("batch"));
        }
        Ok(buffer)
    }
}

impl Wire for Committee {
    fn write(&self, w: &mut Writer) {
        w.u8(CONFIG_VERSION);
        self.network.write(w);
        w.raw(&self.chain).u64(self.epoch).raw(&self.predecessor);
        for size in [self.sizes.n(), self.sizes.k(), self.sizes.t()] {
            // Sizes are at most 30.
            w.u8(size as u8);
        }
        for member in &self.members {
            w.point(&member.identity);
            member.residency.write(w);
        }
        w.u64(self.end);
        self.times.write(w);
        self.buffer.write(w);
        w.u64(self.genesis_time).raw(&self.genesis_root);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != CONFIG_VERSION {
            return Err(Malformed::Version);
        }
        let network = NetworkName::read(r)?;
        let (chain, epoch, predecessor) = (r.array()?, r.u64()?, r.array()?);
        let sizes = Sizes::new(r.u8()?, r.u8()?, r.u8()?).map_err(|_| Malformed::Field("sizes"))?;
        let mut members = Vec::new();
        for _ in sizes.members() {
            members.push(Member { identity: r.point()?, residency: Residency::read(r)? });
        }
        Ok(Self {
            network,
            chain,
            epoch,
            predecessor,
            sizes,
            members,
            end: r.u64()?,
            times: TimeConstants::read(r)?,
            buffer: Buffer::read(r)?,
            genesis_time: r.u64()?,
            genesis_root: r.array()?,
        })
    }
}

impl Wire for Endpoint {
    fn write(&self, w: &mut Writer) {
        w.string(&self.http).string(&self.p2p).string(&self.bft);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { http: r.string(256)?, p2p: r.string(256)?, bft: r.string(256)? })
    }
}

impl Wire for KeyPart {
    fn write(&self, w: &mut Writer) {
        w.u32(self.attempt);
        w.list(&self.certificates, |w, certificate| certificate.write(w));
        w.list(&self.endpoints, |w, endpoint| endpoint.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            attempt: r.u32()?,
            certificates: r.list(30, KeyCertificate::read)?,
            endpoints: r.list(30, Endpoint::read)?,
        })
    }
}

impl Wire for EpochConfig {
    fn write(&self, w: &mut Writer) {
        self.committee.write(w);
        self.keys.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (committee, keys) = (Committee::read(r)?, KeyPart::read(r)?);
        Self::new(committee, keys).map_err(|_| Malformed::Field("epoch config"))
    }
}
