//! The operator's listener: health, readiness, metrics. It changes nothing and holds no verb.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use torus_statement::receipt::hex;
use torus_statement::state::AuditEntry;
use torus_statement::{AuditHead, Index, SignedAuditHead};

use super::backend::Backend;
use super::http::{body_json, plain};
use super::metrics::Metrics;
use super::readiness::Readiness;

/// Answers a request of the operator's listener.
pub(super) fn answer(
    backend: &Arc<dyn Backend>,
    metrics: &Metrics,
    method: &Method,
    path: &str,
) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    match path {
        "/healthz" => plain(StatusCode::OK, ""),
        "/readyz" => {
            let (status, config) = (backend.status(), backend.config());
            let readiness = Readiness::of(&status, &config, now);
            let mut response = body_json(&readiness.to_json(&status, &config, backend.member().get()));
            if !readiness.ready() {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
        "/audit" => {
            let heads: Vec<Value> = backend.audits().iter().map(|(member, entry)| audit(*member, entry)).collect();
            body_json(&json!({ "chain": hex(&backend.config().committee().chain), "heads": heads }))
        }
        "/registry" => match backend.node_list() {
            Some(standing) => body_json(&standing),
            None => plain(StatusCode::NOT_FOUND, "this node was started without --registry\n"),
        },
        "/metrics" => {
            let status = backend.status();
            let readiness = Readiness::of(&status, &backend.config(), now);
            let codes: Vec<&'static str> = readiness.reasons.iter().map(|reason| reason.code).collect();
            let mut response = Response::new(Full::new(Bytes::from(metrics.text(&status, &codes, now))));
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "GET /healthz, /readyz, /audit, /registry, /metrics\n"),
    }
}

/// What the log holds of a member's audit log: `link` is what `torus-vault audit verify --head` takes.
fn audit(member: Index, entry: &AuditEntry) -> Value {
    let head = |signed: &SignedAuditHead| {
        let AuditHead { start, count, link, time } = signed.head;
        json!({
            "start": start, "count": count, "link": hex(&link), "time": time,
            "signature": hex(&signed.signature.to_bytes()),
        })
    };
    json!({
        "member": member.get(), "newest": head(&entry.newest),
        "contradiction": entry.contradiction.as_ref().map(head),
    })
}
