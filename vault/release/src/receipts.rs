//! Whether a quorum saw the same commitment: what a hostile node can't make up alone.

use alloc::vec::Vec;

use torus_statement::receipt::{Receipt, SignedReceipt};
use torus_statement::text::VerifierName;
use torus_statement::{EpochConfig, Hash, Index, Point};

/// What receipts must agree on.
pub(crate) struct Expected<'a> {
    pub(crate) token: &'a Hash,
    pub(crate) temporary: &'a Point,
    pub(crate) verifier: &'a VerifierName,
    /// Seconds since 1970.
    pub(crate) issued_at: u64,
    /// Vault time in milliseconds since 1970.
    pub(crate) now: u64,
}

/// Whether at least q distinct members signed what is expected. What does not count is passed over, not refused: a
/// client forwards whatever nodes gave it. Signatures are checked last and only as many as needed.
pub(crate) fn quorum(config: &EpochConfig, expected: &Expected<'_>, receipts: &[SignedReceipt]) -> bool {
    let q = config.sizes().q();
    let mut members: Vec<Index> = Vec::with_capacity(q);
    for signed in receipts.iter().take(MAX_RECEIPTS) {
        let Some(receipt) = Receipt::parse(&signed.data) else { continue };
        if !members.contains(&receipt.member) && counts(config, expected, &receipt) && signed.verify(config).is_ok() {
            members.push(receipt.member);
        }
        if members.len() >= q {
            return true;
        }
    }
    false
}

/// Most receipts that are looked at.
const MAX_RECEIPTS: usize = 30;

fn counts(config: &EpochConfig, expected: &Expected<'_>, receipt: &Receipt) -> bool {
    let times = &config.committee().times;
    let time = receipt.time.saturating_mul(1000);
    receipt.token == *expected.token
        && receipt.temporary == *expected.temporary
        && receipt.verifier == *expected.verifier
        && time >= expected.now.saturating_sub(times.receipt_window.into())
        && time <= expected.now.saturating_add(times.skew.into())
        // A vault that began anew says since when it can know of earlier commitments.
        && receipt.not_before <= expected.issued_at
}
