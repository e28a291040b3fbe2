//! The JSON-RPC of both generations of clients, on the wire.

use std::time::Duration;

use serde_json::{Value, json};
use torus_tests::issuer::now;

use crate::client::{VERIFIER, fresh_email, login};
use crate::devnet::{Devnet, within};
use crate::rpc::{call, call_all, call_raw, get, request};
use crate::theft::{Temporary, keccak};

fn all_equal(answers: &[Result<Value, Value>]) -> &Result<Value, Value> {
    let first = answers.first().expect("answers");
    answers.iter().for_each(|answer| assert_eq!(answer, first));
    first
}

pub(crate) fn every_member_answers_a_lookup_in_the_same_words(net: &mut Devnet) {
    let unassigned = json!({"verifier": VERIFIER, "verifier_id": fresh_email("nobody")});
    let answers = call_all(net, "VerifierLookupRequest", &unassigned);
    let error = all_equal(&answers).as_ref().expect_err("nobody has a key").clone();
    assert_eq!(error["code"], -32602);
    assert!(error["data"].as_str().expect("text").contains("Verifier + VerifierID has not yet been assigned"));

    let unknown = json!({"verifier": "no-such-verifier", "verifier_id": "a@example.com"});
    let answers = call_all(net, "VerifierLookupRequest", &unknown);
    let error = all_equal(&answers).as_ref().expect_err("there is no such verifier").clone();
    assert!(error["data"].as_str().expect("text").contains("Verifier not supported"));

    let empty = json!({"verifier": VERIFIER, "verifier_id": ""});
    assert!(all_equal(&call_all(net, "VerifierLookupRequest", &empty)).is_err());
}

pub(crate) fn an_assignment_is_once_and_seen_everywhere_within_a_second(net: &mut Devnet) {
    let user = json!({"verifier": VERIFIER, "verifier_id": fresh_email("erin")});
    let assigned = call(net, 2, "KeyAssign", &user).expect("assigned");
    // What old clients do: wait a second, then ask everybody, once.
    std::thread::sleep(Duration::from_secs(1));
    let seen = call_all(net, "VerifierLookupRequest", &user);
    let same = seen.iter().filter(|answer| answer.as_ref().is_ok_and(|found| *found == assigned)).count();
    assert!(same > usize::from(net.members()) / 2, "{same} members saw it: {seen:?}");
    // Everybody asks for it again, at other members too.
    for answer in call_all(net, "KeyAssign", &user) {
        assert_eq!(answer.expect("assigned before"), assigned);
    }
    let key = &assigned["keys"][0];
    let address = key["address"].as_str().expect("an address");
    assert!(address.starts_with("0x") && address.len() == 42, "{address}");
    for field in ["key_index", "pub_key_X", "pub_key_Y"] {
        let text = key[field].as_str().expect("hex");
        assert!(!text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{field}: {text}");
        assert!(text == "0" || !text.starts_with('0'), "{field} is padded: {text}");
    }
}

pub(crate) fn both_generations_of_clients_see_one_key(net: &mut Devnet) {
    let email = fresh_email("frank");
    let user = json!({"distributed_metadata": true, "verifier": VERIFIER, "verifier_id": email, "one_key_flow": true,
        "key_type": "secp256k1", "fetch_node_index": true, "client_time": now().to_string()});
    let answers = call_all(net, "GetPubKeyOrKeyAssign", &user);
    let first = answers[0].as_ref().expect("assigned").clone();
    for (member, answer) in (1u8..).zip(&answers) {
        let answer = answer.as_ref().expect("assigned");
        assert_eq!(answer["keys"], first["keys"]);
        // One that differs splits the vote of the clients.
        assert_eq!(answer["is_new_key"], true);
        assert_eq!(answer["node_index"], member.to_string());
        assert!(answer["server_time_offset"].as_str().expect("text").parse::<i64>().is_ok());
    }
    let legacy = call(net, 1, "VerifierLookupRequest", &json!({"verifier": VERIFIER, "verifier_id": email}));
    let legacy = legacy.expect("assigned");
    for field in ["pub_key_X", "pub_key_Y", "address"] {
        assert_eq!(legacy["keys"][0][field], first["keys"][0][field]);
    }
    let owner = json!({"pub_key_X": first["keys"][0]["pub_key_X"], "pub_key_Y": first["keys"][0]["pub_key_Y"]});
    assert!(call(net, 3, "KeyLookupRequest", &owner).is_ok());
    let address = first["keys"][0]["address"].as_str().expect("an address");
    assert_eq!(login(net, &email).address.to_lowercase(), address.to_lowercase());
}

pub(crate) fn a_commitment_is_as_the_real_clients_read_it(net: &mut Devnet) {
    let temporary = Temporary::new();
    let token = net.mint("ES256", &fresh_email("grace"), "");
    let params = temporary.commitment(&keccak(token.as_bytes()), VERIFIER);
    for member in 1..=net.members() {
        let receipt = call(net, member, "CommitmentRequest", &params).expect("a receipt");
        assert_eq!(receipt["nodeindex"], member.to_string());
        let signature = receipt["signature"].as_str().expect("hex");
        assert!(signature.len() == 130 && (signature.ends_with("1b") || signature.ends_with("1c")), "{signature}");
        let data = receipt["data"].as_str().expect("text");
        let (x, y) = temporary.xy();
        let fields: Vec<&str> = data.split('\u{1c}').collect();
        assert_eq!(&fields[..5], ["mug00", &hex::encode(keccak(token.as_bytes())), &x, &y, VERIFIER]);
        let signed: u64 = fields[5].parse().expect("seconds");
        assert!(signed.abs_diff(now()) < 30);
        // The same request is told the same, with its first time. (A token signs with a nonce of its own each time.)
        let again = call(net, member, "CommitmentRequest", &params).expect("again");
        assert_eq!(again["data"], receipt["data"]);
    }
    let mut other = params.clone();
    other["messageprefix"] = "mug01".into();
    let error = call(net, 1, "CommitmentRequest", &other).expect_err("another prefix");
    assert_eq!((&error["code"], &error["data"]), (&(-32603).into(), &"Incorrect message prefix".into()));
}

pub(crate) fn what_is_not_served_is_refused_in_words(net: &mut Devnet) {
    let user = |more: Value| {
        let mut user =
            json!({"verifier": VERIFIER, "verifier_id": fresh_email("heidi"), "client_time": now().to_string()});
        user.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        user
    };
    for (method, params) in [
        ("GetPubKeyOrKeyAssign", user(json!({"key_type": "ed25519"}))),
        ("ImportShares", user(json!({"item": []}))),
        ("ImportShare", user(json!({"item": []}))),
        ("GetShareOrKeyAssign", json!({"encrypted": "yes", "item": []})),
        ("ShareRequest", json!({"encrypted": "yes", "item": []})),
        ("NoSuchMethod", json!({})),
    ] {
        let answers = call_all(net, method, &params);
        let error = all_equal(&answers).as_ref().expect_err(method);
        assert!(error["data"].as_str().is_some_and(|data| data.len() > 5), "{method}: {error}");
    }
    // Without receipts: the form of newer clients that has no protection against whoever sees the token.
    let email = fresh_email("ivan");
    let token = net.mint("ES256", &email, "");
    let (x, y) = Temporary::new().xy();
    let bare = json!({"encrypted": "yes", "use_temp": true, "key_type": "secp256k1", "verifieridentifier": VERIFIER,
        "temppubx": x, "temppuby": y, "one_key_flow": true, "client_time": now().to_string(),
        "item": [{"verifier_id": email, "idtoken": token, "nodesignatures": [], "verifieridentifier": VERIFIER}]});
    assert!(all_equal(&call_all(net, "GetShareOrKeyAssign", &bare)).is_err());
}

pub(crate) fn malformed_requests_cost_one_answer_each(net: &mut Devnet) {
    let port = net.api(1);
    let post = |body: Vec<u8>| request("POST", port, "/jrpc", &[("content-type", "application/json")], body);
    for body in
        ["", "{", "null", "[]", "[1,2]", "{\"jsonrpc\":\"2.0\"}", "{\"jsonrpc\":\"2.0\",\"id\":10,\"method\":7}"]
    {
        let answer = post(body.into()).expect("an answer");
        assert!(answer.status < 500, "{body:?}: {} {}", answer.status, answer.text());
    }
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":10,\"method\":\"Ping\",\"params\":{}1{}}}",
        "[".repeat(9_000),
        "]".repeat(9_000)
    );
    assert!(post(deep.into()).expect("an answer").status < 500);
    // Too large: refused, whether by an answer or by the end of the connection.
    if let Ok(answer) = post(vec![b' '; 4 << 20]) {
        assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    }
    for params in [
        json!(null),
        json!([]),
        json!({"verifier": 7, "verifier_id": {}}),
        json!({"verifier": "x".repeat(20_000), "verifier_id": "y"}),
        json!({"verifier": VERIFIER, "verifier_id": "\u{0}"}),
    ] {
        for method in [
            "Ping",
            "CommitmentRequest",
            "ShareRequest",
            "VerifierLookupRequest",
            "KeyLookupRequest",
            "GetShareOrKeyAssign",
            "GetPubKeyOrKeyAssign",
        ] {
            let answer = call_raw(net, 1, method, &params).expect("an answer");
            assert!(answer.status < 500, "{method} {params}: {}", answer.status);
        }
    }
    assert!(call(net, 1, "Ping", &json!({"message": "still there?"})).is_ok());
}

pub(crate) fn any_origin_may_call_even_null(net: &mut Devnet) {
    let port = net.api(1);
    for origin in ["https://app.example.com", "null"] {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let preflight = request("OPTIONS", port, "/jrpc", &asked, Vec::new()).expect("an answer");
        assert!((200..300).contains(&preflight.status));
        let header = |name: &str| preflight.headers.get(name).map(|v| v.to_str().expect("text").to_lowercase());
        assert!(header("access-control-allow-headers").is_some_and(|v| v.contains("content-type") || v == "*"));
        assert!(header("access-control-allow-methods").is_some_and(|v| v.contains("post") || v == "*"));
        let body = json!({"jsonrpc": "2.0", "id": 10, "method": "Ping", "params": {"message": "hi"}}).to_string();
        let headers = [("origin", origin), ("content-type", "application/json; charset=utf-8")];
        let answer = request("POST", port, "/jrpc", &headers, body.into()).expect("an answer");
        for answer in [&preflight, &answer] {
            let allowed = answer.headers.get("access-control-allow-origin").expect("an origin is allowed");
            assert!(allowed == "*" || allowed == origin, "{allowed:?}");
            assert!(answer.headers.get("access-control-allow-credentials").is_none());
        }
    }
}

pub(crate) fn the_admin_port_tells_health_readiness_and_metrics(net: &mut Devnet) {
    for member in 1..=net.members() {
        assert_eq!(get(net.api(member), "/healthz").status, 200);
        let admin = net.admin(member);
        assert_eq!(get(admin, "/healthz").status, 200);
        // A refill may have begun; readiness is then a moment away.
        assert!(within(Duration::from_secs(20), || get(admin, "/readyz").status == 200));
        let ready = get(admin, "/readyz").json();
        assert_eq!(ready["ready"], true);
        assert!(ready["reasons"].as_array().expect("a list").is_empty());
        let metrics = get(admin, "/metrics").text();
        assert!(metrics.lines().any(|line| line.starts_with("# TYPE")), "{metrics}");
    }
    // What is the operator's is not the world's.
    for path in ["/readyz", "/audit", "/metrics"] {
        assert_eq!(get(net.api(1), path).status, 404);
    }
}
