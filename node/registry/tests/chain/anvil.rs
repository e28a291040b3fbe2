//! A chain of a test's own, with the contract on it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ethers_core::abi::AbiEncode;
use ethers_core::types::{H160, U256};
use serde_json::{Value, json};
use torus_registry::{Address, AddressesOnly, Connector, Patience, Rpc, RpcError, Url};

#[allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
pub(crate) mod abi {
    ethers_contract::abigen!(NodeList, "../contracts/NodeList.json");
}

pub(crate) const CHAIN: u64 = 424242;
/// The first account of the chain: it deploys the contract and owns it.
pub(crate) const OWNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// A hundred ether.
const PLENTY: &str = "0x56bc75e2d63100000";

static PLACES: AtomicU16 = AtomicU16::new(0);

pub(crate) struct Anvil {
    child: Child,
    pub(crate) port: u16,
    rpc: Rpc,
    pub(crate) contract: Address,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, or a failure that says how to get one: without a chain these tests would prove nothing.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("ANVIL") {
        return named.into();
    }
    let modules = "../contracts/tests/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(modules);
    assert!(
        path.exists(),
        "anvil is not installed: run `make contracts`, which installs it, or name an anvil 1.7: ANVIL=/path/to/anvil"
    );
    path
}

pub(crate) fn rpc(port: u16) -> Rpc {
    let url = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let patience = Patience { attempts: 1, ..Patience::default() };
    Rpc::new(url, Connector::new(Arc::new(AddressesOnly)), patience)
}

impl Anvil {
    /// A chain whose blocks are final two blocks later, with the contract of first epoch 1 on it.
    pub(crate) async fn start() -> Self {
        let first: u16 = std::env::var("TORUS_REGISTRY_PORT").map_or(26000, |port| port.parse().unwrap());
        for _ in 0..40 {
            let place = PLACES.fetch_add(1, Ordering::Relaxed) % 90;
            // Somebody else's chain may have the port: ours is known by the time at which it begins.
            let began = 1_800_000_000 + u64::from(std::process::id()) * 100 + u64::from(place);
            let port = first + place;
            let child = Command::new(binary())
                .args(["--silent", "--hardfork", "cancun", "--slots-in-an-epoch", "1"])
                .args([
                    "--port",
                    &port.to_string(),
                    "--chain-id",
                    &CHAIN.to_string(),
                    "--timestamp",
                    &began.to_string(),
                ])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("anvil starts");
            let mut chain = Self { child, port, rpc: rpc(port), contract: OWNER.parse().unwrap() };
            if chain.answers(began).await {
                chain.deploy().await;
                chain.mine(3).await;
                return chain;
            }
        }
        panic!("anvil answers on no port from {first}: name others by TORUS_REGISTRY_PORT");
    }

    async fn answers(&mut self, began: u64) -> bool {
        for _ in 0..400 {
            if let Ok(genesis) = self.rpc.call("eth_getBlockByNumber", &json!(["0x0", false])).await {
                return genesis["timestamp"] == format!("{began:#x}");
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    }

    async fn deploy(&mut self) {
        let artifact: Value = serde_json::from_str(include_str!("../../../contracts/NodeList.json")).unwrap();
        let first = hex::encode(U256::from(1).encode());
        let code = format!("{}{first}", artifact["bytecode"].as_str().unwrap());
        let receipt = self.mined(json!({"from": OWNER, "data": code, "gas": "0x989680"})).await;
        self.contract = receipt["contractAddress"].as_str().unwrap().parse().unwrap();
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        self.try_ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) async fn try_ask(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.rpc.call(method, &params).await
    }

    /// The receipt of a transaction by an account that the chain signs for.
    async fn mined(&self, transaction: Value) -> Value {
        let hash = self.ask("eth_sendTransaction", json!([transaction])).await;
        for _ in 0..400 {
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                assert_eq!(receipt["status"], "0x1", "{receipt}");
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{hash} was not mined");
    }

    /// The owner's call of the contract.
    pub(crate) async fn owner(&self, call: impl AbiEncode) {
        let data = format!("0x{}", hex::encode(call.encode()));
        self.mined(json!({"from": OWNER, "to": self.contract.to_string(), "data": data, "gas": "0x989680"})).await;
    }

    /// The same, that waits for its block.
    pub(crate) async fn owner_unmined(&self, call: impl AbiEncode, tip: u64) {
        let data = format!("0x{}", hex::encode(call.encode()));
        let fees = (format!("{tip:#x}"), format!("{:#x}", tip + 10_000_000_000));
        let call = json!({"from": OWNER, "to": self.contract.to_string(), "data": data, "gas": "0x989680",
            "maxPriorityFeePerGas": fees.0, "maxFeePerGas": fees.1});
        self.ask("eth_sendTransaction", json!([call])).await;
    }

    pub(crate) async fn begin(&self, epoch: u64, previous: u64, sizes: [u8; 3], accounts: &[Address]) {
        self.owner(begin(epoch, previous, sizes, accounts)).await;
    }

    pub(crate) async fn propose(&self, epoch: u64, committee: [u8; 32]) {
        self.owner(abi::ProposeEpochCall { epoch: epoch.into(), committee }).await;
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.ask("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    pub(crate) async fn fund(&self, account: Address) {
        self.ask("anvil_setBalance", json!([account.to_string(), PLENTY])).await;
    }

    pub(crate) async fn automine(&self, on: bool) {
        self.ask("evm_setAutomine", json!([on])).await;
    }

    pub(crate) async fn height(&self) -> u64 {
        let number = self.ask("eth_blockNumber", json!([])).await;
        u64::from_str_radix(number.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// How many transactions an account has made.
    pub(crate) async fn count(&self, account: Address) -> u64 {
        let count = self.ask("eth_getTransactionCount", json!([account.to_string(), "latest"])).await;
        u64::from_str_radix(count.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// The transactions of an account that wait for a block, by nonce.
    pub(crate) async fn pending(&self, account: Address) -> Vec<Value> {
        let pool = self.ask("txpool_content", json!([])).await;
        let of = |kind: &str| {
            let all = pool[kind].as_object().cloned().unwrap_or_default();
            let mut own = all.into_iter().filter(|(who, _)| who.parse::<Address>() == Ok(account));
            own.next()
                .map(|(_, own)| own.as_object().unwrap().values().cloned().collect::<Vec<_>>())
                .unwrap_or_default()
        };
        [of("pending"), of("queued")].concat()
    }

    /// Mines a block every so often, until it is dropped.
    pub(crate) fn clock(&self, every: Duration) -> Clock {
        let rpc = rpc(self.port);
        Clock(tokio::spawn(async move {
            loop {
                let _ = rpc.call("anvil_mine", &json!(["0x1"])).await;
                tokio::time::sleep(every).await;
            }
        }))
    }
}

pub(crate) struct Clock(tokio::task::JoinHandle<()>);

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn begin(epoch: u64, previous: u64, [n, k, t]: [u8; 3], accounts: &[Address]) -> abi::UpdateEpochCall {
    abi::UpdateEpochCall {
        epoch: epoch.into(),
        n: n.into(),
        k: k.into(),
        t: t.into(),
        node_list: accounts.iter().map(|account| H160(*account.bytes())).collect(),
        prev_epoch: previous.into(),
        next_epoch: 0.into(),
    }
}
