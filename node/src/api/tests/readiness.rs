//! Readiness says what is the matter, each thing by its own code.

use serde_json::json;
use torus_statement::state::{BatchEntry, Phase};

use super::super::backend::{BatchStatus, NodeStatus};
use super::super::metrics::Metrics;
use super::super::readiness::Readiness;
use super::double::{NOW, World, bare_seal};

fn codes(change: impl Fn(&mut NodeStatus)) -> Vec<&'static str> {
    codes_at(NOW * 1000, change)
}

fn codes_at(now: u64, change: impl Fn(&mut NodeStatus)) -> Vec<&'static str> {
    let world = World::new(bare_seal);
    let member = world.member(1);
    let mut status = member.status.lock().unwrap().clone();
    change(&mut status);
    Readiness::of(&status, &world.config, now).reasons.into_iter().map(|reason| reason.code).collect()
}

#[test]
fn each_ailment_has_its_code() {
    assert_eq!(codes(|_| {}), Vec::<&str>::new());
    assert_eq!(codes(|s| s.vault = None), ["vault"]);
    assert_eq!(codes(|s| s.vault.as_mut().unwrap().device = false), ["hsm"]);
    assert_eq!(codes(|s| s.vault.as_mut().unwrap().receipts_from = NOW + 30), ["settling"]);
    assert_eq!(codes(|s| s.vault.as_mut().unwrap().not_before = NOW + 5), ["settling"]);
    assert_eq!(codes(|s| s.vault.as_mut().unwrap().receipts_from = u64::MAX), ["silent"]);
    assert_eq!(codes(|s| s.engine_peers = 2), ["quorum"]);
    assert_eq!(codes(|s| s.engine_peers = 3), Vec::<&str>::new(), "four of five make blocks");
    assert_eq!(codes(|s| s.height = 0), ["quorum"]);
    assert_eq!(codes(|s| s.caught_up = false), ["catching-up"]);
    assert_eq!(codes(|s| s.buffer_unassigned = 0), ["buffer"]);
    assert_eq!(codes(|s| s.vault.as_mut().unwrap().clock = false), ["clock"]);
}

#[test]
fn a_vault_without_landlock_serves_and_is_told_as_such() {
    let world = World::new(bare_seal);
    let mut status = world.member(1).status.lock().unwrap().clone();
    let said = |status: &NodeStatus| {
        let readiness = Readiness::of(status, &world.config, NOW * 1000);
        let metrics = Metrics::new(None).text(status, &[], NOW * 1000);
        (readiness.ready(), readiness.to_json(status, &world.config, 1), metrics)
    };
    let (ready, json, metrics) = said(&status);
    assert_eq!((ready, &json["warnings"], &json["vault"]["landlock"]), (true, &json!([]), &json!(true)));
    assert!(metrics.contains("\ntorus_vault_landlock 1\n"), "{metrics}");
    status.vault.as_mut().unwrap().landlock = false;
    let (ready, json, metrics) = said(&status);
    assert_eq!((ready, &json["vault"]["landlock"]), (true, &json!(false)));
    assert_eq!(json["warnings"][0]["code"], "vault-without-landlock");
    assert!(json["warnings"][0]["text"].as_str().unwrap().starts_with("vault without Landlock"), "{json}");
    assert!(metrics.contains("\ntorus_vault_landlock 0\n"), "{metrics}");
}

#[test]
fn a_clock_ten_minutes_off_is_reported() {
    assert!(codes_at((NOW + 600) * 1000, |_| {}).contains(&"clock"), "ahead");
    assert!(codes_at((NOW - 600) * 1000, |_| {}).contains(&"clock"), "behind");
    assert!(codes_at((NOW - 10) * 1000, |s| s.vault.as_mut().unwrap().receipts_from = 0).is_empty());
}

#[test]
fn the_log_standing_still_is_reported() {
    assert_eq!(codes_at((NOW + 200) * 1000, |_| {}), ["quorum"]);
}

#[test]
fn the_answer_holds_what_progress_needs() {
    let world = World::new(bare_seal);
    let member = world.member(2);
    let mut status = member.status.lock().unwrap().clone();
    status.buffer_unassigned = 0;
    let readiness = Readiness::of(&status, &world.config, NOW * 1000);
    let json = readiness.to_json(&status, &world.config, 2);
    assert_eq!((&json["ready"], &json["member"], &json["height"]), (&json!(false), &json!(2), &json!(7)));
    assert_eq!((&json["buffer"]["unassigned"], &json["buffer"]["target"]), (&json!(0), &json!(8)));
    assert_eq!((&json["peers"], &json["reasons"][0]["code"]), (&json!(4), &json!("buffer")));
    assert!(!json["reasons"][0]["text"].as_str().unwrap().is_empty());
}

#[test]
fn each_batch_under_way_is_named_with_its_stage() {
    let world = World::new(bare_seal);
    let mut status = world.member(1).status.lock().unwrap().clone();
    let batch = |batch, attempt, phase| {
        BatchStatus::of(batch, &BatchEntry { attempt, keys: 8, height: 3, time: NOW * 1000, phase })
    };
    status.batches = vec![
        batch(2, 0, Phase::Published { digest: [7; 32], acks: 0b10110 }),
        batch(3, 1, Phase::Qualified { dealings: Vec::new(), time: NOW * 1000 }),
        batch(4, 0, Phase::Open),
        batch(5, 0, Phase::Open),
    ];
    let json = Readiness::of(&status, &world.config, NOW * 1000).to_json(&status, &world.config, 1);
    let expected = json!([
        {"batch": 2, "attempt": 0, "stage": "published", "acks": 3},
        {"batch": 3, "attempt": 1, "stage": "qualified", "acks": 0},
        {"batch": 4, "attempt": 0, "stage": "open", "acks": 0},
        {"batch": 5, "attempt": 0, "stage": "open", "acks": 0},
    ]);
    assert_eq!(json["buffer"]["batches"], expected);
    let metrics = Metrics::new(None);
    let text = metrics.text(&status, &[], NOW * 1000);
    for (stage, count) in [("open", 2), ("qualified", 1), ("published", 1)] {
        assert!(text.contains(&format!("torus_batches{{stage=\"{stage}\"}} {count}\n")), "{text}");
    }
    status.batches.clear();
    assert!(metrics.text(&status, &[], NOW * 1000).contains("torus_batches{stage=\"qualified\"} 0\n"));
}

#[test]
fn metrics_have_one_end_mark_with_the_engines_and_without() {
    let world = World::new(bare_seal);
    let status = world.member(1).status.lock().unwrap().clone();
    let engine = || "# HELP engine_rounds Rounds.\nengine_rounds_total 3\n# EOF\n".to_owned();
    for metrics in [Metrics::new(None), Metrics::new(Some(std::sync::Arc::new(engine)))] {
        metrics.answered("Ping", "ok", std::time::Duration::from_millis(3));
        let text = metrics.text(&status, &["clock"], NOW * 1000);
        assert_eq!((text.matches("# EOF").count(), text.ends_with("# EOF\n")), (1, true), "{text}");
        assert!(text.contains("torus_buffer_unassigned 6"), "{text}");
        assert!(text.contains("torus_not_ready{code=\"clock\"} 1"), "{text}");
        assert!(text.contains("torus_not_ready{code=\"vault\"} 0"), "{text}");
        assert!(text.contains("torus_api_requests_total{method=\"Ping\",outcome=\"ok\"} 1"), "{text}");
    }
    let both = Metrics::new(Some(std::sync::Arc::new(engine))).text(&status, &[], NOW * 1000);
    assert!(both.contains("engine_rounds_total 3"));
}
