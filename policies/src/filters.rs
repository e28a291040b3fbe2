//! The filters, as the build compiled them from `resources/`, and which of them a role has.

/// One instruction of a filter, laid out as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How far to jump if a comparison holds.
    pub jt: u8,
    /// How far if not.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

/// Filters by name.
pub type Filters = &'static [(&'static str, &'static [Instruction])];

include!(concat!(env!("OUT_DIR"), "/filters.rs"));

#[cfg(target_arch = "x86_64")]
const HERE: Filters = X86_64;
#[cfg(target_arch = "aarch64")]
const HERE: Filters = AARCH64;

/// Whose lockdown it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds secrets. The token's module opens nothing after the start.
    VaultCore,
    /// Holds secrets. The token is SoftHSM, which reads and writes files of its own directory.
    VaultSoftHsm,
    /// Holds none: serves many connections, opens nothing.
    Node,
    /// The same, and reads TLS certificates again when they are replaced.
    NodeTls,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::VaultCore, Self::VaultSoftHsm, Self::Node, Self::NodeTls];

    /// The name of the filter that kills.
    pub const fn filter_name(self) -> &'static str {
        match self {
            Self::VaultCore => "vault-core",
            Self::VaultSoftHsm => "vault-softhsm",
            Self::Node => "node",
            Self::NodeTls => "node-tls",
        }
    }

    /// The name of the filter that answers an error. It is laid below the other and takes from it.
    pub const fn refused_name(self) -> &'static str {
        match self {
            Self::VaultCore | Self::VaultSoftHsm => "vault-refused",
            Self::Node | Self::NodeTls => "node-refused",
        }
    }

    /// The filters of this machine's architecture, in the order in which they are laid on.
    pub fn filters(self) -> [&'static [Instruction]; 2] {
        [self.refused_name(), self.filter_name()].map(|name| {
            // The build fails without any of the names, so an empty filter, which the kernel refuses, is never returned.
            HERE.iter().find(|(found, _)| *found == name).map_or(&[][..], |(_, filter)| filter)
        })
    }

    pub(crate) const fn vault(self) -> bool {
        matches!(self, Self::VaultCore | Self::VaultSoftHsm)
    }

    /// Descriptors: the vault has a socket, a database and what its token's module opens; the node has its connections.
    pub(crate) const fn open_files(self) -> u64 {
        if self.vault() { 1024 } else { 16_384 }
    }

    /// Bytes of one file. A vault's database of a million shares stays far below; a runaway log does not fill a disk.
    pub(crate) const fn file_size(self) -> u64 {
        if self.vault() { 64 << 30 } else { 256 << 30 }
    }
}
