//! One HTTP request of the public listener: bounds, CORS, the JSON-RPC frame.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::details::node_details;
use super::error::{INVALID_REQUEST, Outcome, PARSE, RpcError};
use super::limit::Limits;
use super::methods::{Api, Caller};
use super::metrics::Metrics;
use super::params::Call;

/// What every connection shares.
pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    /// What `GET /node-details` answers.
    details: Value,
    in_flight: Semaphore,
    started: Instant,
}

impl Shared {
    pub(super) fn new(api: Api, limits: Limits, metrics: Arc<Metrics>) -> Self {
        let (in_flight, details) = (Semaphore::new(limits.in_flight), node_details(&api.backend().config()));
        Self { api, limits, metrics, details, in_flight, started: Instant::now() }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer<B>(&self, request: Request<B>, address: IpAddr) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let mut response = match (request.method(), request.uri().path()) {
            (&Method::OPTIONS, _) => preflight(asked),
            (&Method::GET | &Method::HEAD, "/healthz") => plain(StatusCode::OK, ""),
            (&Method::GET | &Method::HEAD, "/node-details") => body_json(&self.details),
            (&Method::POST, path) if path == "/jrpc" || path.ends_with("/jrpc") => self.rpc(request, address).await,
            (_, "/jrpc") => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC is asked by POST\n");
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
                response
            }
            _ => plain(StatusCode::NOT_FOUND, "POST /jrpc, GET /node-details, GET /healthz\n"),
        };
        allow_any_origin(response.headers_mut());
        response
    }

    async fn rpc<B>(&self, request: Request<B>, address: IpAddr) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return waiting(StatusCode::SERVICE_UNAVAILABLE, Some(1));
        };
        let body = Limited::new(request.into_body(), self.limits.body).collect();
        let body = match tokio::time::timeout(self.limits.read, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
            }
            Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the body ended early\n"),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
        };
        let started = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let monotonic = u64::try_from(started.duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        let caller = Caller { address, unix, monotonic };

        let (id, call) = match frame(&body) {
            Ok((id, method, params)) => (id, Call::parse(&method, &params)),
            Err(error) => (Value::Null, Err(error)),
        };
        let name = call.as_ref().map_or("none", Call::name);
        let outcome = match call {
            Ok(call) => tokio::time::timeout(self.limits.answer, self.api.call(call, caller))
                .await
                .unwrap_or(Outcome::Status(504, Some(1))),
            Err(error) => Outcome::Error(error),
        };
        let kind = match outcome {
            Outcome::Result(_) => "ok",
            Outcome::Error(_) => "error",
            Outcome::Status(429, _) => "limited",
            Outcome::Status(..) => "unavailable",
        };
        self.metrics.answered(name, kind, started.elapsed());
        match outcome {
            Outcome::Result(result) => body_json(&json!({"jsonrpc": "2.0", "id": id, "result": result})),
            Outcome::Error(error) => body_json(&json!({"jsonrpc": "2.0", "id": id, "error": error.to_json()})),
            Outcome::Status(code, wait) => waiting(StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY), wait),
        }
    }
}

/// Takes a JSON-RPC request apart. Members that it does not know are passed over: clients send some.
pub(super) fn frame(body: &[u8]) -> Result<(Value, String, Value), RpcError> {
    let invalid = |code, message, data: &str| RpcError { code, message, data: data.to_owned() };
    let value: Value =
        serde_json::from_slice(body).map_err(|_| invalid(PARSE, "Parse error", "the body is not JSON"))?;
    let Value::Object(mut members) = value else {
        return Err(invalid(INVALID_REQUEST, "Invalid Request", "one request a body, as a JSON object"));
    };
    let Some(Value::String(method)) = members.remove("method") else {
        return Err(invalid(INVALID_REQUEST, "Invalid Request", "the request names no method"));
    };
    let id = members.remove("id").filter(|id| id.is_number() || id.as_str().is_some_and(|text| text.len() <= 64));
    Ok((id.unwrap_or_default(), method, members.remove("params").unwrap_or_default()))
}

/// A response that is text.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A response that is JSON.
pub(super) fn body_json(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn waiting(status: StatusCode, seconds: Option<u32>) -> Response<Full<Bytes>> {
    let mut response = plain(status, "the member cannot serve this now: ask another or wait\n");
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn preflight(asked: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::NO_CONTENT, "");
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, OPTIONS"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        asked.unwrap_or_else(|| HeaderValue::from_static("Origin, Accept, Content-Type, X-Requested-With")),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

/// Nothing here depends on who asks: no cookie is read, so any origin may, `null` too.
fn allow_any_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-web3-correlation-id"));
}
