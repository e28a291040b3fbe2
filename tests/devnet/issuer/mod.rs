//! A small OIDC issuer for a devnet: discovery, key set, and tokens for the asking. It authenticates nobody, so it
//! listens on loopback alone. Beside it stand the three hosted services that stock clients insist on calling.

mod keys;
mod mint;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::trouble::Naming;
use keys::Keys;
use mint::Order;

/// A verifier as genesis takes it.
#[derive(Clone, Debug, Serialize)]
pub struct Verifier {
    /// Its name in the network.
    pub name: String,
    /// Whose tokens it takes.
    pub issuer: String,
    /// For whom they must be made.
    pub audiences: Vec<String>,
    /// The claim that names the user.
    pub id_claim: String,
    /// Whether names that differ in case alone are one.
    pub lowercase_id: bool,
    /// Seconds that a token counts from its issue.
    pub max_age: u64,
    /// Whether the issuer promises ECDSA signatures of the lower s.
    pub low_s: bool,
    /// The issuer's keys.
    pub jwks: Value,
}

/// The issuer, ready to serve.
pub struct Issuer {
    keys: Keys,
    origin: String,
    unique: AtomicU64,
}

/// The verifier that a devnet's users log in with.
pub const MAIN_VERIFIER: &str = "devnet";

impl Issuer {
    /// The issuer whose keys lie in `dir` and whose origin is `origin`.
    pub fn open(dir: &Path, origin: &str) -> Result<Arc<Self>> {
        let keys = Keys::open(dir)?;
        // Counted on from the clock, so that no token is minted twice over a restart.
        let unique = AtomicU64::new(now() << 20);
        Ok(Arc::new(Self { keys, origin: origin.to_owned(), unique }))
    }

    /// The verifiers of a devnet: by e-mail, by subject, and one that makes no promise about ECDSA's s.
    pub fn verifiers(&self) -> Vec<Verifier> {
        let verifier = |name: &str, id_claim: &str, low_s| Verifier {
            name: name.to_owned(),
            issuer: self.origin.clone(),
            audiences: vec![audience_of(name)],
            id_claim: id_claim.to_owned(),
            lowercase_id: id_claim == "email",
            max_age: 120,
            low_s,
            jwks: self.keys.key_set(),
        };
        vec![
            verifier(MAIN_VERIFIER, "email", true),
            verifier("devnet-any-s", "email", false),
            verifier("devnet-subject", "sub", true),
        ]
    }

    /// Where a token for the main verifier is had, less the address at its end.
    pub fn mint_url(&self) -> String {
        format!("{}/mint?alg=ES256&email=", self.origin)
    }

    /// Binds the port and serves until the runtime ends.
    pub async fn serve(self: Arc<Self>, port: u16) -> Result<()> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .naming(|| format!("listen on 127.0.0.1:{port} (choose another PORT)"))?;
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                };
                let issuer = Arc::clone(&self);
                let service = hyper::service::service_fn(move |request| {
                    let answer = issuer.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(())
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut answer = match (request.method(), request.uri().path()) {
            (&Method::OPTIONS, _) => text(StatusCode::NO_CONTENT, String::new()),
            (&Method::GET, "/.well-known/openid-configuration") => self.discovery(),
            (&Method::GET, "/jwks") => json_answer(&self.keys.key_set()),
            (&Method::GET, "/mint") => self.mint(request.uri().query().unwrap_or_default()),
            // Stock clients ask a hosted service whether the login is allowed: any 2xx is a yes.
            (&Method::GET, "/allow" | "/v1/signer/allow") => json_answer(&json!({"success": true})),
            // Legacy ones have a hosted signer vouch for an assignment; nodes here ask for no such signature.
            (&Method::POST, "/sign") => json_answer(&json!({
                "torus-timestamp": now().to_string(), "torus-nonce": "00", "torus-signature": "AA==",
            })),
            // And they add an offset that a metadata service keeps for the key: there is none.
            (&Method::POST, "/metadata/get") => json_answer(&json!({"message": ""})),
            _ => text(StatusCode::NOT_FOUND, "not served here\n".to_owned()),
        };
        let asked = request.headers().get("access-control-request-headers").cloned();
        let headers = answer.headers_mut();
        let mut allow = |name, value| headers.insert(HeaderName::from_static(name), value);
        allow("access-control-allow-origin", HeaderValue::from_static("*"));
        allow("access-control-allow-methods", HeaderValue::from_static("GET, POST"));
        if let Some(asked) = asked {
            allow("access-control-allow-headers", asked);
        }
        answer
    }

    fn discovery(&self) -> Response<Full<Bytes>> {
        json_answer(&json!({
            "issuer": self.origin,
            "jwks_uri": format!("{}/jwks", self.origin),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256", "EdDSA"],
            "claims_supported": ["iss", "aud", "sub", "email", "email_verified", "iat", "exp", "jti", "nonce"],
        }))
    }

    fn mint(&self, query: &str) -> Response<Full<Bytes>> {
        let unique = format!("{:x}", self.unique.fetch_add(1, Ordering::Relaxed));
        let token = Order::parse(query, &audience_of(MAIN_VERIFIER))
            .and_then(|order| order.fill(&self.keys, &self.origin, now(), &unique));
        match token {
            Ok(token) => text(StatusCode::OK, token),
            Err(why) => text(StatusCode::BAD_REQUEST, format!("{why}\n")),
        }
    }
}

/// The audience of a verifier's tokens.
pub fn audience_of(verifier: &str) -> String {
    format!("torus-{verifier}")
}

/// This machine's clock in seconds since 1970, by which tokens are issued.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn json_answer(value: &Value) -> Response<Full<Bytes>> {
    typed(StatusCode::OK, "application/json", value.to_string())
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(flavor = "current_thread")]
    async fn the_issuer_publishes_what_its_tokens_are_signed_with() {
        let dir = tempfile::tempdir().unwrap();
        let port = 16_391;
        let origin = format!("http://127.0.0.1:{port}");
        let issuer = Issuer::open(dir.path(), &origin).unwrap();
        Arc::clone(&issuer).serve(port).await.unwrap();

        let discovery = http::get(port, "/.well-known/openid-configuration", LIMIT).await.unwrap().json();
        assert_eq!(discovery["issuer"], origin.as_str());
        let set = http::get(port, "/jwks", LIMIT).await.unwrap().json();
        for alg in ["ES256", "RS256", "EdDSA"] {
            let path = format!("/mint?alg={alg}&email=alice@example.com");
            let minted = http::get(port, &path, LIMIT).await.unwrap();
            assert_eq!(minted.status, 200);
            assert_eq!(minted.text().split('.').count(), 3);
            assert!(set["keys"].as_array().unwrap().iter().any(|key| key["alg"] == alg));
        }
        assert_eq!(http::get(port, "/mint?email=", LIMIT).await.unwrap().status, 400);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_browser_may_call_the_side_services() {
        let dir = tempfile::tempdir().unwrap();
        let port = 16_392;
        Issuer::open(dir.path(), "http://127.0.0.1:16392").unwrap().serve(port).await.unwrap();
        let asked = [("origin", "null"), ("access-control-request-headers", "verifier, x-api-key")];
        let answer = http::request(Method::OPTIONS, port, "/allow", &asked, Bytes::new(), LIMIT).await.unwrap();
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-allow-headers"], "verifier, x-api-key");
    }
}
