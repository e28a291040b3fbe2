//! The node list of a devnet: the contract on a chain of its own (anvil), or a file where there is no anvil. What an
//! owner would do by hand the launcher does by anvil's unlocked account; members list themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k256::elliptic_curve::sec1::ToEncodedPoint;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};
use torus_statement::{EpochConfig, NetworkFile, Wire};

use crate::ceremony::{Binaries, Founded};
use crate::plan::{Layout, write_whole};
use crate::process::{Program, own_uid};
use crate::trouble::Naming;
use crate::{Result, Trouble, http};

const CODE: &str = include_str!("../../node/contracts/NodeList.json");
/// Where `make contracts` and `make js` put anvil.
const ANVIL: &str = "node/contracts/tests/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
const CHAIN: u64 = 31_337;
const LIMIT: Duration = Duration::from_secs(10);
/// Members find out, send, and wait until it is final, twice over.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where a network's list is.
pub enum List {
    /// A contract, on a chain that runs as long as this value.
    Chain(Box<Chain>),
    /// A file.
    File,
}

/// A chain with the contract on it.
pub struct Chain {
    anvil: tokio::process::Child,
    port: u16,
    contract: String,
    owner: String,
    epoch: u64,
    committee: [u8; 32],
}

/// anvil, if it is installed here: ANVIL names another.
pub fn anvil() -> Option<PathBuf> {
    let named = std::env::var_os("ANVIL").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(|root| root.join(ANVIL));
    named.or(installed).filter(|path| path.is_file())
}

/// Makes the list, or takes up the one that is on disk, and writes what nodes and clients are told of it.
pub async fn open(binaries: &Binaries, layout: &Layout, founded: &Founded, anvil: Option<PathBuf>) -> Result<List> {
    let bytes = fs::read(layout.genesis()).at("read", &layout.genesis())?;
    let file = NetworkFile::from_bytes(&bytes).map_err(|e| Trouble::Refused(format!("the network file: {e}")))?;
    let Some(anvil) = anvil else {
        write_whole(&layout.node_list(), as_file(&file.config).to_string().as_bytes(), 0o644)?;
        write_registry(layout, &json!({"file": layout.node_list()}))?;
        return Ok(List::File);
    };
    let port = founded.shape.chain_port();
    let state = layout.root().join("chain.json");
    let args = args![
        "--port",
        port.to_string(),
        "--chain-id",
        CHAIN.to_string(),
        "--state",
        &state,
        "--state-interval",
        "1",
        "--block-time",
        "1",
        "--slots-in-an-epoch",
        "1",
        "--accounts",
        "1",
        "--hardfork",
        "cancun",
        "--silent",
    ];
    let log = layout.root().join("chain.log");
    let program = Program { path: anvil, args, env: Vec::new(), listener: None, log };
    let mut chain = Chain {
        anvil: program.start(&binaries.launcher())?,
        port,
        contract: String::new(),
        owner: String::new(),
        epoch: file.config.committee().epoch,
        committee: file.config.committee().hash(),
    };
    let pid = chain.anvil.id().unwrap_or_default();
    write_whole(&layout.root().join("chain.pid"), pid.to_string().as_bytes(), 0o644)?;
    chain.answer().await?;
    let accounts = accounts(layout, founded)?;
    chain.contract = match known_contract(layout) {
        Some(known) if chain.has_code(&known).await? => known,
        _ => chain.deploy(&founded.shape.sizes()?, &accounts).await?,
    };
    write_registry(
        layout,
        &json!({"rpc": format!("http://127.0.0.1:{port}"), "address": chain.contract, "chain_id": CHAIN}),
    )?;
    Ok(List::Chain(Box::new(chain)))
}

impl List {
    /// What to tell whoever started the network.
    pub fn notice(&self) -> String {
        match self {
            Self::Chain(chain) => format!("the node list is {} on a chain at port {}", chain.contract, chain.port),
            Self::File => "the node list is a file: anvil is not installed (`make contracts` installs it)".to_owned(),
        }
    }
}

impl Chain {
    /// Waits until all members have listed themselves, proposes their set, and waits until their words put it in force.
    pub async fn begin(&self) -> Result<()> {
        if self.current().await? >= self.epoch {
            return Ok(());
        }
        let proposal = call("proposeEpoch(uint256,bytes32)", &[number(self.epoch), self.committee]);
        let deadline = Instant::now() + PATIENCE;
        let mut proposed = false;
        while self.current().await? < self.epoch {
            let asked = json!({"from": self.owner, "to": self.contract, "data": proposal});
            // Refused until all are listed, and once it is proposed.
            if !proposed && self.rpc("eth_call", json!([asked, "latest"])).await.is_ok() {
                self.send(asked).await?;
                proposed = true;
            }
            if Instant::now() > deadline {
                let what = if proposed { "the members' words for it" } else { "all members' listings" };
                return Err(Trouble::Refused(format!("the node list waits for {what} since {PATIENCE:?}")));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// The epoch that is in force there.
    async fn current(&self) -> Result<u64> {
        let asked = json!([{"to": self.contract, "data": call("currentEpoch()", &[])}, "latest"]);
        let answer = self.rpc("eth_call", asked).await?;
        let digits = answer.as_str().and_then(|text| text.get(text.len().saturating_sub(16)..)).unwrap_or_default();
        u64::from_str_radix(digits, 16).map_err(|_| Trouble::Refused(format!("the chain answers {answer}")))
    }

    /// Waits until anvil answers.
    async fn answer(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.rpc("eth_accounts", json!([])).await {
                Ok(accounts) => {
                    self.owner = accounts.pointer("/0").and_then(Value::as_str).unwrap_or_default().to_owned();
                    return Ok(());
                }
                Err(trouble) if Instant::now() > deadline => return Err(trouble),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn has_code(&self, contract: &str) -> Result<bool> {
        let code = self.rpc("eth_getCode", json!([contract, "latest"])).await?;
        Ok(code.as_str().is_some_and(|code| code.len() > 2))
    }

    /// The contract with a first set in the making, and something for each member's account.
    async fn deploy(&self, sizes: &torus_sharing::Sizes, accounts: &[[u8; 20]]) -> Result<String> {
        let json: Value = serde_json::from_str(CODE).unwrap_or_default();
        let code = json.get("bytecode").and_then(Value::as_str).unwrap_or_default();
        let data = format!("{code}{}", hex::encode(number(self.epoch)));
        let receipt = self.send(json!({"from": self.owner, "data": data})).await?;
        let contract = receipt.get("contractAddress").and_then(Value::as_str).unwrap_or_default().to_owned();
        for account in accounts {
            let account = format!("0x{}", hex::encode(account));
            self.rpc("anvil_setBalance", json!([account, "0x56bc75e2d63100000"])).await?;
        }
        let (n, k, t) = (sizes.n() as u64, sizes.k() as u64, sizes.t() as u64);
        let mut words: Vec<[u8; 32]> = [self.epoch, n, k, t, 7 * 32, 0, 0, n].map(number).to_vec();
        words.extend(accounts.iter().map(|account| {
            let mut word = [0; 32];
            word.iter_mut().skip(12).zip(account).for_each(|(to, from)| *to = *from);
            word
        }));
        let data = call("updateEpoch(uint256,uint256,uint256,uint256,address[],uint256,uint256)", &words);
        self.send(json!({"from": self.owner, "to": contract, "data": data})).await?;
        Ok(contract)
    }

    async fn send(&self, mut transaction: Value) -> Result<Value> {
        if let Some(fields) = transaction.as_object_mut() {
            fields.insert("gas".to_owned(), json!("0x989680"));
        }
        let hash = self.rpc("eth_sendTransaction", json!([transaction])).await?;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let receipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await?;
            match receipt.get("status").and_then(Value::as_str) {
                Some("0x1") => return Ok(receipt),
                Some(_) => return Err(Trouble::Refused(format!("the chain refused transaction {hash}"))),
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        Err(Trouble::Refused(format!("transaction {hash} was in no block after {LIMIT:?}")))
    }

    async fn rpc(&self, method: &str, params: Value) -> Result<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = http::post(self.port, "/", &body, LIMIT).await;
        let answer = answer.map_err(|e| Trouble::Refused(format!("the chain at port {}: {e}", self.port)))?.json();
        match answer.get("error") {
            Some(error) => Err(Trouble::Refused(format!("{method}: {error}"))),
            None => Ok(answer.get("result").cloned().unwrap_or_default()),
        }
    }
}

/// Each member's account, made where there is none.
fn accounts(layout: &Layout, founded: &Founded) -> Result<Vec<[u8; 20]>> {
    let account = |member| {
        let path = layout.member(member).account();
        if !path.exists() {
            let key = k256::SecretKey::random(&mut rand_core::OsRng);
            write_whole(&path, hex::encode(key.to_bytes()).as_bytes(), 0o600)?;
            crate::users::give(&path, crate::users::of(member, crate::process::Role::Node))?;
        }
        let text = fs::read_to_string(&path).at("read", &path)?;
        let bytes = hex::decode(text.trim()).unwrap_or_default();
        let key = k256::SecretKey::from_slice(&bytes)
            .map_err(|_| Trouble::Refused(format!("{} (uid {}) holds no key", path.display(), own_uid())))?;
        let point = key.public_key().to_encoded_point(false);
        let hash = Keccak256::digest(point.as_bytes().get(1..).unwrap_or_default());
        Ok(hash.get(12..).and_then(|tail| tail.try_into().ok()).unwrap_or_default())
    };
    founded.shape.members().map(account).collect()
}

/// The contract that an earlier start deployed.
fn known_contract(layout: &Layout) -> Option<String> {
    let json: Value = serde_json::from_slice(&fs::read(layout.registry()).ok()?).ok()?;
    json.pointer("/registry/address").and_then(Value::as_str).map(str::to_owned)
}

fn write_registry(layout: &Layout, part: &Value) -> Result<()> {
    write_whole(&layout.registry(), format!("{:#}\n", json!({ "registry": part })).as_bytes(), 0o644)
}

/// The set in force as a file has it.
fn as_file(config: &EpochConfig) -> Value {
    let (committee, sizes) = (config.committee(), config.sizes());
    let members = committee.members.iter().zip(&config.keys().endpoints).map(|(member, endpoint)| {
        let host = endpoint.http.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        json!({
            "identity": hex::encode(member.identity.to_compressed()), "http": host, "bft": endpoint.bft,
            "p2p": endpoint.p2p,
        })
    });
    json!({"version": 1, "current": {
        "epoch": committee.epoch, "n": sizes.n(), "k": sizes.k(), "t": sizes.t(),
        "config": hex::encode(config.hash()), "members": members.collect::<Vec<_>>(),
    }})
}

fn number(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word.iter_mut().skip(24).zip(value.to_be_bytes()).for_each(|(to, from)| *to = from);
    word
}

/// A call's data: the function's selector, then its words.
fn call(function: &str, words: &[[u8; 32]]) -> String {
    let selector = Keccak256::digest(function);
    format!("0x{}{}", hex::encode(selector.get(..4).unwrap_or_default()), hex::encode(words.concat()))
}
