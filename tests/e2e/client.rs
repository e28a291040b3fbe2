//! The command line that users have.

use std::process::Command;

use serde_json::Value;

use crate::devnet::Devnet;

/// The verifier of ordinary users.
pub(crate) const VERIFIER: &str = "devnet";

/// What a login gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    /// The user's address.
    pub(crate) address: String,
    /// Its public key's x.
    pub(crate) x: String,
    /// Whether the key was assigned now.
    pub(crate) new: bool,
}

/// Logs a user in with a fresh token, or gives the client's complaint.
pub(crate) fn try_login(net: &Devnet, email: &str) -> Result<Login, String> {
    let token = net.mint("ES256", email, "");
    let json = torus(net, &["login", "--verifier", VERIFIER, "--token", &token, "--json"])?;
    Ok(Login {
        address: json["address"].as_str().expect("an address").to_owned(),
        x: json["public_key"]["x"].as_str().expect("a public key").to_owned(),
        new: json["is_new_key"].as_bool().expect("is_new_key"),
    })
}

/// Logs a user in who must succeed.
pub(crate) fn login(net: &Devnet, email: &str) -> Login {
    try_login(net, email).unwrap_or_else(|e| panic!("{email} can't log in: {e}"))
}

/// Runs `torus` on the network and reads its JSON.
pub(crate) fn torus(net: &Devnet, args: &[&str]) -> Result<Value, String> {
    let (command, rest) = args.split_first().expect("a command");
    let output = Command::new(net.binary("torus"))
        .arg(command)
        .arg("--network")
        .arg(net.network_file())
        .args(rest)
        .output()
        .expect("torus runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// An address that no earlier run used.
pub(crate) fn fresh_email(name: &str) -> String {
    let mut bytes = [0; 6];
    getrandom::getrandom(&mut bytes).expect("randomness");
    format!("{name}-{}@example.com", hex::encode(bytes))
}
