//! The listeners over real sockets: CORS, bounds, statuses, TLS.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::super::backend::{AssignError, Backend};
use super::super::limit::Limits;
use super::super::listen::{Server, serve_admin, serve_api};
use super::super::metrics::Metrics;
use super::super::tls::Tls;
use super::double::{Double, Mood, World, bare_seal};

/// A listener below the ephemeral ports.
pub(crate) fn listener() -> TcpListener {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 10_000) as u16;
    (0..2000)
        .find_map(|_| {
            let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2000;
            TcpListener::bind(("127.0.0.1", port)).ok()
        })
        .unwrap()
}

struct Running {
    address: SocketAddr,
    member: Arc<Double>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn start(limits: Limits, tls: Option<Arc<Tls>>) -> Running {
    let member = World::new(bare_seal).member(1);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let backend = Arc::clone(&member) as Arc<dyn Backend>;
    let server = Server { backend, limits, metrics: Arc::new(Metrics::new(None)), tls };
    let task = tokio::spawn(serve_api(listener, server, stopped));
    Running { address, member, stop, task }
}

/// Sends bytes on a fresh connection and reads until its end.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(body: &str, headers: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /jrpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

const PING: &str = r#"{"jsonrpc":"2.0","method":"Ping","id":10,"params":{}}"#;

#[tokio::test]
async fn any_origin_may_ask_and_the_preflight_reflects_the_headers_asked_for() {
    let running = start(Limits::default(), None);
    let answer = exchange(running.address, &post(PING, "Origin: null\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: *"));
    assert!(answer.contains("content-type: application/json"));
    assert!(answer.contains(r#""id":10"#) && answer.contains(r#""result""#));
    let preflight = b"OPTIONS /jrpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: null\r\n\
        Access-Control-Request-Headers: content-type,x-api-key,sentry-trace\r\n\r\n";
    let answer = exchange(running.address, preflight).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: content-type,x-api-key,sentry-trace"));
    assert!(answer.contains("access-control-allow-origin: *"));
    let health = exchange(running.address, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("access-control-allow-origin: *"));
}

#[tokio::test]
async fn errors_are_http_200_but_a_member_that_cannot_assign_says_502() {
    let running = start(Limits::default(), None);
    let answer = exchange(running.address, &post(r#"{"method":"Nothing","id":1}"#, "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""data":"Method not found""#) && !answer.contains("result"));
    running.member.become_(Mood::CannotAssign(AssignError::NoKeys));
    let assign = r#"{"method":"KeyAssign","id":10,"params":{"verifier":"demo","verifier_id":"x"},"torus-nonce":"1"}"#;
    let answer = exchange(running.address, &post(assign, "")).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("retry-after: 10"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_504() {
    let limits = Limits { answer: Duration::from_millis(100), ..Limits::default() };
    let running = start(limits, None);
    running.member.become_(Mood::Slow(Duration::from_secs(60)));
    let assign = r#"{"method":"KeyAssign","id":10,"params":{"verifier":"demo","verifier_id":"x"}}"#;
    assert!(exchange(running.address, &post(assign, "")).await.starts_with("HTTP/1.1 504"));
    assert!(exchange(running.address, &post(PING, "")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn large_slow_and_strange_requests_end_early() {
    let limits =
        Limits { body: 1000, read: Duration::from_millis(200), head: Duration::from_millis(200), ..Limits::default() };
    let running = start(limits, None);
    let answer = exchange(running.address, &post(&"x".repeat(2000), "")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let half = b"POST /jrpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{";
    assert!(exchange(running.address, half).await.starts_with("HTTP/1.1 408"));
    // A head that never ends: the connection ends instead.
    tokio::time::timeout(Duration::from_secs(5), exchange(running.address, b"GET / HTTP/1.1\r\nHo")).await.unwrap();
    let get = exchange(running.address, b"GET /jrpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(get.starts_with("HTTP/1.1 405"), "{get}");
    let other = exchange(running.address, b"GET /debug HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
    assert!(exchange(running.address, &post(PING, "")).await.starts_with("HTTP/1.1 200"), "others are served");
}

#[tokio::test]
async fn one_address_cannot_hold_all_connections() {
    let running = start(Limits { connections_per_address: 2, ..Limits::default() }, None);
    let held = [TcpStream::connect(running.address).await.unwrap(), TcpStream::connect(running.address).await.unwrap()];
    // The third is closed without an answer.
    let refused = async {
        while !exchange(running.address, &post(PING, "")).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
    drop(held);
    let served = async {
        while !exchange(running.address, &post(PING, "")).await.starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), served).await.unwrap();
}

#[tokio::test]
async fn the_end_lets_requests_finish_and_frees_the_port() {
    let running = start(Limits::default(), None);
    assert!(exchange(running.address, &post(PING, "")).await.starts_with("HTTP/1.1 200"));
    // A connection that does nothing must not hold the end up.
    let idle = TcpStream::connect(running.address).await.unwrap();
    running.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(8), running.task).await.unwrap().unwrap().unwrap();
    drop(idle);
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn the_operators_listener_says_health_readiness_and_metrics() {
    let member = World::new(bare_seal).member(1);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let backend = Arc::clone(&member) as Arc<dyn Backend>;
    tokio::spawn(serve_admin(listener, backend, Arc::new(Metrics::new(None)), stopped));
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes();
        async move { exchange(address, &request).await }
    };
    assert!(get("/healthz").await.starts_with("HTTP/1.1 200"));
    // The double's blocks are of another time than this machine's clock.
    let ready = get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(r#""code":"clock""#), "{ready}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    {
        let mut status = member.status.lock().unwrap();
        status.certified_time = now - 2000;
        let vault = status.vault.as_mut().unwrap();
        (vault.receipts_from, vault.not_before) = (0, 0);
    }
    let ready = get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(r#""ready":true"#), "{ready}");
    let audit = get("/audit").await;
    let head = format!(r#""count":40,"link":"{}""#, "06".repeat(32));
    assert!(
        audit.contains(r#""member":1"#) && audit.contains(&head) && audit.contains(r#""contradiction":null"#),
        "{audit}"
    );
    let metrics = get("/metrics").await;
    assert!(metrics.contains("torus_ready 1") && metrics.contains("# EOF"), "{metrics}");
    let post = exchange(address, b"POST /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(post.await.starts_with("HTTP/1.1 405"));
}

const ONE: [&[u8]; 2] = [include_bytes!("tls/one.cert.pem"), include_bytes!("tls/one.key.pem")];
const TWO: [&[u8]; 2] = [include_bytes!("tls/two.cert.pem"), include_bytes!("tls/two.key.pem")];

async fn over_tls(address: SocketAddr, trusted: [&[u8]; 2]) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted[0]).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    stream.write_all(&post(PING, "")).await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_certificate_is_replaced_while_serving_and_a_bad_one_is_not_taken() {
    let dir = std::env::temp_dir().join(format!("torus-api-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let put = |pair: [&[u8]; 2]| {
        std::fs::write(&certificate, pair[0]).unwrap();
        std::fs::write(&key, pair[1]).unwrap();
    };
    put(ONE);
    let tls = Arc::new(Tls::load(&certificate, &key).unwrap());
    let running = start(Limits::default(), Some(Arc::clone(&tls)));
    assert!(over_tls(running.address, ONE).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(over_tls(running.address, TWO).await.is_err());
    put([TWO[0], ONE[1]]);
    assert!(tls.reload().is_err(), "a key of another certificate");
    assert!(over_tls(running.address, ONE).await.is_ok(), "the one in use stays");
    put(TWO);
    tls.reload().unwrap();
    assert!(over_tls(running.address, TWO).await.unwrap().starts_with("HTTP/1.1 200"));
    // Plain HTTP on a TLS port is nothing.
    assert!(!exchange(running.address, &post(PING, "")).await.contains("HTTP/1.1 200"));
    std::fs::remove_dir_all(&dir).unwrap();
}
