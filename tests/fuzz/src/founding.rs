//! Seeds of the target `founding` that need keys: its body is private to torus-node, which cannot sign.

use torus_statement::Wire;

use crate::kit;
use crate::select;

/// The node's own seeds, and a member's file.
pub fn seeds() -> Vec<Vec<u8>> {
    let certificate = &kit::config().keys().certificates[1];
    let file = serde_json::json!({
        "version": 1,
        "network": "devnet",
        "index": 2,
        "identity": hex::encode(certificate.keys.identity.to_compressed()),
        "certificate": hex::encode(certificate.to_bytes()),
        "fingerprint": "",
    });
    let mut seeds = torus_node::genesis::fuzz::seeds();
    seeds.push(select(1, file.to_string().as_bytes()));
    seeds
}
