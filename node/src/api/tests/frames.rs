//! The JSON-RPC frame.

use serde_json::{Value, json};

use super::super::encode::number;
use super::super::http::frame;

#[test]
fn a_request_is_read_with_whatever_stands_beside_its_members() {
    let text =
        br#"{"jsonrpc":"2.0","method":"KeyAssign","id":10,"params":{"a":1},"torus-timestamp":"1","torus-nonce":"2"}"#;
    assert_eq!(frame(text).unwrap(), (json!(10), "KeyAssign".to_owned(), json!({"a": 1})));
    assert_eq!(frame(br#"{"method":"Ping"}"#).unwrap(), (Value::Null, "Ping".to_owned(), Value::Null));
    assert_eq!(frame(br#"{"method":"Ping","id":{"deep":[1]}}"#).unwrap().0, Value::Null);
}

#[test]
fn what_is_no_request_is_refused_by_the_codes_of_json_rpc() {
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("\u{0}", -32700),
        ("[]", -32600),
        ("[{\"method\":\"Ping\"}]", -32600),
        ("3", -32600),
        ("{\"method\":3}", -32600),
        ("{}", -32600),
    ] {
        assert_eq!(frame(body.as_bytes()).unwrap_err().code, code, "{body}");
    }
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(frame(deep.as_bytes()).unwrap_err().code, -32700, "depth is bounded");
}

#[test]
fn numbers_are_hex_without_padding() {
    assert_eq!(number(&[]), "0");
    assert_eq!(number(&[0, 0]), "0");
    assert_eq!(number(&[0, 0x0a, 0x01]), "a01");
    assert_eq!(number(&[0xff]), "ff");
}
