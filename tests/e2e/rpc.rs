//! JSON-RPC by hand, as any client may speak it.

use std::time::Duration;

use serde_json::{Value, json};
use torus_tests::http::{self, Answer};

use crate::devnet::{Devnet, within};

const LIMIT: Duration = Duration::from_secs(30);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// Assigns a key to a user, through one member, and waits until all know it: another may be a block behind the one that
/// says so, and rightly knows nobody of that name yet.
pub(crate) fn assign(net: &Devnet, member: u8, verifier: &str, email: &str) {
    let user = json!({"verifier": verifier, "verifier_id": email});
    call(net, member, "KeyAssign", &user).expect("assigned");
    let known = || call_all(net, "VerifierLookupRequest", &user).iter().all(Result::is_ok);
    assert!(within(LIMIT, known), "{email} is not known to all");
}

/// GET that must be answered.
pub(crate) fn get(port: u16, path: &str) -> Answer {
    try_get(port, path).unwrap_or_else(|e| panic!("GET 127.0.0.1:{port}{path}: {e}"))
}

/// GET that may fail.
pub(crate) fn try_get(port: u16, path: &str) -> Result<Answer, String> {
    block_on(http::get(port, path, Duration::from_secs(3)))
}

/// Any request.
pub(crate) fn request(
    method: &str,
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    let method = hyper::Method::from_bytes(method.as_bytes()).expect("a method");
    block_on(http::request(method, port, path, headers, body.into(), LIMIT))
}

/// A call to one member, as the clients write it.
pub(crate) fn call_raw(net: &Devnet, member: u8, method: &str, params: &Value) -> Result<Answer, String> {
    let body = json!({"jsonrpc": "2.0", "method": method, "id": 10, "params": params});
    let answer = block_on(http::post(net.api(member), "/jrpc", &body, LIMIT))?;
    never_without_keys(&answer.json(), method);
    Ok(answer)
}

/// A call to one member that answers with status 200: its result or its error.
pub(crate) fn call(net: &Devnet, member: u8, method: &str, params: &Value) -> Result<Value, Value> {
    let answer = call_raw(net, member, method, params).unwrap_or_else(|e| panic!("member {member}, {method}: {e}"));
    assert_eq!(answer.status, 200, "member {member}, {method}: {}", answer.text());
    let kind = answer.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    assert!(kind.contains("application/json"), "{method} is answered as {kind}");
    let json = answer.json();
    assert_eq!((&json["jsonrpc"], &json["id"]), (&"2.0".into(), &10.into()), "{json}");
    match (json.get("result"), json.get("error").filter(|e| !e.is_null())) {
        (Some(result), None) => Ok(result.clone()),
        (result, Some(error)) => {
            assert!(result.is_none_or(Value::is_null), "{method} answers both: {json}");
            assert!(error["code"].is_i64() && error["message"].is_string() && error["data"].is_string(), "{error}");
            Err(error.clone())
        }
        _ => panic!("{method} answers neither result nor error: {json}"),
    }
}

/// The same call to every member, in the order of their indices.
pub(crate) fn call_all(net: &Devnet, method: &str, params: &Value) -> Vec<Result<Value, Value>> {
    (1..=net.members()).map(|member| call(net, member, method, params)).collect()
}

/// Clients read the first key of every answer without a look: one node's `keys: []` ends the login.
fn never_without_keys(answer: &Value, method: &str) {
    if let Some(keys) = answer["result"].get("keys") {
        assert!(keys.as_array().is_some_and(|keys| !keys.is_empty()), "{method} answers keys: {keys}");
    }
}
