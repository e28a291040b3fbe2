//! Users whose members are hostile: fronts at the stopped nodes' addresses that answer clients as a thief would.
//!
//! The plot: as soon as a user's commitment comes, its hash is committed to a key of the thieves', at their own vaults and
//! at a member that the user's own request reaches later. He is told forged receipts. Who reveals his token then gives
//! it to whoever has a quorum of receipts for another key.

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::process::Command;
use torus_ipc::Deny;
use torus_statement::receipt::{Receipt, SignedReceipt, unhex};
use torus_statement::{Hash, Index, Point};
use torus_tests::http::post;

use crate::client::{VERIFIER, fresh_email, login};
use crate::forge::strangers;
use crate::login::{SeenLogin, Temporary, commit, commitment_json, honest, receipt_of};
use crate::siege::{Held, Siege, verifier};

/// How much later the user's requests reach one honest member: what whoever carries his packets can bring about.
const LATER: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(20);
/// Where the slow way to that member begins: a port that no member of five has.
const SLOW_WAY: u16 = 70;

/// What the thieves know and have done.
struct Plot {
    held: Held,
    siege_file: torus_statement::NetworkFile,
    /// The ports of honest members; the way to the first is slow for users.
    honest: Vec<u16>,
    thiefs: Temporary,
    receipts: Vec<SignedReceipt>,
    begun: bool,
    /// What a user revealed.
    token: Option<String>,
}

type Plotters = Rc<RefCell<Plot>>;

/// What came of a plot.
struct Outcome {
    held: Held,
    receipts: Vec<SignedReceipt>,
    token: Option<String>,
    client: Output,
}

/// Runs a client while the nodes of these members are hostile.
fn run(siege: &mut Siege, members: &[u8], client: impl FnOnce(&Path) -> Command) -> Outcome {
    let held = siege.besiege(members);
    let honest: Vec<u16> = honest(siege, &held).into_iter().map(|member| siege.net.api(member)).collect();
    let ports: Vec<(Index, u16)> =
        held.vaults.iter().map(|vault| (vault.member, siege.net.api(vault.member.get()))).collect();
    let thiefs = Temporary::of_a_thief(siege);
    let slow_way = siege.net.api(1) - 10 + SLOW_WAY;
    let place = tempfile::tempdir().expect("a place for the user's network file");
    let network = place.path().join("network.json");
    std::fs::write(&network, slow(siege, honest[0], slow_way)).expect("the user's network file");
    let (siege_file, receipts) = (siege.file.clone(), Vec::new());
    let plot = Plot { held, siege_file, honest: honest.clone(), thiefs, receipts, begun: false, token: None };
    let plot = Rc::new(RefCell::new(plot));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let client = local.block_on(&runtime, async {
        for (member, port) in ports {
            let plot = Rc::clone(&plot);
            serve(port, move |call| answer(Rc::clone(&plot), member, call)).await;
        }
        serve(slow_way, move |call| later(honest[0], call)).await;
        client(&network).kill_on_drop(true).output().await.expect("the client runs")
    });
    // With the fronts their hands on the plot are gone.
    drop((local, runtime));
    let Plot { held, receipts, token, .. } = Rc::into_inner(plot).expect("no front is left").into_inner();
    Outcome { held, receipts, token, client }
}

/// The network as its user has it, with a slow way to one member.
fn slow(siege: &Siege, port: u16, way: u16) -> String {
    let text = siege.net.network().to_string();
    let slow = text.replace(&format!("http://127.0.0.1:{port}/"), &format!("http://127.0.0.1:{way}/"));
    assert_ne!(text, slow);
    slow
}

/// Answers JSON-RPC at a port of 127.0.0.1.
async fn serve<F>(port: u16, handle: impl Fn(Value) -> F + Clone + 'static)
where
    F: Future<Output = Value> + 'static,
{
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the node's port is free");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = handle.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let handle = handle.clone();
                async move {
                    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let answer = handle(serde_json::from_slice(&body).unwrap_or_default()).await;
                    let mut answer = Response::new(Full::new(Bytes::from(answer.to_string())));
                    let json = hyper::header::HeaderValue::from_static("application/json");
                    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
                    Ok::<_, Infallible>(answer)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::task::spawn_local(connection);
        }
    });
}

/// What a hostile front answers.
async fn answer(plot: Plotters, member: Index, call: Value) -> Value {
    let id = call["id"].clone();
    match call["method"].as_str().unwrap_or_default() {
        "CommitmentRequest" => {
            let params = &call["params"];
            let hash = unhex(params["tokencommitment"].as_str().expect("a hash")).expect("a hash");
            steal(&plot, &hash).await;
            let receipt = forged(&plot.borrow(), member, hash, params);
            json!({"jsonrpc": "2.0", "id": id, "result": receipt})
        }
        "ShareRequest" | "GetShareOrKeyAssign" => {
            let token = call["params"]["item"][0]["idtoken"].as_str().expect("a token").to_owned();
            plot.borrow_mut().token = Some(token);
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "Internal error", "data": "later"}})
        }
        // Whatever else is asked is answered as an honest member does.
        _ => {
            let port = *plot.borrow().honest.last().expect("an honest member");
            let mut answer = forward(port, call).await;
            if let Some(index) = answer["result"].get_mut("node_index") {
                *index = member.to_string().into();
            }
            answer
        }
    }
}

/// Commits a user's hash to the thieves' key wherever that can be done before he does; once.
async fn steal(plot: &Plotters, hash: &Hash) {
    let (params, port) = {
        let mut plot = plot.borrow_mut();
        if std::mem::replace(&mut plot.begun, true) {
            return;
        }
        let public = plot.thiefs.public;
        let receipts = commit(&mut plot.held, hash, &public);
        plot.receipts.extend(receipts);
        (commitment_json(hash, &public), plot.honest[0])
    };
    let call = json!({"jsonrpc": "2.0", "method": "CommitmentRequest", "id": 1, "params": params});
    let answer = forward(port, call).await;
    plot.borrow_mut().receipts.push(receipt_of(&answer["result"]));
}

/// A receipt for the user's key that its member never signed.
fn forged(plot: &Plot, member: Index, token: Hash, params: &Value) -> Value {
    let coordinate = |field: &str| unhex(&format!("{:0>64}", params[field].as_str().expect("hex"))).expect("hex");
    let xy: [u8; 64] = [coordinate("temppubx"), coordinate("temppuby")].concat().try_into().expect("64 bytes");
    let config = &plot.siege_file.config;
    let receipt = Receipt {
        token,
        temporary: Point::from_xy(&xy).expect("a point"),
        verifier: verifier(),
        time: torus_tests::issuer::now(),
        network: config.committee().network.clone(),
        epoch: config.committee().epoch,
        member,
        not_before: 0,
    };
    let identity = config.member(member).expect("a member").identity.to_xy();
    let (x, y) = identity.split_at(32);
    let data = receipt.text();
    json!({
        "signature": format!("{}1b", hex::encode(strangers(data.as_bytes()).to_bytes())),
        "data": data, "nodepubx": hex::encode(x), "nodepuby": hex::encode(y), "nodeindex": member.to_string(),
    })
}

/// What a member answers, only later.
async fn later(port: u16, call: Value) -> Value {
    tokio::time::sleep(LATER).await;
    forward(port, call).await
}

async fn forward(port: u16, call: Value) -> Value {
    post(port, "/jrpc", &call, LIMIT).await.map(|answer| answer.json()).unwrap_or_default()
}

/// A user with a key, and his address.
fn user(siege: &Siege) -> (String, String) {
    let email = fresh_email("stock");
    let address = login(&siege.net, &email).address;
    (email, address)
}

/// An unmodified npm client that logs this user in.
fn stock(client: &'static str, email: &str, address: &str) -> impl FnOnce(&Path) -> Command {
    let user = format!("{email}={address}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
    assert!(folder.join("node_modules").is_dir(), "the npm clients are not installed: run `make js`");
    move |network| {
        let mut command = Command::new("node");
        command.arg("login.mjs").arg(network).arg(user).env("TORUS_CLIENT", client).current_dir(folder);
        command
    }
}

/// The npm clients by the names that `js/package.json` gives them.
const STOCK: [&str; 2] = ["torus-legacy", "torus-newest"];

/// What the vaults say to the thieves' own reveal of a token that its user revealed to them.
fn reveal(outcome: &mut Outcome, email: &str) -> Vec<Result<(), Deny>> {
    let token = outcome.token.clone().expect("a revealed token");
    let login = SeenLogin { token, receipts: outcome.receipts.clone(), released: Vec::new() };
    let request = torus_ipc::Request::Release(Box::new(login.proof(&outcome.held, email)));
    let answers = outcome.held.vaults.iter_mut().map(|vault| match vault.ask(&request) {
        torus_ipc::Response::Share(_) => Ok(()),
        torus_ipc::Response::Denied(deny) => Err(deny),
        other => panic!("{other:?}"),
    });
    answers.collect()
}

pub(crate) fn our_client_reveals_no_token_to_three_hostile_nodes_that_have_a_quorum_for_a_key_of_their_own(
    siege: &mut Siege,
) {
    let token = siege.net.mint("ES256", &siege.victims_email, "");
    let torus = siege.net.binary("torus");
    let outcome = run(siege, &[1, 2, 3], |network| {
        let mut command = Command::new(torus);
        command.arg("login").arg("--network").arg(network).args(["--verifier", VERIFIER, "--token", &token, "--json"]);
        command
    });
    // The thieves did all that they could: with the token they would have the key.
    assert_eq!(outcome.receipts.len(), siege.file.config.sizes().q());
    assert_eq!(outcome.token, None, "the token was revealed");
    let said = String::from_utf8_lossy(&outcome.client.stderr).into_owned();
    assert!(!outcome.client.status.success() && said.contains("the token was not revealed"), "{said}");
    let mut held = outcome.held;
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}

pub(crate) fn two_hostile_nodes_get_nothing_from_users_of_stock_clients(siege: &mut Siege) {
    for client in STOCK {
        let (email, address) = user(siege);
        let mut outcome = run(siege, &[1, 2], stock(client, &email, &address));
        assert_eq!(outcome.receipts.len(), 3, "{client}");
        assert!(outcome.token.is_some(), "{client} reveals: {}", String::from_utf8_lossy(&outcome.client.stderr));
        assert_eq!(reveal(&mut outcome, &email), [Err(Deny::Receipts); 2], "{client}");
        let mut held = outcome.held;
        let entry = held.entry(&email);
        assert_eq!(siege.loot.borrow().shares(&entry).len(), 0, "{client}");
        siege.nothing_was_got(&mut held);
        siege.lift(held);
        assert_eq!(login(&siege.net, &email).address, address, "{client}: the next login");
    }
}

pub(crate) fn three_hostile_nodes_get_the_login_of_a_stock_clients_user_as_the_table_says(siege: &mut Siege) {
    for client in STOCK {
        let (email, address) = user(siege);
        let mut outcome = run(siege, &[1, 2, 3], stock(client, &email, &address));
        assert!(outcome.token.is_some(), "{client} reveals: {}", String::from_utf8_lossy(&outcome.client.stderr));
        assert_eq!(reveal(&mut outcome, &email), [Ok(()); 3], "{client}");
        let mut held = outcome.held;
        let entry = held.entry(&email);
        assert!(siege.loot.borrow().key(&entry).is_some(), "{client}: this login is lost");
        siege.nothing_was_got(&mut held);
        siege.lift(held);
    }
}
