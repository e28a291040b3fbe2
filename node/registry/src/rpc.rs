//! JSON-RPC 2.0 with one endpoint: every answer is bounded, belongs to its question, and is a result or an error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::address::printable;
use crate::http::{Connector, HttpError, Link};
use crate::url::Url;

/// Most bytes of data that an error may bring.
const MAX_DATA: usize = 4 << 10;
/// The error codes of providers that want fewer requests.
const LIMITED: [i64; 2] = [-32005, 429];

/// How long and how often an endpoint is asked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, TLS and its name included.
    pub connect: Duration,
    /// For one exchange as a whole.
    pub whole: Duration,
    /// Attempts at a question that may be repeated, at least 1.
    pub attempts: u32,
    /// The pause before the second attempt; doubled before each further one.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(12),
            attempts: 3,
            pause: Duration::from_millis(250),
        }
    }
}

/// A client of one endpoint.
pub struct Rpc {
    link: Link,
    patience: Patience,
    name: String,
    asked: AtomicU64,
}

/// Why a question has no result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// No answer came.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer is not one to this question.
    #[error("its answer is not JSON-RPC: {0}")]
    Malformed(&'static str),
    /// The endpoint refuses.
    #[error("it refuses: {message} ({code})")]
    Refused {
        /// JSON-RPC's or the endpoint's own number.
        code: i64,
        /// Its words, made printable.
        message: String,
        /// What a contract returned when it reverted.
        data: Option<Vec<u8>>,
    },
}

impl RpcError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Http(error) => error.is_passing(),
            Self::Malformed(_) => false,
            Self::Refused { code, .. } => LIMITED.contains(code),
        }
    }
}

impl Rpc {
    /// A client; nothing is sent yet.
    pub fn new(url: Url, connector: Connector, patience: Patience) -> Self {
        let name = url.name();
        Self {
            link: Link::new(url, connector, patience.connect, patience.whole),
            patience,
            name,
            asked: AtomicU64::new(1),
        }
    }

    /// Host and port: what it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port that is dialled.
    pub const fn port(&self) -> u16 {
        self.link.url().port()
    }

    /// The result of a method. A question whose answer got lost is asked again, so only what may be repeated is asked: reads,
    /// and the sending of a signed transaction, which is the same one however often it comes.
    pub async fn call(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        let mut pause = self.patience.pause;
        for _ in 1..self.patience.attempts {
            match self.once(method, params).await {
                Err(error) if error.is_passing() => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause = pause.saturating_mul(2);
        }
        self.once(method, params).await
    }

    async fn once(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        let id = self.asked.fetch_add(1, Ordering::Relaxed);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        answer(&self.link.post(Bytes::from(body)).await?, id)
    }
}

/// The result in an answer's body.
fn answer(body: &[u8], id: u64) -> Result<Value, RpcError> {
    let malformed = |what| Err(RpcError::Malformed(what));
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else { return malformed("no JSON object") };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return malformed("not of version 2.0");
    }
    let error = members.remove("error").filter(|error| !error.is_null());
    // A server that could not read the question's number answers with an error for nobody.
    let answered =
        members.get("id").is_some_and(|found| found.as_u64() == Some(id) || (error.is_some() && found.is_null()));
    if !answered {
        return malformed("it answers another question");
    }
    match (members.remove("result"), error) {
        (None, Some(Value::Object(error))) => Err(refusal(&error)),
        (Some(Value::Null), Some(Value::Object(error))) => Err(refusal(&error)),
        (Some(result), None) => Ok(result),
        _ => malformed("it is neither a result nor an error"),
    }
}

fn refusal(error: &Map<String, Value>) -> RpcError {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    let message = printable(error.get("message").and_then(Value::as_str).unwrap_or("no reason"));
    // Some wrap the data once more.
    let data = error.get("data").and_then(|data| data.as_str().or_else(|| data.get("data")?.as_str()));
    RpcError::Refused { code, message, data: data.and_then(|text| bytes(text, MAX_DATA).ok()) }
}

/// 0x and at most so many bytes in hex.
pub(crate) fn bytes(text: &str, most: usize) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").ok_or("bytes without 0x")?;
    if digits.len() > most.saturating_mul(2) {
        return Err(format!("more than {most} bytes"));
    }
    hex::decode(digits).map_err(|error| format!("no hex: {error}"))
}

/// Bytes in an answer.
pub(crate) fn bytes_in(value: &Value, most: usize) -> Result<Vec<u8>, String> {
    bytes(value.as_str().ok_or("no text where bytes are due")?, most)
}

/// 32 bytes in an answer.
pub(crate) fn hash_in(value: &Value) -> Result<[u8; 32], String> {
    bytes_in(value, 32)?.try_into().map_err(|_| "a hash that has not 32 bytes".to_owned())
}

/// A number in an answer: 0x and hex digits.
pub(crate) fn number_in(value: &Value) -> Result<u128, String> {
    let text = value.as_str().ok_or("no text where a number is due")?;
    let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()));
    let digits = digits.ok_or("a number without 0x")?;
    u128::from_str_radix(digits, 16).map_err(|error| format!("no number: {error}"))
}

/// A number in an answer that fits into 64 bits.
pub(crate) fn short_in(value: &Value) -> Result<u64, String> {
    u64::try_from(number_in(value)?).map_err(|_| "a number above 64 bits".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any JSON, with the members and texts that answers have.
    pub(crate) fn json_of_any_shape() -> impl Strategy<Value = Value> {
        let names = "(number|hash|timestamp|status|blockNumber|blockHash|transactionHash|data|code|message|[a-z]{0,3})";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "(0x)?[0-9a-f]{0,70}".prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            any::<[u8; 32]>().prop_map(|bytes| format!("0x{}", hex::encode(bytes)).into()),
        ];
        leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((names, inner), 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn refused(body: &str) -> String {
        answer(body.as_bytes(), 7).unwrap_err().to_string()
    }

    #[test]
    fn a_result_is_taken_whatever_it_is() {
        assert_eq!(answer(br#"{"jsonrpc":"2.0","id":7,"result":"0x1"}"#, 7).unwrap(), json!("0x1"));
        assert_eq!(answer(br#"{"jsonrpc":"2.0","id":7,"result":null}"#, 7).unwrap(), Value::Null);
        assert_eq!(answer(br#"{"jsonrpc":"2.0","id":7,"result":0,"error":null}"#, 7).unwrap(), json!(0));
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_refused() {
        for body in [
            "",
            "[]",
            "null",
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":8,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":"7","result":1}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":1}"#,
            r#"{"jsonrpc":"1.0","id":7,"result":1}"#,
            r#"{"id":7,"result":1}"#,
            r#"[{"jsonrpc":"2.0","id":7,"result":1}]"#,
            r#"{"jsonrpc":"2.0","id":7,"result":1,"error":{"code":1,"message":"x"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":"x"}"#,
        ] {
            assert!(matches!(answer(body.as_bytes(), 7), Err(RpcError::Malformed(_))), "{body}");
        }
    }

    #[test]
    fn an_error_keeps_its_words_and_what_the_contract_returned() {
        let body = r#"{"jsonrpc":"2.0","id":7,"error":{"code":3,"message":"no\u0007w","data":"0x0102"}}"#;
        let RpcError::Refused { code, message, data } = answer(body.as_bytes(), 7).unwrap_err() else { panic!() };
        assert_eq!((code, message.as_str(), data), (3, "now", Some(vec![1, 2])));
        assert_eq!(
            refused(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#),
            "it refuses: x (-32700)"
        );
        let wrapped = r#"{"jsonrpc":"2.0","id":7,"error":{"code":3,"message":"","data":{"data":"0xff"}}}"#;
        assert!(
            matches!(answer(wrapped.as_bytes(), 7), Err(RpcError::Refused { data: Some(data), .. }) if data == [0xff])
        );
    }

    #[test]
    fn numbers_and_bytes_are_read_within_their_bounds() {
        assert_eq!(number_in(&json!("0xff")), Ok(255));
        assert_eq!(short_in(&json!("0xffffffffffffffff")), Ok(u64::MAX));
        assert_eq!(bytes_in(&json!("0x"), 0), Ok(vec![]));
        for value in
            [json!("ff"), json!(255), json!("0x"), json!("0x+1"), json!("0xg"), json!(format!("0x{}", "f".repeat(33)))]
        {
            assert!(number_in(&value).is_err(), "{value}");
        }
        assert!(short_in(&json!("0x10000000000000000")).is_err());
        for value in [json!("0102"), json!("0x1"), json!("0xzz"), json!("0x010203")] {
            assert!(bytes_in(&value, 2).is_err(), "{value}");
        }
        assert!(hash_in(&json!("0x01")).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_answer_or_refused(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = answer(&body, 7);
        }

        #[test]
        fn json_of_any_shape_is_an_answer_or_refused(mut value in json_of_any_shape(), id in any::<u64>(), framed: bool) {
            if framed && let Some(members) = value.as_object_mut() {
                members.insert("jsonrpc".to_owned(), "2.0".into());
                members.insert("id".to_owned(), id.into());
                let error = members.clone();
                members.insert("error".to_owned(), Value::Object(error));
            }
            let _ = answer(value.to_string().as_bytes(), id);
            let _ = (number_in(&value), short_in(&value), hash_in(&value), bytes_in(&value, 32));
        }
    }
}
