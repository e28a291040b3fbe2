//! The npm packages that users have, unmodified.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::client::{fresh_email, login};
use crate::devnet::Devnet;

fn clients(net: &Devnet, users: &[String]) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
    assert!(folder.join("node_modules").is_dir(), "the npm clients are not installed: run `make js`");
    let output = Command::new("node")
        .arg("login.mjs")
        .arg(net.network_file())
        .args(users)
        .current_dir(folder)
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

pub(crate) fn the_npm_clients_log_new_users_in_and_agree_with_ours(net: &mut Devnet) {
    let said = clients(net, &[]);
    let agreed = said["agreed"].as_object().expect("users").clone();
    assert_eq!(agreed.len(), 2, "one new user for each client");
    for (email, address) in &agreed {
        assert_eq!(login(net, email).address.to_lowercase(), address.as_str().expect("an address"));
    }
    for client in said["clients"].as_array().expect("clients") {
        println!("  {} {} s", client["client"].as_str().unwrap_or_default(), client["seconds"]);
    }
    // And a user whom ours brought in.
    let email = fresh_email("leo");
    let ours = login(net, &email).address;
    let said = clients(net, &[format!("{email}={ours}")]);
    assert_eq!(said["clients"].as_array().map(Vec::len), Some(2));
}
