//! Proofs that a value is under a state root: our own bytes for the Jellyfish Merkle tree that the node keeps.
//!
//! A leaf is SHA-256("JMT::LeafNode" | key | SHA-256(value)), an inner node SHA-256("JMT::IntrnalNode" | left | right),
//! an empty subtree the 32 bytes `SPARSE_MERKLE_PLACEHOLDER_HASH__`. The proof lists the siblings from the leaf's level
//! up to the root; the key's bits, most significant first, say on which side each lies.

use alloc::vec::Vec;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::hash::{Hash, sha256};

/// An empty subtree.
pub const PLACEHOLDER: Hash = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

/// Siblings from the leaf up to the root, at most 256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleProof {
    /// From the deepest to the root's child.
    pub siblings: Vec<Hash>,
}

impl MerkleProof {
    /// Whether `value` is stored at `key` under `root`.
    #[must_use]
    pub fn verifies(&self, root: &Hash, key: &Hash, value: &[u8]) -> bool {
        let depth = self.siblings.len();
        if depth > 256 {
            return false;
        }
        let mut hash = leaf(key, value);
        for (above, sibling) in self.siblings.iter().enumerate() {
            // The deepest sibling is decided by the bit at index depth-1.
            let Some(bit) = depth.checked_sub(above + 1).and_then(|index| bit(key, index)) else { return false };
            hash = if bit { inner(sibling, &hash) } else { inner(&hash, sibling) };
        }
        hash == *root
    }
}

/// The hash of a leaf.
pub fn leaf(key: &Hash, value: &[u8]) -> Hash {
    sha256("JMT::LeafNode", &[key, &sha256("", &[value])])
}

/// The hash of an inner node.
pub fn inner(left: &Hash, right: &Hash) -> Hash {
    sha256("JMT::IntrnalNode", &[left, right])
}

fn bit(key: &Hash, index: usize) -> Option<bool> {
    key.get(index / 8).map(|byte| byte & (0x80 >> (index % 8)) != 0)
}

impl Wire for MerkleProof {
    fn write(&self, w: &mut Writer) {
        w.list(&self.siblings, |w, sibling| {
            w.raw(sibling);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { siblings: r.list(256, Reader::array)? })
    }
}
