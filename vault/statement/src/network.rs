//! The network's file: the genesis config and verifiers, whose hash every vault is started with.

use alloc::vec::Vec;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::config::EpochConfig;
use crate::hash::{Hash, sha256};
use crate::policy::Verifier;

/// What all members of a network start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFile {
    /// The first epoch's config.
    pub config: EpochConfig,
    /// The verifiers of the genesis state, in rising order of their names.
    pub verifiers: Vec<Verifier>,
}

/// Most bytes of a network file.
pub const MAX_NETWORK_FILE: usize = 1 << 20;

impl NetworkFile {
    /// The hash that an operator approves when his vault joins.
    pub fn hash(&self) -> Hash {
        sha256("torus/network/v1\0", &[&self.to_bytes()])
    }
}

impl Wire for NetworkFile {
    fn write(&self, w: &mut Writer) {
        w.raw(b"torus-network\0").u8(1);
        self.config.write(w);
        w.list(&self.verifiers, |w, verifier| verifier.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.slice(14)? != b"torus-network\0" || r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        let file = Self { config: EpochConfig::read(r)?, verifiers: r.list(64, Verifier::read)? };
        if !file.verifiers.is_sorted_by(|a, b| a.name < b.name) {
            return Err(Malformed::Field("verifiers"));
        }
        Ok(file)
    }
}
