//! What `GET /node-details` answers: the members in the shape that fetch-node-details 16 reads.
//!
//! They are those of the config in force, which the node itself goes by: no chain has to be asked, and no endpoint of one
//! is believed.

use serde_json::{Value, json};
use torus_statement::EpochConfig;

/// The members of a config, in the order of their indices.
pub(super) fn node_details(config: &EpochConfig) -> Value {
    let members = config.sizes().members().zip(&config.committee().members).zip(&config.keys().endpoints);
    let (mut endpoints, mut keys, mut indices) = (Vec::new(), Vec::new(), Vec::new());
    for ((index, member), endpoint) in members {
        let xy = member.identity.to_xy();
        let (x, y) = xy.split_at(32);
        keys.push(json!({"X": hex::encode(x), "Y": hex::encode(y)}));
        endpoints.push(endpoint.http.clone());
        indices.push(index.get());
    }
    // RSS and TSS are services that this network does not have.
    json!({ "nodeDetails": {
        "currentEpoch": config.committee().epoch.to_string(),
        "torusNodeEndpoints": endpoints,
        "torusNodeSSSEndpoints": endpoints,
        "torusNodeRSSEndpoints": [],
        "torusNodeTSSEndpoints": [],
        "torusNodePub": keys,
        "torusIndexes": indices,
        "updated": true,
    }})
}
