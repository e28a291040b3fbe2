//! The start-up gate: what a token must prove on scratch keys before the vault serves with it.
//!
//! A PKCS#11 module may accept a template and not enforce it. The gate therefore makes keys exactly as the vault makes
//! them and tries to get them out. It never touches the vault's own keys, and removes what it made.

mod curve;
mod policy;
mod report;
mod scratch;
mod sealing;

pub use report::{Check, Report, Verdict};

pub(crate) use scratch::Plan;

use crate::token::Token;
use scratch::Bench;

type Probe = fn(&Bench) -> Outcome;

/// Every check by its stable name. All run, whatever the earlier ones found.
const CHECKS: [(&str, Probe); 23] = [
    ("keys-generated", policy::keys_generated),
    ("attributes-kept", policy::attributes_kept),
    ("share-key-unreadable", policy::share_key_unreadable),
    ("private-keys-unreadable", policy::private_keys_unreadable),
    ("sensitive-stays", policy::sensitive_stays),
    ("extractable-stays-off", policy::extractable_stays_off),
    ("modification-refused", policy::modification_refused),
    ("copy-refused", policy::copy_refused),
    ("wrapping-refused", policy::wrapping_refused),
    ("mechanisms-bounded", policy::mechanisms_bounded),
    ("share-key-only-seals", policy::share_key_only_seals),
    ("signing-key-only-signs", curve::signing_key_only_signs),
    ("envelope-key-only-derives", curve::envelope_key_only_derives),
    ("signature-verifies", curve::signature_verifies),
    ("agreement-equals", curve::agreement_equals),
    ("off-curve-point-refused", curve::off_curve_point_refused),
    ("sealing-opens", sealing::sealing_opens),
    ("sealing-known-answer", sealing::known_answer),
    ("altered-sealing-refused", sealing::altered_refused),
    ("altered-aad-refused", sealing::altered_aad_refused),
    ("truncated-tag-refused", sealing::truncated_tag_refused),
    ("random-varies", sealing::random_varies),
    ("no-equality-oracle", policy::no_equality_oracle),
];

/// A check's result before it has its name.
struct Outcome {
    verdict: Verdict,
    detail: String,
}

/// Puts the token to the test: every check, on scratch keys that are removed afterwards.
///
/// A vault must not serve unless [`Report::passed`]. Two processes must not test one token at the same time: each
/// removes the scratch keys that it finds, and the other then fails.
pub fn conformance(token: &Token) -> Report {
    examine(token, &Plan::STRICT)
}

/// As [`conformance`], with keys as strict as the plan makes them.
pub(crate) fn examine(token: &Token, plan: &Plan) -> Report {
    let mut bench = match Bench::new(token, plan) {
        Ok(bench) => bench,
        Err(error) => {
            let failed = |(name, _): &(&'static str, Probe)| Check {
                name,
                verdict: Verdict::Fail,
                detail: format!("no session: {error}"),
            };
            return Report { checks: CHECKS.iter().map(failed).collect() };
        }
    };
    let mut checks = Vec::with_capacity(CHECKS.len());
    for (name, probe) in CHECKS {
        // A session of its own, so that an operation which one check left open does not refuse the next.
        let Outcome { verdict, detail } = match bench.refresh() {
            Ok(()) => probe(&bench),
            Err(error) => Outcome::fail(format!("no session: {error}")),
        };
        checks.push(Check { name, verdict, detail });
    }
    Report { checks }
}

impl Outcome {
    fn pass(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pass, detail: detail.into() }
    }

    fn warn(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, detail: detail.into() }
    }

    fn fail(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, detail: detail.into() }
    }

    /// The worst of several; of equals the first.
    fn worst(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let rank = |outcome: &Self| match outcome.verdict {
            Verdict::Pass => 0,
            Verdict::Warn => 1,
            Verdict::Fail => 2,
        };
        let mut worst = Self::fail("nothing was tried");
        for (position, outcome) in outcomes.into_iter().enumerate() {
            if position == 0 || rank(&outcome) > rank(&worst) {
                worst = outcome;
            }
        }
        worst
    }
}

/// What the tests need of the inside.
#[cfg(test)]
pub(crate) mod probe {
    use super::scratch::Cipher;
    pub(crate) use super::sealing::{AAD, KNOWN_BODY, KNOWN_IV, KNOWN_KEY, KNOWN_PLAIN};
    pub(crate) const UNAUTHENTICATED: Cipher = Cipher::Unauthenticated;
    pub(crate) const BROKEN: Cipher = Cipher::Broken;
}
