//! Logins against five members in one process: the node's own interface over members of which some misbehave.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail by panicking")]

// Built in rather than linked, so that the client's tests need neither the engine nor libp2p. The interface's own tests
// come along; they are quick.
#[allow(dead_code, unreachable_pub, unused_imports, reason = "a part of another crate")]
#[path = "../../src/api/mod.rs"]
mod api;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aes::cipher::{BlockEncryptMut, KeyIvInit};
use api::tests::double::{Double, Mood, NOW, World, identity, public, sign, signer};
use api::tests::listeners::listener;
use api::{Api, Backend, Caller, Limits, Metrics, Outcome, Server, serve_api};
use base64::Engine;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{ProjectivePoint, Scalar};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::watch;
use torus_client::{Client, Error, Network, Options, Token, Trust};
use torus_ipc::{Deny, Ecies};
use torus_statement::Point;
use torus_statement::text::{VerifierId, VerifierName};

/// The second, independent writing of what the client opens.
fn seal(to: &Point, bytes: &[u8]) -> Ecies {
    let mut random = [0; 48];
    getrandom::getrandom(&mut random).unwrap();
    let secret: Scalar = Scalar::from_repr(<[u8; 32]>::try_from(&random[..32]).unwrap().into()).unwrap();
    let iv: [u8; 16] = random[32..].try_into().unwrap();
    let ephemeral = Point::new(&(ProjectivePoint::GENERATOR * secret)).unwrap().to_xy();
    let keys = Sha512::digest((to.projective() * secret).to_affine().x());
    let padding = 16 - bytes.len() % 16;
    let mut ciphertext = [bytes, &vec![padding as u8; padding]].concat();
    let mut cipher = cbc::Encryptor::<aes::Aes256>::new_from_slices(&keys[..32], &iv).unwrap();
    ciphertext.chunks_exact_mut(16).for_each(|block| cipher.encrypt_block_mut(block.into()));
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&keys[32..]).unwrap();
    mac.update(&[&iv[..], &[4], &ephemeral, &ciphertext].concat());
    Ecies { iv, ephemeral, ciphertext, mac: mac.finalize().into_bytes().into() }
}

/// What a member does to its own answers on the way out.
type Bend = fn(&str, &mut Value);

struct Five {
    world: Arc<World>,
    members: Vec<Arc<Double>>,
    json: Value,
    stops: Vec<watch::Sender<bool>>,
}

impl Five {
    /// Five members, of which those `down` do not answer and those in `bent` bend their answers.
    fn start(down: &[u8], bent: &[(u8, Bend)]) -> Self {
        let world = World::new(seal);
        let (mut members, mut stops, mut listed) = (Vec::new(), Vec::new(), Vec::new());
        for index in 1..=5 {
            let member = world.member(index);
            let listener = listener();
            let port = listener.local_addr().unwrap().port();
            let xy = public(identity(member.index)).to_xy();
            listed.push(json!({
                "index": index, "endpoint": format!("http://127.0.0.1:{port}/jrpc"), "admin": "http://127.0.0.1:1",
                "pubkey": {"x": hex::encode(&xy[..32]), "y": hex::encode(&xy[32..])},
                "pids": {"vault": 0, "node": 0},
            }));
            let (stop, stopped) = watch::channel(false);
            stops.push(stop);
            if let Some((_, bend)) = bent.iter().find(|(i, _)| *i == index) {
                tokio::spawn(bending(listener, Arc::clone(&member), *bend));
            } else if !down.contains(&index) {
                let backend = Arc::clone(&member) as Arc<dyn Backend>;
                let server =
                    Server { backend, limits: Limits::default(), metrics: Arc::new(Metrics::new(None)), tls: None };
                tokio::spawn(serve_api(listener, server, stopped));
            }
            members.push(member);
        }
        let json = json!({
            "network": "devnet", "epoch": 1, "n": 5, "k": 3, "t": 1, "members": listed,
            "verifiers": [{"name": "demo", "issuer": "https://issuer.example", "audience": "torus", "id_claim": "email"}],
        });
        Self { world, members, json, stops }
    }

    fn client(&self) -> Client {
        self.client_with(Options { hedge: Duration::from_millis(300), ..Options::default() })
    }

    fn client_with(&self, options: Options) -> Client {
        Client::new(Network::parse(self.json.to_string().as_bytes()).unwrap(), options).unwrap()
    }

    fn become_(&self, member: usize, mood: Mood) {
        self.members[member - 1].become_(mood);
    }
}

/// A member with the real interface behind it, whose answers are bent before they leave.
async fn bending(listener: std::net::TcpListener, member: Arc<Double>, bend: Bend) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let api = Arc::new(Api::new(member as Arc<dyn Backend>, &Limits::default()));
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        let api = Arc::clone(&api);
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let api = Arc::clone(&api);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let method = body["method"].as_str().unwrap();
                let caller = Caller { address: peer.ip(), unix: NOW, monotonic: 0 };
                let mut answer = match api.handle(method, &body["params"], caller).await {
                    Outcome::Result(result) => json!({"result": result}),
                    Outcome::Error(error) => json!({"error": error.to_json()}),
                    Outcome::Status(..) => json!({}),
                };
                bend(method, &mut answer);
                Ok::<_, hyper::Error>(hyper::Response::new(Full::new(Bytes::from(answer.to_string()))))
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// A token that nobody has used yet.
fn token(user: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let base64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let payload = json!({"email": format!("{user}@example.com"), "iat": NOW, "jti": number}).to_string();
    format!("{}.{}.{}", base64(r#"{"alg":"EdDSA"}"#), base64(&payload), base64("signature"))
}

async fn login(client: &Client, user: &str) -> Result<torus_client::Login, Error> {
    client.login(&demo(), Token::normalise(&token(user)).unwrap(), None).await
}

fn demo() -> VerifierName {
    VerifierName::new("demo").unwrap()
}

fn id(user: &str) -> VerifierId {
    VerifierId::new(&format!("{user}@example.com")).unwrap()
}

fn named(faults: &[torus_client::Fault]) -> Vec<u8> {
    let mut members: Vec<u8> = faults.iter().map(|fault| fault.member).collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// The double's key number i is i + 1.
fn small(number: u8) -> [u8; 32] {
    let mut key = [0; 32];
    key[31] = number;
    key
}

#[tokio::test]
async fn a_new_user_logs_in_and_gets_the_same_key_ever_after() {
    let five = Five::start(&[], &[]);
    let client = five.client();
    assert!(matches!(client.lookup(&demo(), &id("alice")).await, Err(Error::Unassigned)));
    let first = login(&client, "alice").await.unwrap();
    assert_eq!((first.private.bytes(), first.is_new, first.members.len()), (&small(1), true, 3));
    assert_eq!(torus_client::address(&first.key.public), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
    assert_eq!((first.trust, first.sessions.len(), first.faults.len()), (Trust::Members, 3, 0));
    let again = login(&five.client(), "alice").await.unwrap();
    assert_eq!((again.private.bytes(), again.is_new), (&small(1), false));
    assert_eq!(login(&client, "bob").await.unwrap().private.bytes(), &small(2));
    assert_eq!(client.lookup(&demo(), &id("alice")).await.unwrap().0.public, first.key.public);
    assert!(!client.assign(&demo(), &id("ALICE")).await.unwrap().1, "ids of this verifier have no case");
}

#[tokio::test]
async fn a_wrong_share_is_named_and_the_login_goes_on_without_it() {
    let five = Five::start(&[], &[]);
    five.become_(2, Mood::WrongShares);
    let client = five.client();
    let mut blamed = false;
    // Who is asked is chance: member 2 is among the first three in three logins of five.
    for _ in 0..40 {
        let done = login(&client, "alice").await.unwrap();
        assert_eq!((done.private.bytes(), done.members.contains(&2)), (&small(1), false));
        if let Some(fault) = done.faults.first() {
            assert_eq!((fault.member, done.faults.len()), (2, 1));
            assert!(fault.what.contains("wrong"), "{fault}");
            blamed = true;
            break;
        }
    }
    assert!(blamed);
}

#[tokio::test]
async fn three_members_with_wrong_shares_stop_a_login_and_are_all_named() {
    let five = Five::start(&[], &[]);
    for member in [1, 3, 5] {
        five.become_(member, Mood::WrongShares);
    }
    let Err(error) = login(&five.client(), "alice").await else { panic!("two shares are not enough") };
    assert!(matches!(error, Error::TooFew { got: 2, needed: 3, .. }), "{error}");
    assert_eq!(named(error.faults()), [1, 3, 5]);
}

#[tokio::test]
async fn a_member_that_answers_without_keys_is_done_without() {
    let empty: Bend = |method, answer| {
        if method == "GetShareOrKeyAssign" {
            *answer = json!({"result": {"keys": []}});
        }
    };
    let five = Five::start(&[], &[(1, empty), (4, empty)]);
    let client = five.client();
    for _ in 0..5 {
        let done = login(&client, "alice").await.unwrap();
        assert_eq!((done.private.bytes(), done.members), (&small(1), vec![2, 3, 5]));
    }
}

#[tokio::test]
async fn one_forged_receipt_is_done_without_and_two_keep_the_token_from_being_revealed() {
    let five = Five::start(&[], &[]);
    five.become_(1, Mood::ForgedReceipts);
    let client = five.client();
    let done = login(&client, "alice").await.unwrap();
    assert_eq!(named(&done.faults), if done.faults.is_empty() { vec![] } else { vec![1] });
    let shown = five.world.shown.load(Ordering::Relaxed);
    five.become_(2, Mood::ForgedReceipts);
    let Err(error) = login(&client, "alice").await else { panic!("three receipts are no quorum") };
    assert!(matches!(error, Error::TooFew { got: 3, needed: 4, .. }), "{error}");
    assert_eq!(named(error.faults()), [1, 2]);
    assert!(error.to_string().contains("not signed by its key"), "{error}");
    assert_eq!(five.world.shown.load(Ordering::Relaxed), shown, "nobody saw the token");
}

#[tokio::test]
async fn receipts_that_are_bent_in_any_field_do_not_count() {
    let bends: [Bend; 4] = [
        |method, answer| {
            if method == "CommitmentRequest" {
                let data = answer["result"]["data"].as_str().unwrap().replace("devnet\u{1c}1", "devnet\u{1c}2");
                answer["result"]["data"] = json!(data);
            }
        },
        |method, answer| {
            if method == "CommitmentRequest" {
                answer["result"]["signature"] = json!("00");
            }
        },
        |method, answer| {
            if method == "CommitmentRequest" {
                *answer = json!({"result": {}});
            }
        },
        |method, answer| {
            if method == "CommitmentRequest" {
                *answer = json!({"result": null, "error": null});
            }
        },
    ];
    for bend in bends {
        let five = Five::start(&[], &[(1, bend), (5, bend)]);
        let Err(error) = login(&five.client(), "alice").await else { panic!("three receipts are no quorum") };
        assert_eq!(named(error.faults()), [1, 5], "{error}");
        assert_eq!(five.world.shown.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn one_members_receipt_does_not_count_for_others() {
    let borrowed: Bend = |method, answer| {
        if method == "CommitmentRequest" {
            use torus_statement::receipt::Receipt;
            let mut receipt = Receipt::parse(answer["result"]["data"].as_str().unwrap()).unwrap();
            receipt.member = torus_statement::Index::new(1).unwrap();
            let signature = sign(&signer(identity(receipt.member)), receipt.text().as_bytes());
            answer["result"]["signature"] = json!(format!("{}1b", hex::encode(signature.to_bytes())));
            answer["result"]["data"] = json!(receipt.text());
        }
    };
    let five = Five::start(&[], &[(2, borrowed), (5, borrowed)]);
    let Err(error) = login(&five.client(), "alice").await else { panic!("three members are no quorum") };
    assert_eq!(named(error.faults()), [2, 5], "{error}");
    assert_eq!(five.world.shown.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_ciphertext_that_was_touched_is_refused_by_its_mac() {
    let bends: [Bend; 3] = [
        |_, answer| {
            if let Some(iv) = answer.pointer_mut("/result/keys/0/share_metadata/iv") {
                *iv = json!("00".repeat(16));
            }
        },
        |_, answer| {
            if let Some(mac) = answer.pointer_mut("/result/keys/0/share_metadata/mac") {
                *mac = json!("00".repeat(32));
            }
        },
        |_, answer| {
            if let Some(share) = answer.pointer_mut("/result/keys/0/share") {
                *share = json!(base64::engine::general_purpose::STANDARD.encode("00".repeat(48)));
            }
        },
    ];
    for bend in bends {
        let five = Five::start(&[], &[(1, bend), (2, bend), (3, bend)]);
        let Err(error) = login(&five.client(), "alice").await else { panic!("two shares are not enough") };
        assert_eq!(named(error.faults()), [1, 2, 3]);
        assert!(error.to_string().contains("does not open"), "{error}");
    }
}

#[tokio::test]
async fn a_token_older_than_the_members_start_is_not_revealed() {
    let five = Five::start(&[], &[]);
    five.become_(3, Mood::FreshlyStarted);
    five.become_(4, Mood::FreshlyStarted);
    let Err(error) = login(&five.client(), "alice").await else { panic!("the token is too old for two") };
    assert!(error.to_string().contains("sign in again"), "{error}");
    assert_eq!((named(error.faults()), five.world.shown.load(Ordering::Relaxed)), (vec![3, 4], 0));
}

#[tokio::test]
async fn slow_members_are_overtaken() {
    let five = Five::start(&[], &[]);
    five.become_(1, Mood::Slow(Duration::from_secs(60)));
    five.become_(2, Mood::Slow(Duration::from_secs(60)));
    let client = five.client();
    client.assign(&demo(), &id("alice")).await.ok();
    let started = Instant::now();
    let done = login(&client, "alice").await.unwrap();
    assert_eq!((done.private.bytes(), done.members), (&small(1), vec![3, 4, 5]));
    assert!(started.elapsed() < Duration::from_secs(15), "a slow member was waited for");
}

#[tokio::test]
async fn a_busy_member_is_asked_again() {
    // Every second answer that matters.
    let bend: Bend = |method, answer| {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let matters = matches!(method, "CommitmentRequest" | "GetShareOrKeyAssign");
        if matters && COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            *answer = json!({"error": {"code": -32603, "message": "Internal error", "data": "The network is busy. x"}});
        }
    };
    let five = Five::start(&[5], &[(3, bend)]);
    assert_eq!(login(&five.client(), "alice").await.unwrap().private.bytes(), &small(1));
}

#[tokio::test]
async fn one_member_down_is_no_matter_and_two_are_named() {
    let five = Five::start(&[4], &[]);
    assert_eq!(login(&five.client(), "alice").await.unwrap().private.bytes(), &small(1));
    let five = Five::start(&[4, 5], &[]);
    let Err(error) = login(&five.client(), "alice").await else { panic!("three members are no quorum") };
    assert_eq!(named(error.faults()), [4, 5], "{error}");
    for member in ["member 4 (http://127.0.0.1:", "member 5 (http://127.0.0.1:", "3 of the 4 members needed"] {
        assert!(error.to_string().contains(member), "{error}");
    }
    drop(five.stops);
}

#[tokio::test]
async fn what_most_members_say_is_the_reason() {
    let five = Five::start(&[], &[]);
    for member in 1..=5 {
        five.become_(member, Mood::Denies(Deny::TokenAudience));
    }
    let Err(error) = login(&five.client(), "alice").await else { panic!("all refuse") };
    assert!(matches!(&error, Error::Refused(words, _) if words.contains("audience")), "{error}");
}

#[tokio::test]
async fn a_member_that_shows_another_key_is_not_believed() {
    let bend: Bend = |method, answer| {
        if method == "CertifiedLookup" && answer.get("result").is_some() {
            // A valid key entry, which the state does not hold.
            use torus_statement::Wire;
            let entry = torus_statement::state::KeyEntry { public: public(77), commitments: vec![public(78); 5] };
            answer["result"]["key"] = json!(hex::encode(entry.to_bytes()));
        }
    };
    let five = Five::start(&[], &[(1, bend), (2, bend)]);
    let client = five.client();
    assert_eq!(login(&client, "alice").await.unwrap().private.bytes(), &small(1));
    let all: Vec<(u8, Bend)> = (1..=5).map(|i| (i, bend)).collect();
    let five = Five::start(&[], &all);
    let Err(error) = login(&five.client(), "alice").await else { panic!("no proof holds") };
    assert!(error.to_string().contains("not in the certified state"), "{error}");
}

#[tokio::test]
async fn the_founding_file_is_pinned_by_its_hash_or_by_the_members_keys() {
    let five = Five::start(&[], &[]);
    let hash = five.world.file.hash();
    let pinned = |genesis| five.client_with(Options { genesis: Some(genesis), ..Options::default() });
    assert_eq!(pinned(hash).assign(&demo(), &id("alice")).await.unwrap().2, Trust::Genesis);
    let error = pinned([7; 32]).lookup(&demo(), &id("alice")).await.unwrap_err();
    assert!(error.to_string().contains("not the one whose hash is pinned"), "{error}");
    // A network file whose member 2 has another key is another network.
    let mut other = five.json.clone();
    let xy = public(1234).to_xy();
    other["members"][1]["pubkey"] = json!({"x": hex::encode(&xy[..32]), "y": hex::encode(&xy[32..])});
    let client = Client::new(Network::parse(other.to_string().as_bytes()).unwrap(), Options::default()).unwrap();
    let error = client.lookup(&demo(), &id("alice")).await.unwrap_err();
    assert_eq!(named(error.faults()), [1, 2, 3, 4, 5], "{error}");
}

#[test]
fn network_files_that_make_no_sense_are_refused() {
    let member = |index: u8, key: u64| {
        let xy = public(key).to_xy();
        json!({
            "index": index, "endpoint": "http://127.0.0.1:1/jrpc",
            "pubkey": {"x": hex::encode(&xy[..32]), "y": hex::encode(&xy[32..])},
        })
    };
    let good = json!({
        "network": "devnet", "epoch": 1, "n": 5, "k": 3, "t": 1, "new": {"member": 1},
        "members": (1..=5).map(|i| member(i, u64::from(i))).collect::<Vec<_>>(),
    });
    assert!(Network::parse(good.to_string().as_bytes()).is_ok());
    for (place, value) in [
        ("/network", json!("Dev Net")),
        ("/k", json!(2)),
        ("/t", json!(2)),
        ("/members", json!([])),
        ("/members/1", member(1, 2)),
        ("/members/1", member(2, 1)),
        ("/members/1", member(6, 2)),
        ("/members/1/endpoint", json!("ftp://x/")),
        ("/members/1/endpoint", json!("/jrpc")),
        ("/members/1/pubkey/x", json!("00")),
        ("/members/1/pubkey/x", json!("zz")),
        ("/epoch", json!("1")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value.clone();
        assert!(Network::parse(bad.to_string().as_bytes()).is_err(), "{place}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_prints_json_and_tells_failures_by_its_exit_code() {
    let five = Five::start(&[5], &[]);
    let dir = tempfile::tempdir().unwrap();
    let (network, token_file, key) =
        (dir.path().join("network.json"), dir.path().join("token"), dir.path().join("key"));
    std::fs::write(&network, five.json.to_string()).unwrap();
    std::fs::write(&token_file, token("alice")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_torus"));
        command.args(arguments).arg("--network").arg(&network).args(["--verifier", "demo", "--json"]);
        async move {
            let output = command.output().await.unwrap();
            let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            (output.status.code().unwrap(), json, String::from_utf8(output.stderr).unwrap())
        }
    };
    let (code, json, _) = run(&["lookup", "--id", "alice@example.com"]).await;
    assert_eq!((code, &json["error"]["code"]), (6, &json!("unassigned")));

    let file = token_file.to_str().unwrap();
    let (code, json, stderr) = run(&["login", "--token-file", file, "--key-out", key.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(json["address"], json!("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"));
    assert_eq!((&json["is_new_key"], &json["verifier_id"]), (&json!(true), &json!("alice@example.com")));
    assert!(json.get("private_key").is_none(), "only on request");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), hex::encode(small(1)));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    // The token is spent: the members hold it for the temporary key of the first login.
    let (code, json, stderr) = run(&["login", "--token-file", file]).await;
    assert_eq!((code, &json["error"]["code"]), (3, &json!("refused")));
    assert!(stderr.contains("Duplicate token found"), "{stderr}");

    let (code, json, _) = run(&["login", "--show-key", "--token", &token("alice")]).await;
    assert_eq!((code, &json["private_key"]), (0, &json!(hex::encode(small(1)))));
    assert_eq!(run(&["login", "--token", "not.a-token"]).await.0, 3);
    assert_eq!(run(&["assign", "--id", "bob@example.com"]).await.1["key_index"], json!(1));
    assert_eq!(run(&["login"]).await.0, 2);
}
