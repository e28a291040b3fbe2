//! Prometheus metrics. Label values come from fixed lists, never from a request.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::backend::{BatchStage, NodeStatus};

/// The engine's own metrics in the text format, made when asked.
pub type EngineMetrics = Arc<dyn Fn() -> String + Send + Sync>;

type Labels = Vec<(&'static str, &'static str)>;

/// The metrics of the interface and of the member's status.
pub struct Metrics {
    registry: Registry,
    engine: Option<EngineMetrics>,
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
    refused_connections: Counter,
    connections: Gauge,
    landlock: Gauge,
    status: StatusGauges,
}

#[derive(Default)]
struct StatusGauges {
    ready: Gauge,
    not_ready: Family<Labels, Gauge>,
    height: Gauge,
    certified_age: Gauge,
    engine_peers: Gauge,
    envelope_peers: Gauge,
    unassigned: Gauge,
    target: Gauge,
    pending: Gauge,
    batches: Family<Labels, Gauge>,
    assigned: Gauge,
    vault_up: Gauge,
    shares: Gauge,
    vault_landlock: Gauge,
}

/// Every code that `Readiness` gives.
const CODES: [&str; 8] = ["vault", "hsm", "silent", "settling", "quorum", "catching-up", "buffer", "clock"];

impl Metrics {
    /// All metrics, together with the engine's if it has any.
    pub fn new(engine: Option<EngineMetrics>) -> Self {
        let mut registry = Registry::with_prefix("torus");
        let requests = Family::default();
        let seconds: Family<Labels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        let (refused_connections, connections) = (Counter::default(), Gauge::default());
        let status = StatusGauges::default();
        registry.register("api_requests", "Calls by method and outcome", requests.clone());
        registry.register("api_request_seconds", "Time to answer by method", seconds.clone());
        registry.register(
            "api_refused_connections",
            "Connections closed because one address held too many",
            refused_connections.clone(),
        );
        registry.register("api_connections", "Open connections", connections.clone());
        let landlock = Gauge::default();
        registry.register("landlock", "1 if Landlock is in force, 0 if the operator does without it", landlock.clone());
        registry.register("ready", "1 if the member serves", status.ready.clone());
        registry.register("not_ready", "1 for each reason why the member does not serve", status.not_ready.clone());
        registry.register("height", "Newest certified height", status.height.clone());
        registry.register("certified_age_seconds", "Age of the newest certified block", status.certified_age.clone());
        registry.register("engine_peers", "Members that the engine is connected to", status.engine_peers.clone());
        registry.register("envelope_peers", "Members that envelopes reach", status.envelope_peers.clone());
        registry.register("buffer_unassigned", "Keys that nobody has", status.unassigned.clone());
        registry.register("buffer_target", "Keys that the buffer is filled to", status.target.clone());
        registry.register("batches_pending", "Batches being generated", status.pending.clone());
        let batches = "Batches by stage that are under way or lack an acknowledgement, of the newest of them";
        registry.register("batches", batches, status.batches.clone());
        registry.register("keys_assigned", "Keys ever assigned", status.assigned.clone());
        registry.register("vault_up", "1 if the vault answers", status.vault_up.clone());
        let vault_landlock =
            "1 if Landlock is in force at the vault, 0 if its operator does without it or it does not answer";
        registry.register("vault_landlock", vault_landlock, status.vault_landlock.clone());
        registry.register("vault_shares", "Shares that the vault holds", status.shares.clone());
        Self { registry, engine, requests, seconds, refused_connections, connections, landlock, status }
    }

    /// Counts an answered call.
    pub(super) fn answered(&self, method: &'static str, outcome: &'static str, took: Duration) {
        self.requests.get_or_create(&vec![("method", method), ("outcome", outcome)]).inc();
        self.seconds.get_or_create(&vec![("method", method)]).observe(took.as_secs_f64());
    }

    /// Whether Landlock is in force.
    pub fn landlock(&self, enforced: bool) {
        self.landlock.set(i64::from(enforced));
    }

    pub(super) fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    pub(super) fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// The text for one scrape.
    pub(super) fn text(&self, status: &NodeStatus, not_ready: &[&'static str], now: u64) -> String {
        let s = &self.status;
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&s.ready, u64::from(not_ready.is_empty()));
        for code in CODES {
            set(&s.not_ready.get_or_create(&vec![("code", code)]), u64::from(not_ready.contains(&code)));
        }
        set(&s.height, status.height);
        set(&s.certified_age, now.saturating_sub(status.certified_time) / 1000);
        set(&s.engine_peers, u64::from(status.engine_peers));
        set(&s.envelope_peers, u64::from(status.envelope_peers));
        set(&s.unassigned, status.buffer_unassigned);
        set(&s.target, status.buffer_target);
        set(&s.pending, status.batches_pending);
        for stage in BatchStage::ALL {
            let count = status.batches.iter().filter(|batch| batch.stage == stage).count();
            set(&s.batches.get_or_create(&vec![("stage", stage.name())]), count as u64);
        }
        set(&s.assigned, status.assigned);
        set(&s.vault_up, u64::from(status.vault.is_some()));
        set(&s.vault_landlock, u64::from(status.vault.as_ref().is_some_and(|vault| vault.landlock)));
        set(&s.shares, status.vault.as_ref().map_or(0, |vault| vault.shares));

        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            return String::new();
        }
        let Some(engine) = &self.engine else { return text };
        // One text has one end mark.
        let own = text.trim_end().trim_end_matches("# EOF");
        format!("{own}{}\n# EOF\n", engine().trim_end().trim_end_matches("# EOF").trim_end())
    }
}
