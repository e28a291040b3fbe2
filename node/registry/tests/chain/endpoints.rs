//! One endpoint of three that lies, lags, hangs, floods or is gone changes nothing and is named; two are an error that says
//! who said what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use torus_registry::{Connector, Ethereum, HttpError, Registry, RegistryError, Resolve, Section, register};

use crate::anvil::Anvil;
use crate::network::{founded, seats};
use crate::people::{Kept, connector, open, patience, people, section, try_open};
use crate::proxy::{Act, Proxy, hole};

/// Bends an answer's last digit, whatever it is.
fn bend(value: &mut Value) {
    match value {
        Value::String(text) => {
            let last = if text.ends_with('1') { "2" } else { "1" };
            text.replace_range(text.len() - 1.., last);
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                bend(member);
            }
        }
        _ => {}
    }
}

fn bend_the_hash(header: &mut Value) {
    bend(&mut header["hash"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_that_does_not_tell_the_truth_changes_nothing_and_is_named() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    let truth = founded(&chain, &five).await.remove(0).view().await.unwrap();
    let (good, bad) = (Proxy::before(&chain).await, Proxy::before(&chain).await);
    let section = section(&chain, &[bad.port, chain.port, good.port]);
    let name = format!("127.0.0.1:{}", bad.port);
    type Fault = (&'static str, fn(&str, &Value) -> Act, &'static str);
    // What it does, and what is said of it; of a number that the others do not share, nothing.
    let faults: [Fault; 12] = [
        (
            "another chain",
            |method, _| if method == "eth_chainId" { Act::Result(json!("0x1")) } else { Act::Honest },
            "says \"0x1\" of the chain, where 2 others agree",
        ),
        (
            "other code",
            |method, _| if method == "eth_getCode" { Act::Bend(bend) } else { Act::Honest },
            "of the contract's code, where 2 others agree",
        ),
        ("other state", |method, _| if method == "eth_call" { Act::Bend(bend) } else { Act::Honest }, " at block "),
        (
            "another fork",
            |method, params| match (method, params[0].as_str()) {
                ("eth_getBlockByNumber", Some(tag)) if tag != "finalized" => Act::Bend(bend_the_hash),
                _ => Act::Honest,
            },
            "of block ",
        ),
        (
            "a far future",
            |_, params| match params[0].as_str() {
                Some("finalized") => Act::Result(json!({"number": "0xffffffffffff"})),
                _ => Act::Honest,
            },
            "",
        ),
        (
            "a far past",
            |_, params| match params[0].as_str() {
                Some("finalized") => Act::Result(json!({"number": "0x0"})),
                _ => Act::Honest,
            },
            "",
        ),
        (
            "refusals",
            |method, _| if method == "eth_call" { Act::Refuse("out of order") } else { Act::Honest },
            "it refuses: out of order",
        ),
        ("nothing but noise", |_, _| Act::Body(b"\x00\xff not json".to_vec()), "no JSON object"),
        ("a flood", |_, _| Act::Body(vec![b' '; 3 << 20]), "longer than 1048576 bytes"),
        ("deep nesting", |_, _| Act::Body(vec![b'['; 100_000]), "no JSON object"),
        ("a redirect", |_, _| Act::Status(302), "HTTP 302: a redirect is not followed"),
        (
            "the answer to another question",
            |_, _| Act::Body(br#"{"jsonrpc":"2.0","id":0,"result":"0x1"}"#.to_vec()),
            "it answers another question",
        ),
    ];
    for (what, fault, said) in faults {
        bad.does(fault);
        let registry = try_open(&section, None).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let view = registry.view().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(view, truth, "{what}");
        let named = registry.faults();
        let told = named.iter().any(|fault| fault.endpoint == name && fault.what.contains(said));
        assert!(said.is_empty() || told, "{what}: {named:?}");
        assert!(named.iter().all(|fault| fault.endpoint == name), "{what}: {named:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_that_is_silent_or_gone_costs_a_moment() {
    let chain = Anvil::start().await;
    let truth = founded(&chain, &people(1..=5)).await.remove(0).view().await.unwrap();
    let good = Proxy::before(&chain).await;
    let (_hole, silent, gone) = hole().await;
    for port in [silent, gone] {
        let section = section(&chain, &[port, chain.port, good.port]);
        let began = Instant::now();
        let registry = try_open(&section, None).await.unwrap();
        for _ in 0..3 {
            assert_eq!(registry.view().await.unwrap(), truth);
        }
        // Some fifty questions: a moment for each would be half a minute.
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let faults = registry.faults();
        assert!(faults.len() == 1 && faults[0].endpoint == format!("127.0.0.1:{port}"), "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_lags_behind_changes_nothing() {
    let chain = Anvil::start().await;
    let (first, second, lagging) =
        (Proxy::before(&chain).await, Proxy::before(&chain).await, Proxy::before(&chain).await);
    chain.mine(10).await;
    // It knows nothing above block 5.
    lagging.does(|method, params| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("finalized" | "latest")) => Act::Result(json!({"number": "0x5"})),
        ("eth_getBlockByNumber", Some("0x5")) => Act::Honest,
        ("eth_getBlockByNumber", _) => Act::Result(Value::Null),
        ("eth_call" | "eth_getCode", _) => Act::Refuse("header not found"),
        _ => Act::Honest,
    });
    let registry = try_open(&section(&chain, &[first.port, lagging.port, second.port]), None).await.unwrap();
    let torus_registry::ReadAt::Block(at) = registry.view().await.unwrap().at else { panic!() };
    assert_eq!(at.number, chain.height().await - 2);
    assert!(registry.faults().iter().all(|fault| fault.endpoint == format!("127.0.0.1:{}", lagging.port)));
    // When two lag, so does the view; what was seen is not taken back.
    for proxy in [&first, &second] {
        proxy.does(|_, params| match params[0].as_str() {
            Some("finalized") => Act::Result(json!({"number": "0x5"})),
            _ => Act::Honest,
        });
    }
    let error = registry.view().await.unwrap_err();
    assert!(matches!(error, RegistryError::Behind { shown: 5, known } if known == at.number), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_believed_and_the_error_says_who_said_what() {
    let chain = Anvil::start().await;
    founded(&chain, &people(1..=5)).await;
    let (one, two) = (Proxy::before(&chain).await, Proxy::before(&chain).await);
    let registry = try_open(&section(&chain, &[one.port, two.port, chain.port]), None).await.unwrap();
    // Each lies in its own way.
    one.does(|method, _| if method == "eth_call" { Act::Bend(bend) } else { Act::Honest });
    two.does(|method, _| if method == "eth_call" { Act::Refuse("out of order") } else { Act::Honest });
    let text = registry.view().await.unwrap_err().to_string();
    assert!(text.contains("no 2 of 3 endpoints agree on currentEpoch at block "), "{text}");
    for (port, says) in
        [(one.port, "says \"0x"), (two.port, "gives no answer: it refuses: out of order"), (chain.port, "says \"0x")]
    {
        assert!(text.contains(&format!("127.0.0.1:{port} {says}")), "{text}");
    }
    // With none left but the chain itself, too.
    for proxy in [&one, &two] {
        proxy.does(|_, _| Act::Status(503));
    }
    let text = registry.view().await.unwrap_err().to_string();
    assert!(text.contains("HTTP 503"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_address_or_contract_is_refused_at_the_start() {
    let chain = Anvil::start().await;
    let part = |address: &str, id: u64| {
        let rpc = format!("http://127.0.0.1:{}", chain.port);
        Section::parse(&json!({"rpc": rpc, "address": address, "chain_id": id})).unwrap()
    };
    let right = chain.contract.to_string();
    assert!(try_open(&part(&right, 424242), None).await.is_ok());
    let error = try_open(&part(&right, 1), None).await.err().unwrap();
    assert!(matches!(error, RegistryError::Chain { wanted: 1, found: 424242 }), "{error}");
    let error = try_open(&part(crate::anvil::OWNER, 424242), None).await.err().unwrap();
    assert!(matches!(&error, RegistryError::Code { found, .. } if found == "none"), "{error}");
    chain.ask("anvil_setCode", json!([crate::anvil::OWNER, "0x6001"])).await;
    chain.mine(3).await;
    let error = try_open(&part(crate::anvil::OWNER, 424242), None).await.err().unwrap();
    assert!(error.to_string().contains("not this build's node list"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_count_from_a_depth_where_the_chain_has_no_finality() {
    let chain = Anvil::start().await;
    chain.mine(20).await;
    let rpc = format!("http://127.0.0.1:{}", chain.port);
    let part = json!({"rpc": rpc, "address": chain.contract.to_string(), "confirmations": 7});
    let registry = try_open(&Section::parse(&part).unwrap(), None).await.unwrap();
    let torus_registry::ReadAt::Block(at) = registry.view().await.unwrap().at else { panic!() };
    assert_eq!(at.number, chain.height().await - 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_endpoint_closed_is_made_again() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let proxy = Proxy::before(&chain).await;
    let count = std::sync::atomic::AtomicU32::new(0);
    proxy.does(move |_, _| {
        let often = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2);
        if often { Act::HangUp } else { Act::Honest }
    });
    let purse = five[0].purse(&Kept::default());
    let registry = try_open(&section(&chain, &[proxy.port]), Some(purse)).await.unwrap();
    let _clock = chain.clock(Duration::from_millis(40));
    register(&registry, &five[0].own, &five[0], false).await.unwrap();
    assert_eq!(chain.count(five[0].own.account).await, 1);
    drop(open(&chain, &five[0]).await);
}

/// "localhost", as a name server would give it.
struct Local;

#[async_trait]
impl Resolve for Local {
    async fn resolve(&self, host: &str) -> Result<Vec<std::net::IpAddr>, String> {
        if host == "localhost" { Ok(vec!["127.0.0.1".parse().unwrap()]) } else { Err("no such name".to_owned()) }
    }
}

const CERTIFICATE: &[u8] = include_bytes!("../../../src/api/tests/tls/one.cert.pem");
const KEY: &[u8] = include_bytes!("../../../src/api/tests/tls/one.key.pem");
const STRANGER: &[u8] = include_bytes!("../../../src/api/tests/tls/two.cert.pem");

/// A port that speaks TLS before the chain's.
async fn tls_before(chain: &Anvil) -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_slice(KEY).unwrap())
        .unwrap();
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), chain.port);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_endpoint_is_known_by_its_authorities_and_its_name_by_the_resolver() {
    let chain = Anvil::start().await;
    let port = tls_before(&chain).await;
    let part = |host: &str| {
        let rpc = format!("https://{host}:{port}/");
        Section::parse(&json!({"rpc": rpc, "address": chain.contract.to_string()})).unwrap()
    };
    let named = || Connector::new(Arc::new(Local));
    let open =
        async |section: Section, connector: Connector| Ethereum::open(&section, &connector, patience(), None).await;

    let trusting = named().with_authorities(CERTIFICATE).unwrap();
    assert!(open(part("localhost"), trusting.clone()).await.is_ok());
    assert!(open(part("127.0.0.1"), connector().with_authorities(CERTIFICATE).unwrap()).await.is_ok());
    for (section, connector, why) in [
        (part("localhost"), named().with_authorities(STRANGER).unwrap(), "no TLS connection"),
        (part("localhost"), named(), "no file of certificate authorities"),
        (part("elsewhere"), trusting, "its name does not resolve: no such name"),
        (part("localhost"), connector().with_authorities(CERTIFICATE).unwrap(), "only addresses are used here"),
    ] {
        let error = open(section, connector).await.err().unwrap().to_string();
        assert!(error.contains(why), "{error} for {why}");
    }
    assert!(named().with_authorities(b"no PEM").is_err());
    assert!(HttpError::TooLarge.to_string().contains("1048576"));
}
