//! Which of the receipts that a login brings count.
//!
//! The vault checks them itself; here they are sorted out so that one member's rubbish does not spoil a login, and so
//! that a login without a quorum is refused before it costs the vault anything.

use std::collections::{BTreeMap, BTreeSet};

use torus_statement::receipt::SignedReceipt;
use torus_statement::text::VerifierName;
use torus_statement::{EpochConfig, Hash, Index, Point};

use super::error::RpcError;

/// The receipts of a quorum of distinct members for this token, this verifier and one temporary key. A receipt that
/// does not verify, or a member's second one, counts as absent.
pub(super) fn quorum(
    config: &EpochConfig,
    token: &Hash,
    verifier: &VerifierName,
    offered: Vec<SignedReceipt>,
) -> Result<Vec<SignedReceipt>, RpcError> {
    let needed = config.sizes().q();
    let mut signers: BTreeSet<Index> = BTreeSet::new();
    let mut groups: BTreeMap<Point, BTreeMap<Index, SignedReceipt>> = BTreeMap::new();
    for signed in offered {
        let Ok(receipt) = signed.verify(config) else { continue };
        signers.insert(receipt.member);
        if receipt.token == *token && receipt.verifier == *verifier {
            groups.entry(receipt.temporary).or_default().entry(receipt.member).or_insert(signed);
        }
    }
    let best = groups.into_values().max_by_key(BTreeMap::len).unwrap_or_default();
    if best.len() >= needed {
        return Ok(best.into_values().collect());
    }
    if best.is_empty() && signers.len() >= needed {
        return Err(RpcError::internal("Token commitment and token are not compatible"));
    }
    Err(RpcError::too_few_receipts(best.len(), needed))
}
