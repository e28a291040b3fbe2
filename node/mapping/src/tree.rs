//! The authenticated map: a Jellyfish Merkle tree (`jmt`) behind bytes, and proofs in the statement's own form.
//!
//! The one module that knows `jmt`. Versions are heights; leaves are never removed, so a proof of absence is not needed.

use borsh::BorshDeserialize;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, Version};
use sha2::Sha256;
use torus_statement::Hash;
use torus_statement::merkle::{MerkleProof, PLACEHOLDER, inner};

use crate::error::Failed;

/// Where the state lies. What it returns for a version never changes while that version is kept.
pub trait StateReader {
    /// A node of the tree under the key that `TreeUpdate` gave it.
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failed>;

    /// The newest value of a leaf at `version` or before.
    fn value(&self, version: u64, key: &Hash) -> Result<Option<Vec<u8>>, Failed>;
}

/// What a block does to the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeUpdate {
    /// New nodes: key and bytes.
    pub nodes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Nodes that later versions do without.
    pub stale: Vec<StaleNode>,
}

/// A node that is needed for versions below `since` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleNode {
    /// The first version that does without it.
    pub since: u64,
    /// The node's key.
    pub key: Vec<u8>,
}

/// The value at `key` in the state of `version`, with the proof that it is under that version's root. `None` if there
/// is none, or the version is not kept.
pub fn prove<R: StateReader>(reader: &R, version: u64, key: &Hash) -> Result<Option<(Vec<u8>, MerkleProof)>, Failed> {
    let mut siblings = Vec::new();
    let mut path = Vec::new();
    let mut node_key = NodeKey::new(version, path.iter().copied().collect());
    for nibble in nibbles(key) {
        match node(reader, &node_key)? {
            None if path.is_empty() => return Ok(None),
            None => return Err(Failed::Damaged(format!("a node of version {version} is missing"))),
            Some(Node::Null) => return Ok(None),
            Some(Node::Leaf(leaf)) => return proven_leaf(reader, version, key, &leaf, siblings),
            Some(Node::Internal(internal)) => {
                let mut slots: Slots = [None; 16];
                let mut next = None;
                for (index, child) in internal.children_sorted() {
                    let slot = u8::from(index);
                    if let Some(place) = slots.get_mut(usize::from(slot)) {
                        *place = Some((child.hash, child.is_leaf()));
                    }
                    if slot == nibble {
                        next = Some((index, child.version));
                    }
                }
                descend(&slots, nibble, &mut siblings);
                let Some((index, child_version)) = next else { return Ok(None) };
                path.push(index);
                node_key = NodeKey::new(child_version, path.iter().copied().collect());
            }
        }
    }
    match node(reader, &node_key)? {
        Some(Node::Leaf(leaf)) => proven_leaf(reader, version, key, &leaf, siblings),
        _ => Err(Failed::Damaged("the tree is deeper than its keys".into())),
    }
}

/// The root of a version; `None` if the version is not kept.
pub fn root<R: StateReader>(reader: &R, version: u64) -> Result<Option<Hash>, Failed> {
    let adapter = Adapter(reader);
    let tree = JellyfishMerkleTree::<_, Sha256>::new(&adapter);
    let root = tree.get_root_hash_option(version).map_err(damaged)?;
    Ok(root.map(|root| root.0))
}

/// The root and the tree's changes when these leaves are written on top of version `version - 1`.
pub(crate) fn update<R: StateReader>(
    reader: &R,
    version: u64,
    leaves: &[(Hash, Vec<u8>)],
) -> Result<(Hash, TreeUpdate), Failed> {
    let adapter = Adapter(reader);
    let tree = JellyfishMerkleTree::<_, Sha256>::new(&adapter);
    let values = leaves.iter().map(|(key, value)| (KeyHash(*key), Some(value.clone())));
    let (root, batch) = tree.put_value_set(values, version).map_err(damaged)?;
    let mut update = encode(&batch)?;
    if let (true, Some(previous)) = (leaves.is_empty(), version.checked_sub(1)) {
        // jmt copies the root of an unchanged version without saying that the old one is stale.
        let key = bytes(&NodeKey::new(previous, std::iter::empty().collect()))?;
        update.stale.push(StaleNode { since: version, key });
    }
    Ok((root.0, update))
}

type Slots = [Option<(Hash, bool)>; 16];

/// The siblings of one child on the four binary levels of a node, put below those of deeper levels.
fn descend(slots: &Slots, nibble: u8, siblings: &mut Vec<Hash>) {
    let (mut start, mut width) = (0usize, 16usize);
    let mut found = Vec::new();
    // A range whose only child is a leaf is that leaf: the path ends there.
    while width > 1 && single(slots, start, width).is_none() {
        let half = width / 2;
        let right = usize::from(nibble) >= start + half;
        let (own, other) = if right { (start + half, start) } else { (start, start + half) };
        found.push(range_hash(slots, other, half));
        (start, width) = (own, half);
    }
    found.reverse();
    siblings.splice(0..0, found);
}

fn range_hash(slots: &Slots, start: usize, width: usize) -> Hash {
    if let Some(hash) = single(slots, start, width) {
        return hash;
    }
    if width <= 1 || !slots.iter().skip(start).take(width).any(Option::is_some) {
        return PLACEHOLDER;
    }
    let half = width / 2;
    inner(&range_hash(slots, start, half), &range_hash(slots, start + half, half))
}

/// The hash that stands for a range by itself: of the only leaf in it, or of the one child that is left at the bottom.
fn single(slots: &Slots, start: usize, width: usize) -> Option<Hash> {
    let mut children = slots.iter().skip(start).take(width).flatten();
    let (hash, leaf) = children.next()?;
    (children.next().is_none() && (*leaf || width == 1)).then_some(*hash)
}

fn nibbles(key: &Hash) -> impl Iterator<Item = u8> + '_ {
    key.iter().flat_map(|byte| [byte >> 4, byte & 15])
}

fn proven_leaf<R: StateReader>(
    reader: &R,
    version: u64,
    key: &Hash,
    leaf: &LeafNode,
    siblings: Vec<Hash>,
) -> Result<Option<(Vec<u8>, MerkleProof)>, Failed> {
    if leaf.key_hash().0 != *key {
        return Ok(None);
    }
    let value = reader.value(version, key)?.ok_or_else(|| Failed::Damaged("a leaf has no value".into()))?;
    Ok(Some((value, MerkleProof { siblings })))
}

fn node<R: StateReader>(reader: &R, key: &NodeKey) -> Result<Option<Node>, Failed> {
    let parse = |bytes: Vec<u8>| Node::try_from_slice(&bytes).map_err(|e| Failed::Damaged(format!("tree node: {e}")));
    reader.node(&bytes(key)?)?.map(parse).transpose()
}

fn encode(batch: &TreeUpdateBatch) -> Result<TreeUpdate, Failed> {
    let mut update = TreeUpdate::default();
    for (key, node) in batch.node_batch.nodes() {
        update.nodes.push((bytes(key)?, bytes(node)?));
    }
    for stale in &batch.stale_node_index_batch {
        update.stale.push(StaleNode { since: stale.stale_since_version, key: bytes(&stale.node_key)? });
    }
    Ok(update)
}

fn bytes<T: borsh::BorshSerialize>(value: &T) -> Result<Vec<u8>, Failed> {
    borsh::to_vec(value).map_err(|e| Failed::Damaged(format!("tree node: {e}")))
}

fn damaged(error: anyhow::Error) -> Failed {
    match error.downcast::<Failed>() {
        Ok(failed) => failed,
        Err(error) => Failed::Damaged(format!("tree: {error:#}")),
    }
}

struct Adapter<'a, R>(&'a R);

impl<R: StateReader> TreeReader for Adapter<'_, R> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(node(self.0, key)?)
    }

    fn get_value_option(&self, version: Version, key: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.0.value(version, &key.0)?)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("trees are not restored leaf by leaf here")
    }
}
