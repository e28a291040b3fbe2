use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use torus_mapping::genesis_root;
use torus_statement::config::Buffer;
use torus_statement::policy::IssuerPublicKey;
use torus_statement::{NetworkFile, Wire};

use super::{GenesisArgs, GenesisError, P2P_KEY, genesis, init, load, load_p2p_key, show};

use crate::testnet::Net;

static NUMBER: AtomicU32 = AtomicU32::new(0);

struct Desk {
    dir: PathBuf,
}

impl Desk {
    /// Files of five members and their verifiers, as vaults and operators would leave them.
    fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("torus-genesis-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let desk = Self { dir };
        let net = Net::new(5, 3, 1, Buffer { batch: 4, low_water: 8 }, |verifiers| genesis_root(verifiers).unwrap());
        for certificate in &net.config.keys().certificates {
            let keys = &certificate.keys;
            let file = json!({
                "version": 1, "network": "test", "index": keys.index.get(),
                "identity": hex::encode(keys.identity.to_compressed()),
                "certificate": hex::encode(certificate.to_bytes()), "fingerprint": certificate.keys.fingerprint_text(),
            });
            desk.write(&format!("{}.json", keys.index), &file);
        }
        desk.write("verifiers.json", &json!([verifier("google", "app"), verifier("apple", "other")]));
        desk
    }

    fn write(&self, name: &str, json: &Value) {
        fs::write(self.dir.join(name), json.to_string()).unwrap();
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(self.dir.join(name)).unwrap()).unwrap();
        change(&mut json);
        self.write(name, &json);
    }

    fn args(&self) -> GenesisArgs {
        let endpoint =
            |i| format!("{i}=http://127.0.0.1:80{i}/jrpc,/ip4/127.0.0.1/tcp/90{i},/dns/member{i}.torus.test/tcp/91{i}");
        GenesisArgs {
            network: "test".into(),
            out: self.dir.join("network.torus"),
            verifiers: self.dir.join("verifiers.json"),
            sizes: "5,3,1".into(),
            batch: 32,
            low_water: 64,
            end_days: 365,
            endpoints: (1..=5).map(endpoint).collect(),
            // In no order at all.
            members: [3, 1, 5, 2, 4].map(|i| self.dir.join(format!("{i}.json"))).into(),
        }
    }
}

/// Why founding is refused after a change.
fn refused(change: impl FnOnce(&Desk, &mut GenesisArgs)) -> String {
    let desk = Desk::new();
    let mut args = desk.args();
    change(&desk, &mut args);
    let refused = genesis(&args, 1).unwrap_err().to_string();
    assert!(!args.out.exists(), "{refused}");
    refused
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn jwks() -> Value {
    let number = |len: usize| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![0xc5; len])
    };
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"keys": [
        {"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": number(256), "e": "AQAB"},
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": number(32), "y": number(32)},
        {"kty": "OKP", "kid": "o", "crv": "Ed25519", "alg": "EdDSA", "x": x},
        {"kty": "EC", "kid": "secret", "use": "enc", "crv": "P-521"},
    ]})
}

fn verifier(name: &str, audience: &str) -> Value {
    json!({"name": name, "issuer": "https://issuer", "audiences": [audience], "id_claim": "email",
           "lowercase_id": true, "max_age": 120, "low_s": true, "jwks": jwks()})
}

#[test]
fn a_founded_network_is_what_its_parts_say() {
    let desk = Desk::new();
    let args = desk.args();
    let told = genesis(&args, 1_700_000_000_000).unwrap();
    let file = load(&args.out).unwrap();
    assert!(told.contains(&hex::encode(file.hash())), "{told}");
    for certificate in &file.config.keys().certificates {
        assert!(told.contains(&certificate.keys.fingerprint_text()));
    }
    assert_eq!(show(&args.out).unwrap(), told);
    let committee = file.config.committee();
    assert_eq!(committee.end - committee.genesis_time, 365 * 86_400_000);
    assert_eq!(committee.buffer, Buffer { batch: 32, low_water: 64 });
    assert_eq!(committee.genesis_root, genesis_root(&file.verifiers).unwrap());
    assert_eq!(file.config.keys().endpoints[2].http, "http://127.0.0.1:803/jrpc");
    let names: Vec<_> = file.verifiers.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["apple", "google"]);
    let keys: Vec<_> = file.verifiers[0].keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(keys, ["r", "e", "o"]);
    assert!(
        matches!(&file.verifiers[0].keys[0].key, IssuerPublicKey::Rs256 { n, e } if n.len() == 256 && e == &[1, 0, 1])
    );
    assert_eq!(NetworkFile::from_bytes(&file.to_bytes()), Ok(file));
    // Founding again would be another network under the same name.
    assert!(matches!(genesis(&args, 1_700_000_000_001), Err(GenesisError::Write(..))));
}

#[test]
fn members_that_do_not_fit_are_refused_by_name() {
    assert!(refused(|_, a| a.members.truncate(4)).contains("5 members' files are needed, 4 came"));
    assert!(refused(|desk, a| a.members[1] = desk.dir.join("2.json")).contains("member 2"));
    assert!(refused(|desk, a| a.members[0] = desk.dir.join("none.json")).contains("none.json"));
    assert!(refused(|_, a| a.network = "other".into()).contains("made for network test"));
    assert!(refused(|_, a| a.network = "Test".into()).contains("--network"));
    assert!(refused(|desk, _| desk.edit("2.json", |j| j["index"] = json!(3))).contains("its index is 2"));
    assert!(refused(|desk, _| desk.edit("2.json", |j| j["version"] = json!(2))).contains("version"));
    assert!(refused(|desk, _| desk.edit("2.json", |j| j["extra"] = json!(2))).contains("extra"));
    assert!(refused(|desk, _| desk.edit("2.json", |j| j["identity"] = json!("00"))).contains("identity"));
    assert!(refused(|desk, _| desk.edit("2.json", |j| j["certificate"] = json!("zz"))).contains("hex"));
    // A key that the vault did not certify: one bit of the certificate's p2p key.
    let slipped = refused(|desk, _| {
        desk.edit("2.json", |j| {
            let mut bytes = hex::decode(j["certificate"].as_str().unwrap()).unwrap();
            let p2p = bytes.len() - 64 - 2;
            bytes[p2p] ^= 1;
            j["certificate"] = json!(hex::encode(bytes));
        });
    });
    assert!(slipped.contains("does not verify"), "{slipped}");
}

#[test]
fn arguments_that_cannot_work_are_refused_by_name() {
    assert!(refused(|_, a| a.sizes = "5,3".into()).contains("--sizes"));
    assert!(refused(|_, a| a.sizes = "5,2,1".into()).contains("k must be"));
    assert!(refused(|_, a| a.sizes = "7,4,1".into()).contains("quorums"));
    assert!(refused(|_, a| a.batch = 0).contains("--batch"));
    assert!(refused(|_, a| a.batch = 257).contains("--batch"));
    assert!(refused(|_, a| a.low_water = 0).contains("--low-water"));
    assert!(refused(|_, a| a.low_water = u32::MAX).contains("--low-water"));
    assert!(refused(|_, a| a.end_days = 0).contains("--end-days"));
    assert!(
        refused(|_, a| {
            a.endpoints.pop();
        })
        .contains("member 5 has no --endpoint")
    );
    assert!(refused(|_, a| a.endpoints[1] = a.endpoints[0].clone()).contains("has one already"));
    assert!(
        refused(|_, a| a.endpoints[0] = "6=http://x,/ip4/1.1.1.1/tcp/1,/ip4/1.1.1.1/tcp/2".into())
            .contains("no such member")
    );
    assert!(
        refused(|_, a| a.endpoints[0] = "1=ftp://x,/ip4/1.1.1.1/tcp/1,/ip4/1.1.1.1/tcp/2".into()).contains("http URL")
    );
    assert!(refused(|_, a| a.endpoints[0] = "1=http://x,1.1.1.1:1,/ip4/1.1.1.1/tcp/2".into()).contains("multiaddress"));
    assert!(refused(|_, a| a.endpoints[0] = "1=http://x".into()).contains("INDEX=URL"));
    for place in ["/ip4/0.0.0.0/tcp/1", "/dnsaddr/one.test/tcp/1", "/dns/one.test/udp/1", "/dns/a..b/tcp/1"] {
        let endpoint = format!("1=http://x,/dns/one.test/tcp/1,{place}");
        let said = refused(|_, a| a.endpoints[0].clone_from(&endpoint));
        assert!(said.contains(place) && said.contains("cannot be used"), "{said}");
    }
}

#[test]
fn verifiers_that_would_let_the_wrong_login_in_are_refused_by_name() {
    let with =
        |change: &dyn Fn(&mut Value)| refused(|desk, _| desk.edit("verifiers.json", |json| change(&mut json[0])));
    // One token that is a login under two verifiers.
    assert!(with(&|v| v["audiences"] = json!(["app", "other"])).contains("same issuer for audience other"));
    assert!(with(&|v| v["name"] = json!("apple")).contains("twice"));
    assert!(with(&|v| v["name"] = json!("a b")).contains("name"));
    assert!(with(&|v| v["max_age"] = json!(3601)).contains("max_age"));
    assert!(with(&|v| v["max_age"] = json!(0)).contains("max_age"));
    assert!(with(&|v| v["issuer"] = json!("")).contains("policy"));
    assert!(with(&|v| v["audiences"] = json!([])).contains("policy"));
    assert!(with(&|v| v["audiences"] = json!([""])).contains("audience is empty"));
    assert!(with(&|v| v["typo"] = json!(1)).contains("typo"));
    assert!(with(&|v| v["jwks"]["keys"] = json!([])).contains("1 to 16"));
    assert!(with(&|v| v["jwks"]["keys"][0]["n"] = json!("AQAB")).contains("2048"));
    assert!(with(&|v| v["jwks"]["keys"][0]["alg"] = json!("RS512")).contains("RS512"));
    assert!(with(&|v| v["jwks"]["keys"][0]["e"] = json!("AQAA")).contains("RSA"));
    assert!(with(&|v| v["jwks"]["keys"][1]["crv"] = json!("P-384")).contains("P-384"));
    assert!(with(&|v| v["jwks"]["keys"][1]["x"] = json!("AA")).contains("32 bytes"));
    assert!(with(&|v| v["jwks"]["keys"][1]["kid"] = json!("r")).contains("two keys"));
    assert!(with(&|v| v["jwks"]["keys"][1]["kid"] = json!("")).contains("no id"));
    assert!(with(&|v| v["jwks"]["keys"][2]["d"] = json!("AA")).contains("private"));
    assert!(with(&|v| v["jwks"]["keys"][2]["kty"] = json!("oct")).contains("oct"));
    assert!(refused(|desk, _| desk.write("verifiers.json", &json!([]))).contains("1 to 64"));
}

#[test]
fn a_node_has_one_key_and_keeps_it_to_itself() {
    let desk = Desk::new();
    let data = desk.dir.join("node");
    let public = init(&data).unwrap();
    let path = data.join(P2P_KEY);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(hex::encode(load_p2p_key(&data).unwrap().verifying_key().as_bytes()), public);
    assert!(matches!(init(&data), Err(GenesisError::Initialised(_))));
    assert_eq!(hex::encode(load_p2p_key(&data).unwrap().verifying_key().as_bytes()), public, "untouched");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(load_p2p_key(&data), Err(GenesisError::Permissions(_))));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, [1; 31]).unwrap();
    assert!(matches!(load_p2p_key(&data), Err(GenesisError::Key(_))));
    assert!(matches!(load_p2p_key(&desk.dir), Err(GenesisError::Read(..))));
}
