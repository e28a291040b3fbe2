//! One JSON-RPC call to one member.

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Fault, REFUSES};
use crate::http::Http;
use crate::network::Member;

/// Why a call to one member gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// It answered with a JSON-RPC error, whose text is for the user.
    Rpc(String),
    /// It asks to be asked again in a moment.
    Busy(String),
    /// It did not answer, or not as it must.
    Other(String),
}

/// How often a busy member is asked.
const ATTEMPTS: u32 = 4;
/// How long to wait before a busy member is asked again; doubled each time.
const PAUSE: Duration = Duration::from_millis(300);
/// What a member says that has no time now.
const BUSY: [&str; 2] = ["The network is busy", "Too many logins"];

/// The result of a method that may be asked again: a member that is busy is, a few times.
pub(crate) async fn call_patiently(
    http: &Http,
    member: &Member,
    method: &str,
    params: Value,
) -> Result<Value, CallError> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match call(http, member, method, params.clone()).await {
            Err(CallError::Busy(_)) => tokio::time::sleep(pause).await,
            done => return done,
        }
        pause *= 2;
    }
    call(http, member, method, params).await
}

/// The result of a method.
pub(crate) async fn call(http: &Http, member: &Member, method: &str, params: Value) -> Result<Value, CallError> {
    let body = json!({"jsonrpc": "2.0", "method": method, "id": 10, "params": params});
    let answer = http.post_json(&member.endpoint, body.to_string().into_bytes()).await.map_err(CallError::Other)?;
    result(answer.status, &answer.body)
}

/// The result in an answer.
pub(crate) fn result(status: u16, body: &[u8]) -> Result<Value, CallError> {
    if !(200..300).contains(&status) {
        let why = match status {
            429 => return Err(CallError::Busy("it limits requests from here (HTTP 429): wait a little".to_owned())),
            503 => return Err(CallError::Busy("it has too many requests (HTTP 503): wait a little".to_owned())),
            502 | 504 => format!("it cannot serve this now (HTTP {status})"),
            status => format!("it answers HTTP {status}"),
        };
        return Err(CallError::Other(why));
    }
    let mut value: Value =
        serde_json::from_slice(body).map_err(|_| CallError::Other("its answer is not JSON".to_owned()))?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let text = |name: &str| error.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let text = text("data").or_else(|| text("message")).unwrap_or("an error without text");
        let text = printable(text);
        let busy = BUSY.iter().any(|words| text.starts_with(words));
        return Err(if busy { CallError::Busy(format!("{REFUSES}{text}")) } else { CallError::Rpc(text) });
    }
    match value.get_mut("result").map(Value::take) {
        Some(result) if !result.is_null() => Ok(result),
        _ => Err(CallError::Other("its answer holds no result".to_owned())),
    }
}

/// Text of a member as it may go to a terminal: no control characters, not endless.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

impl CallError {
    pub(crate) fn fault(self, member: &Member) -> Fault {
        let what = match self {
            Self::Rpc(text) => format!("{REFUSES}{text}"),
            Self::Busy(text) | Self::Other(text) => text,
        };
        fault(member, what)
    }
}

pub(crate) fn fault(member: &Member, what: impl Into<String>) -> Fault {
    Fault { member: member.index.get(), endpoint: member.endpoint.to_string(), what: what.into() }
}
