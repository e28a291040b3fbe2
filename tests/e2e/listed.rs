//! Members and the node list, on a chain of this network's own: they list themselves, clients find them there, and who
//! disagrees with the list does not serve.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use torus_tests::plan::Layout;
use torus_tests::process::{Role, signal};
use torus_tests::users;

use crate::client::{fresh_email, login};
use crate::devnet::{Devnet, within};
use crate::rpc::{get, try_get};

/// The network that has a node list.
pub(crate) const LISTED: &str = "listed";

/// What the launcher is told besides.
pub(crate) fn arguments(network: &str) -> Vec<String> {
    if network == LISTED { vec!["--node-list".to_owned()] } else { Vec::new() }
}

fn standing(net: &Devnet, member: u8) -> Value {
    try_get(net.admin(member), "/registry").map(|answer| answer.json()).unwrap_or_default()
}

/// Nobody told them to but their operators' options, and the contract's owner who gave them seats.
pub(crate) fn members_list_themselves_and_put_their_epoch_in_force(net: &mut Devnet) {
    let mut said = Vec::new();
    let all = within(Duration::from_secs(240), || {
        said = (1..=net.members()).map(|member| standing(net, member)).collect();
        said.iter().enumerate().all(|(at, said)| {
            said["list"]["member"] == format!("listed as member {}", at + 1)
                && said["list"]["current"]["epoch"] == 1
                && said["fault"].is_null()
                && said["differs"] == false
        })
    });
    assert!(all, "{said:#?}");
    let configs: Vec<&Value> = said.iter().map(|said| &said["list"]["current"]["config"]).collect();
    assert!(configs.iter().all(|config| *config == configs[0]), "one config: {configs:?}");
    login(net, &fresh_email("lisa"));
}

/// The unmodified package finds the members in the contract, and at a member.
pub(crate) fn three_generations_of_the_npm_package_find_the_members(net: &mut Devnet) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/contracts/tests");
    assert!(folder.join("node_modules").is_dir(), "the npm package is not installed: run `make contracts`");
    let output = Command::new("node").arg("find.mjs").arg(net.network_file()).current_dir(folder).output();
    let output = output.expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("the script prints JSON");
    let network = net.network();
    let members = network["members"].as_array().expect("members");
    assert_eq!(found.as_object().map(serde_json::Map::len), Some(3));
    for (package, details) in found.as_object().expect("packages") {
        assert_eq!(details["updated"], true, "{package}: {details}");
        assert_eq!(text(&details["currentEpoch"]), "1", "{package}");
        let indexes: Vec<String> = details["torusIndexes"].as_array().expect("indices").iter().map(text).collect();
        assert_eq!(indexes, ["1", "2", "3", "4", "5"], "{package}");
        for (at, member) in members.iter().enumerate() {
            let key = &details["torusNodePub"][at];
            for (theirs, ours) in [("X", "x"), ("Y", "y")] {
                // Numbers come without their leading zeros.
                let digits = |text: &Value| text.as_str().unwrap_or_default().trim_start_matches('0').to_lowercase();
                assert_eq!(digits(&key[theirs]), digits(&member["pubkey"][ours]), "{package}, member {}", at + 1);
            }
            let endpoint = details["torusNodeEndpoints"][at].as_str().expect("an endpoint");
            // Old packages drop the port and insist on https.
            let expected = if package.ends_with("served") {
                member["endpoint"].as_str().expect("an endpoint").to_owned()
            } else {
                "https://127.0.0.1/jrpc".to_owned()
            };
            assert_eq!(endpoint, expected, "{package}");
        }
    }
}

/// A number or a text, as one.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(crate) fn a_node_that_disagrees_with_the_list_does_not_serve_and_says_what_to_do(net: &mut Devnet) {
    let layout = Layout::new(net.dir()).expect("the network's directory");
    let account = |member| layout.member(member).account();
    let (own, others) = (fs::read(account(2)).expect("a key"), fs::read(account(3)).expect("a key"));
    let log = layout.member(2).log(Role::Node);
    net.tell(&["stop-member", "2"]);
    let before = fs::read_to_string(&log).expect("a log").len();
    replace(&account(2), &others);
    net.tell(&["start-member", "2"]);
    let mut said = String::new();
    let refused = within(Duration::from_secs(60), || {
        said = fs::read_to_string(&log).unwrap_or_default().split_off(before);
        said.contains("with identity key") && said.contains("connect the node to the vault that was listed")
    });
    assert!(refused, "{said}");
    assert!(try_get(net.api(2), "/healthz").is_err(), "it serves");
    net.tell(&["stop-member", "2"]);
    replace(&account(2), &own);
    net.tell(&["start-member", "2"]);
    net.wait_ready(2, Duration::from_secs(90));
    assert_eq!(get(net.admin(2), "/registry").json()["list"]["member"], "listed as member 2");
}

/// The log needs no chain: logins, and a member's restart, go on without one; it is asked for again.
pub(crate) fn without_the_chain_members_serve_and_say_that_they_cannot_read_it(net: &mut Devnet) {
    let pid: u32 = fs::read_to_string(net.dir().join("chain.pid")).expect("a pid").trim().parse().expect("a pid");
    signal(pid, libc::SIGSTOP);
    login(net, &fresh_email("lena"));
    net.tell(&["stop-member", "4"]);
    net.tell(&["start-member", "4"]);
    net.wait_ready(4, Duration::from_secs(90));
    let told = within(Duration::from_secs(30), || standing(net, 4)["fault"].is_string());
    signal(pid, libc::SIGCONT);
    assert!(told, "{}", standing(net, 4));
    let read = || {
        let said = standing(net, 4);
        said["fault"].is_null() && said["list"]["member"] == "listed as member 4"
    };
    assert!(within(Duration::from_secs(60), read), "{}", standing(net, 4));
}

/// What the operator's command finds beside a running node, and beside one that was given another's account.
pub(crate) fn the_doctor_tells_how_node_and_list_are(net: &mut Devnet) {
    let layout = Layout::new(net.dir()).expect("the network's directory");
    let doctor = |account: u8, more: &[&str]| {
        let member = layout.member(3);
        let mut command = Command::new(net.binary("torus-node"));
        command.args(["doctor", "--index", "3", "--admin", &format!("127.0.0.1:{}", net.admin(3)), "--data"]);
        command.arg(member.node()).arg("--network-file").arg(layout.genesis()).arg("--registry").arg(layout.registry());
        command.arg("--account-key").arg(layout.member(account).account()).args(more).output().expect("it runs")
    };
    let healthy = doctor(3, &["--json"]);
    let found: Value = serde_json::from_slice(&healthy.stdout).expect("JSON");
    assert!(healthy.status.success() && found["healthy"] == true, "{found:#}");
    let checks = found["checks"].as_array().expect("checks");
    for name in ["network-file", "p2p-key", "node", "peers", "clock", "node-list", "epoch", "listing"] {
        let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {found:#}"));
        assert_eq!(check["verdict"], "pass", "{check}");
    }
    let ill = doctor(4, &[]);
    let said = String::from_utf8_lossy(&ill.stdout).into_owned();
    assert!(!ill.status.success() && said.contains("FAIL  listing"), "{said}");
}

/// Writes a key for the same user as before.
fn replace(path: &PathBuf, key: &[u8]) {
    fs::write(path, key).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a private file");
    let user = users::of(2, Role::Node);
    chown(path, user, user).expect("given away");
}
