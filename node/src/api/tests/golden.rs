//! Each answer as clients read it, to the letter.

use std::sync::Arc;

use serde_json::{Value, json};
use torus_statement::keccak256;
use torus_statement::receipt::hex as hex_of;

use super::super::backend::AssignError;
use super::super::error::Outcome;
use super::super::limit::Limits;
use super::super::methods::{Api, Caller};
use super::double::{Double, Mood, NOW, World, bare_seal, public};

/// The coordinates of 1 G, 2 G: what every tool prints.
const G_X: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const G_Y: &str = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
const G_ADDRESS: &str = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
const G2_X: &str = "c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
const G2_Y: &str = "1ae168fea63dc339a3c58419466ceaeef7f632653266d0e1236431a950cfe52a";
const G2_ADDRESS: &str = "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF";

pub(super) const CALLER: Caller =
    Caller { address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), unix: NOW + 1, monotonic: 0 };

pub(super) struct Fixture {
    pub(super) members: Vec<Arc<Double>>,
    pub(super) apis: Vec<Api>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let world = World::new(bare_seal);
        let members: Vec<_> = (1..=5).map(|i| world.member(i)).collect();
        let api = |member: &Arc<Double>| Api::new(Arc::clone(member) as _, &Limits::default());
        let apis = members.iter().map(api).collect();
        Self { members, apis }
    }

    pub(super) async fn ask(&self, member: usize, method: &str, params: Value) -> Outcome {
        self.apis[member - 1].handle(method, &params, CALLER).await
    }

    pub(super) async fn result(&self, member: usize, method: &str, params: Value) -> Value {
        match self.ask(member, method, params).await {
            Outcome::Result(result) => result,
            other => panic!("{method}: {other:?}"),
        }
    }

    pub(super) async fn error(&self, member: usize, method: &str, params: Value) -> Value {
        match self.ask(member, method, params).await {
            Outcome::Error(error) => error.to_json(),
            other => panic!("{method}: {other:?}"),
        }
    }

    /// Receipts of the first so many members for a token.
    pub(super) async fn receipts(&self, token: &str, members: usize) -> Vec<Value> {
        let mut receipts = Vec::new();
        for member in 1..=members {
            receipts.push(self.result(member, "CommitmentRequest", commitment(token)).await);
        }
        receipts
    }
}

pub(super) fn token(email: &str) -> String {
    use base64::Engine;
    let base64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let payload = json!({"email": email, "iat": NOW}).to_string();
    format!("{}.{}.{}", base64(r#"{"alg":"ES256"}"#), base64(&payload), base64("signature"))
}

pub(super) fn commitment(token: &str) -> Value {
    let xy = public(50).to_xy();
    json!({
        "messageprefix": "mug00", "tokencommitment": hex_of(&keccak256(token.as_bytes())),
        "temppubx": hex_of(&xy[..32]), "temppuby": hex_of(&xy[32..]), "verifieridentifier": "demo",
    })
}

pub(super) fn login(token: &str, email: &str, receipts: Vec<Value>) -> Value {
    json!({
        "encrypted": "yes", "use_temp": true, "verifieridentifier": "demo", "temppubx": "", "temppuby": "",
        "item": [{
            "verifier_id": email, "idtoken": token, "nodesignatures": receipts, "verifieridentifier": "demo",
        }],
        "client_time": NOW.to_string(), "one_key_flow": true,
    })
}

fn user(id: &str) -> Value {
    json!({"verifier": "demo", "verifier_id": id})
}

#[tokio::test]
async fn ping_answers_the_members_address() {
    let fixture = Fixture::new();
    assert_eq!(fixture.result(1, "Ping", json!({"message": "x"})).await, json!({"message": G2_ADDRESS}));
}

#[tokio::test]
async fn a_commitment_answers_the_clients_text_signed_for_ethereum_tools() {
    let fixture = Fixture::new();
    let token = token("alice@example.com");
    let result = fixture.result(1, "CommitmentRequest", commitment(&token)).await;
    let data = result["data"].as_str().unwrap();
    let fields: Vec<&str> = data.split('\x1c').collect();
    assert_eq!(fields[0], "mug00");
    assert_eq!(fields[1], hex_of(&keccak256(token.as_bytes())));
    assert_eq!((fields[4], fields[5].to_owned()), ("demo", NOW.to_string()));
    let signature = result["signature"].as_str().unwrap();
    assert_eq!(signature.len(), 130);
    assert!(matches!(&signature[128..], "1b" | "1c"));
    let (x, y, index) = (&result["nodepubx"], &result["nodepuby"], &result["nodeindex"]);
    assert_eq!((x, y, index), (&json!(G2_X), &json!(G2_Y), &json!("1")));
    assert!(result.get("pub_key_x").is_none(), "old clients forward what they get");

    // Newer clients say who logs in and are told whether he has a key.
    let mut newer = commitment(&token);
    newer["verifier_id"] = json!("Alice@Example.com");
    newer["keytype"] = json!("secp256k1");
    newer["is_import_key_flow"] = json!(true);
    assert_eq!(fixture.result(1, "CommitmentRequest", newer.clone()).await["pub_key_x"], json!(""));
    fixture.result(1, "KeyAssign", user("alice@example.com")).await;
    let again = fixture.result(1, "CommitmentRequest", newer).await;
    assert_eq!((&again["pub_key_x"], &again["data"]), (&json!(G_X), &result["data"]), "the same key, the same answer");
}

#[tokio::test]
async fn lookup_and_assignment_of_the_first_generation() {
    let fixture = Fixture::new();
    let unassigned = json!({
        "code": -32602, "message": "Input Error", "data": "Verifier + VerifierID has not yet been assigned",
    });
    assert_eq!(fixture.error(1, "VerifierLookupRequest", user("alice@example.com")).await, unassigned);
    let expected = json!({"keys": [{"key_index": "0", "pub_key_X": G_X, "pub_key_Y": G_Y, "address": G_ADDRESS}]});
    // Beside `params` stand members of a signer service, which are passed over by the frame.
    assert_eq!(fixture.result(2, "KeyAssign", user("alice@example.com")).await, expected);
    assert_eq!(fixture.result(4, "KeyAssign", user("ALICE@example.com")).await, expected, "once, and without case");
    for member in 1..=5 {
        assert_eq!(fixture.result(member, "VerifierLookupRequest", user("alice@example.com")).await, expected);
    }
    let key = json!({"pub_key_X": G_X, "pub_key_Y": G_Y});
    let owner = fixture.result(1, "KeyLookupRequest", key).await;
    assert_eq!((&owner["Index"], &owner["Threshold"]), (&json!("0"), &json!(1)));
    assert_eq!(owner["PublicKey"], json!({"X": G_X, "Y": G_Y}));
    assert_eq!(owner["Verifiers"]["demo"][0].as_str().unwrap().len(), 64, "the log holds hashes of ids");
    assert_eq!(owner, fixture.result(2, "KeyLookupRequest", json!({"pub_key_x": G_X, "pub_key_y": G_Y})).await);
}

#[tokio::test]
async fn the_lookup_of_the_second_generation_assigns_and_agrees_on_what_is_new() {
    let fixture = Fixture::new();
    let mut params = user("alice@example.com");
    params["client_time"] = json!(NOW.to_string());
    params["key_type"] = json!("secp256k1");
    params["distributed_metadata"] = json!(true);
    let expected = json!({
        "keys": [{"pub_key_X": G_X, "pub_key_Y": G_Y, "address": G_ADDRESS}],
        "is_new_key": true, "node_index": "3", "server_time_offset": "1",
    });
    assert_eq!(fixture.result(3, "GetPubKeyOrKeyAssign", params.clone()).await, expected);
    // A member that is asked later says the same of the same caller's clock.
    let later = fixture.result(1, "GetPubKeyOrKeyAssign", params.clone()).await;
    assert_eq!((&later["is_new_key"], &later["node_index"]), (&json!(true), &json!("1")));
    for (client_time, new) in
        [(json!(NOW + 9), true), (json!(NOW + 10), false), (json!(null), false), (json!("x"), false)]
    {
        params["client_time"] = client_time.clone();
        assert_eq!(fixture.result(1, "GetPubKeyOrKeyAssign", params.clone()).await["is_new_key"], new, "{client_time}");
    }
    params["client_time"] = json!((NOW + 4).to_string());
    assert_eq!(fixture.result(1, "GetPubKeyOrKeyAssign", params).await["server_time_offset"], json!("-3"));
}

#[tokio::test]
async fn a_share_of_the_first_generation() {
    let fixture = Fixture::new();
    let token = token("alice@example.com");
    let mut receipts = fixture.receipts(&token, 4).await;
    // What old clients push for a member that failed.
    receipts.insert(1, Value::Null);
    let params = login(&token, "alice@example.com", receipts);
    let missing = fixture.error(1, "ShareRequest", params.clone()).await;
    assert!(missing["data"].as_str().unwrap().starts_with("share request could not retrieve keyIndexes"));
    fixture.result(1, "KeyAssign", user("alice@example.com")).await;

    let result = fixture.result(1, "ShareRequest", params).await;
    // Member 1's share of the first key is 1 + 7 + 9 = 17; the double seals nothing.
    let ciphertext = format!("{:064x}", 17);
    use base64::Engine;
    let share = base64::engine::general_purpose::STANDARD.encode(ciphertext);
    let metadata = json!({
        "iv": "11".repeat(16), "ephemPublicKey": format!("04{}", hex::encode(public(3).to_xy())),
        "mac": "22".repeat(32), "mode": "AES256",
    });
    assert_eq!(
        result,
        json!({"keys": [{
            "Index": "0", "PublicKey": {"X": G_X, "Y": G_Y}, "Threshold": 1,
            "Verifiers": {"demo": ["alice@example.com"]}, "Share": share, "Metadata": metadata,
        }]})
    );
}

#[tokio::test]
async fn a_share_of_the_second_generation_with_its_session_token() {
    let fixture = Fixture::new();
    let token = token("alice@example.com");
    let params = login(&token, "alice@example.com", fixture.receipts(&token, 4).await);
    let result = fixture.result(2, "GetShareOrKeyAssign", params).await;
    let key = &result["keys"][0];
    assert_eq!(key["index"], json!({"index": "0", "service_group_id": "0", "tag": "generated"}));
    assert_eq!(key["public_key"], json!({"X": G_X, "Y": G_Y}));
    assert_eq!((&key["threshold"], &key["node_index"]), (&json!("1"), &json!("2")));
    assert_eq!(key["share_metadata"]["mode"], json!("AES256"));
    assert!(key.get("nonce_data").is_none());
    assert_eq!((&result["is_new_key"], &result["server_time_offset"]), (&json!("true"), &json!("1")));
    for field in ["session_tokens", "session_token_metadata", "session_token_sigs", "session_token_sig_metadata"] {
        assert_eq!(result[field].as_array().unwrap().len(), 1, "{field}");
    }
    let text = hex::decode(result["session_tokens"][0].as_str().unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with(r#"{"exp":"#), "{text}");
    assert!(result["node_pubx"].is_string() && result["node_puby"].is_string());
}

#[tokio::test]
async fn a_member_that_cannot_assign_makes_old_clients_ask_another() {
    let fixture = Fixture::new();
    for (why, status) in [
        (AssignError::NoKeys, 502),
        (AssignError::RateLimited, 502),
        (AssignError::NotReady, 502),
        (AssignError::Timeout, 504),
    ] {
        fixture.members[0].become_(Mood::CannotAssign(why));
        let outcome = fixture.ask(1, "KeyAssign", user("bob@example.com")).await;
        assert!(matches!(outcome, Outcome::Status(code, _) if code == status), "{why}: {outcome:?}");
        let error = fixture.error(1, "GetPubKeyOrKeyAssign", user("bob@example.com")).await;
        assert_eq!((&error["code"], error["data"].is_string()), (&json!(-32603), true));
    }
}

#[tokio::test]
async fn the_certified_lookup_and_the_network_file_are_the_statements_own_bytes() {
    use torus_statement::certificate::{CommitCertificate, SignedHeader};
    use torus_statement::{Header, NetworkFile, Wire};
    let fixture = Fixture::new();
    fixture.result(1, "KeyAssign", user("alice@example.com")).await;
    let result = fixture.result(1, "CertifiedLookup", user("alice@example.com")).await;
    let bytes = |name: &str| hex::decode(result[name].as_str().unwrap()).unwrap();
    let header = Header::from_bytes(&bytes("header")).unwrap();
    let certificate = CommitCertificate::from_bytes(&bytes("certificate")).unwrap();
    assert!(SignedHeader { header, certificate }.verify(&fixture.members[0].world.config).is_ok());
    let file = fixture.result(1, "NetworkFile", json!({})).await;
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(file["file"].as_str().unwrap()).unwrap();
    let parsed = NetworkFile::from_bytes(&bytes).unwrap();
    assert_eq!(
        (hex::encode(parsed.hash()), &parsed),
        (file["hash"].as_str().unwrap().to_owned(), &fixture.members[0].world.file)
    );
}
