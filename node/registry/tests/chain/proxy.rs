//! An endpoint between a member and the chain that does what a test wants of it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use torus_registry::{Rpc, RpcError};

use crate::anvil::{Anvil, rpc};

/// What the endpoint does with a question.
pub(crate) enum Act {
    /// Answers as the chain does.
    Honest,
    /// Answers this instead.
    Result(Value),
    /// Answers the chain's result after this was done to it.
    Bend(fn(&mut Value)),
    /// Refuses in these words.
    Refuse(&'static str),
    /// Sends this body.
    Body(Vec<u8>),
    /// Answers another HTTP status, with a place to go to.
    Status(u16),
    /// Closes the connection once the chain has been asked.
    HangUp,
}

type Behaviour = Box<dyn Fn(&str, &Value) -> Act + Send>;

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Proxy {
    /// An honest one at first.
    pub(crate) async fn before(chain: &Anvil) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            behaviour: Arc::new(Mutex::new(Box::new(|_, _| Act::Honest))),
            asked: Arc::default(),
        };
        let (serving, port) = (proxy.clone(), chain.port);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (proxy, chain) = (serving.clone(), Arc::new(rpc(port)));
                let answer = service_fn(move |request| proxy.clone().answer(Arc::clone(&chain), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        proxy
    }

    /// From now on it does this.
    pub(crate) fn does(&self, behaviour: impl Fn(&str, &Value) -> Act + Send + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    /// The parameters of all questions of a method so far.
    pub(crate) fn asked(&self, method: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(asked, _)| asked == method).map(|(_, params)| params.clone()).collect()
    }

    async fn answer(self, chain: Arc<Rpc>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
        let body = request.into_body().collect().await.map_err(|_| Broken)?.to_bytes();
        let question: Value = serde_json::from_slice(&body).map_err(|_| Broken)?;
        let (method, params) = (question["method"].as_str().unwrap_or_default().to_owned(), &question["params"]);
        let act = {
            self.asked.lock().unwrap().push((method.clone(), params.clone()));
            (self.behaviour.lock().unwrap())(&method, params)
        };
        let id = &question["id"];
        let ok = |result: Value| Ok(json!({"jsonrpc": "2.0", "id": id, "result": result}));
        let forwarded = || async { chain.call(&method, params).await };
        let answer = match act {
            Act::Status(status) => {
                let moved = Response::builder().status(status).header("location", "http://127.0.0.1:1/");
                return moved.body(Full::default()).map_err(|_| Broken);
            }
            Act::Body(body) => return Ok(Response::new(Full::new(body.into()))),
            Act::HangUp => {
                let _ = forwarded().await;
                return Err(Broken);
            }
            Act::Result(result) => ok(result),
            Act::Refuse(words) => Ok(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": words}})),
            Act::Honest => forwarded().await.and_then(ok),
            Act::Bend(bend) => forwarded().await.and_then(|mut result| {
                bend(&mut result);
                ok(result)
            }),
        };
        let answer = answer.unwrap_or_else(|error| match error {
            RpcError::Refused { code, message, data } => {
                let data = data.map(|data| format!("0x{}", hex::encode(data)));
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": data}})
            }
            other => json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": other.to_string()}}),
        });
        Ok(Response::new(Full::new(Bytes::from(answer.to_string()))))
    }
}

/// Ends a connection without an answer.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hung up")
    }
}

impl std::error::Error for Broken {}

/// A port that takes connections and says nothing, and one where nobody is.
pub(crate) async fn hole() -> (TcpListener, u16, u16) {
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let port = hole.local_addr().unwrap().port();
    (hole, port, gone)
}
