//! The operator's listener: health, readiness, metrics. It changes nothing and holds no verb.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};

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
        "/metrics" => {
            let status = backend.status();
            let readiness = Readiness::of(&status, &backend.config(), now);
            let codes: Vec<&'static str> = readiness.reasons.iter().map(|reason| reason.code).collect();
            let mut response = Response::new(Full::new(Bytes::from(metrics.text(&status, &codes, now))));
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "GET /healthz, /readyz, /metrics\n"),
    }
}
