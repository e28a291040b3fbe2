//! The start-up gate passes SoftHSM, and each of its checks is shown to find what it looks for.

use super::token;
use crate::conformance::{Plan, examine, probe};
use crate::objects::{self, Kind, Strictness};
use crate::{Token, Verdict, conformance};
use std::collections::BTreeSet;

fn failures(token: &Token, plan: &Plan) -> BTreeSet<&'static str> {
    examine(token, plan).failures().map(|check| check.name).collect()
}

#[test]
fn softhsm_passes_with_two_warnings_and_nothing_is_left_behind() {
    let token = token("gate");
    let report = conformance(&token);
    assert!(report.passed(), "{report}");
    let warned: Vec<_> =
        report.checks.iter().filter(|check| check.verdict == Verdict::Warn).map(|check| check.name).collect();
    assert_eq!(warned, ["truncated-tag-refused", "no-equality-oracle"], "{report}");
    let session = token.session().unwrap();
    assert!(objects::of_kind(session.handle(), Kind::Scratch).unwrap().is_empty());
}

#[test]
fn every_check_of_the_gate_can_fail() {
    let token = token("weak");
    let strict = Strictness::FULL;
    let with = |strict| Plan { strict, ..Plan::STRICT };
    let plans = [
        with(Strictness { sensitive: false, extractable: true, ..strict }),
        with(Strictness { modifiable: true, ..strict }),
        with(Strictness { copyable: true, modifiable: true, ..strict }),
        with(Strictness { one_mechanism: false, one_use: false, ..strict }),
        Plan { cipher: probe::UNAUTHENTICATED, ..with(Strictness { one_mechanism: false, ..strict }) },
        Plan { cipher: probe::BROKEN, ..Plan::STRICT },
        Plan { own_public: false, ..Plan::STRICT },
        Plan { off_curve: false, ..Plan::STRICT },
        Plan { random: |_, _| Ok(()), ..Plan::STRICT },
    ];
    let mut failed = BTreeSet::new();
    for plan in &plans {
        let found = failures(&token, plan);
        assert!(!found.is_empty());
        failed.extend(found);
    }
    // Generation fails on a token without the curve (see the test on NSS); the equality oracle only warns, and does.
    let all: BTreeSet<_> = conformance(&token)
        .checks
        .iter()
        .map(|check| check.name)
        .filter(|name| !["keys-generated", "no-equality-oracle"].contains(name))
        .collect();
    assert_eq!(all.difference(&failed).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn each_weakness_is_found_by_the_check_that_is_named_after_it() {
    let token = token("named");
    let strict = Strictness::FULL;
    for (weak, names) in [
        (
            Strictness { sensitive: false, extractable: true, ..strict },
            &[
                "share-key-unreadable",
                "private-keys-unreadable",
                "sensitive-stays",
                "extractable-stays-off",
                "wrapping-refused",
                "attributes-kept",
            ][..],
        ),
        (Strictness { modifiable: true, ..strict }, &["modification-refused", "attributes-kept"]),
        (Strictness { copyable: true, ..strict }, &["attributes-kept"]),
        (
            Strictness { copyable: true, modifiable: true, ..strict },
            &["modification-refused", "copy-refused", "attributes-kept"],
        ),
        (Strictness { one_mechanism: false, ..strict }, &["mechanisms-bounded"]),
        (
            Strictness { one_mechanism: false, one_use: false, ..strict },
            &["mechanisms-bounded", "share-key-only-seals", "signing-key-only-signs", "envelope-key-only-derives"],
        ),
    ] {
        let expected: BTreeSet<_> = names.iter().copied().collect();
        assert_eq!(failures(&token, &Plan { strict: weak, ..Plan::STRICT }), expected, "{weak:?}");
    }
}

#[test]
fn scratch_keys_of_a_killed_examination_are_removed_and_the_vaults_own_are_not() {
    use crate::Device;
    let token = token("sweep");
    let session = token.session().unwrap();
    let identity = super::device(&token).generate_identity().unwrap();
    let left = objects::Name::scratch(77, 0);
    objects::generate_share(session.handle(), &left, Strictness::FULL).unwrap();
    assert!(conformance(&token).passed());
    assert!(objects::all(session.handle(), &left).unwrap().is_empty());
    assert_eq!(super::device(&token).identity().unwrap(), identity);
}

#[test]
fn the_known_answer_is_that_of_another_implementation() {
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    let cipher = aes_gcm::Aes256Gcm::new(&probe::KNOWN_KEY.into());
    let payload = Payload { msg: &probe::KNOWN_PLAIN, aad: probe::AAD };
    let body = cipher.encrypt(&probe::KNOWN_IV.into(), payload).unwrap();
    assert_eq!(body, probe::KNOWN_BODY);
}
