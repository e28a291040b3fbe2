//! HTTP to a loopback address, one request a connection, every answer bounded. It speaks to nothing else.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;

/// No answer that the launcher asks for is longer.
const LARGEST_ANSWER: usize = 4 << 20;

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Gets `path` from 127.0.0.1:`port`.
pub async fn get(port: u16, path: &str, limit: Duration) -> Result<Answer, String> {
    request(Method::GET, port, path, &[], Bytes::new(), limit).await
}

/// Posts JSON to `path` at 127.0.0.1:`port`.
pub async fn post(port: u16, path: &str, body: &serde_json::Value, limit: Duration) -> Result<Answer, String> {
    let headers = [("content-type", "application/json; charset=utf-8")];
    request(Method::POST, port, path, &headers, Bytes::from(body.to_string()), limit).await
}

/// Any request to 127.0.0.1:`port`.
pub async fn request(
    method: Method,
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
    limit: Duration,
) -> Result<Answer, String> {
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", format!("127.0.0.1:{port}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|e| e.to_string())?.to_bytes();
        driver.abort();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    };
    tokio::time::timeout(limit, exchange).await.map_err(|_| format!("no answer within {limit:?}"))?
}
