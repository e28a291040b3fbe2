//! What is printed: a few lines for people, one object with stable names for scripts.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use torus_client::{Error, Fault, Key, Login, Trust, address};
use torus_statement::text::{VerifierId, VerifierName};

/// A key that was looked up or assigned.
pub(crate) fn key(
    as_json: bool,
    verifier: &VerifierName,
    id: &VerifierId,
    key: &Key,
    new: bool,
    trust: Trust,
) -> String {
    if as_json {
        return fields(verifier, id, key, new, trust).to_string();
    }
    let new = if new { " (new)" } else { "" };
    format!("{}{new}\n{}", address(&key.public), proof(key, trust))
}

/// A login.
pub(crate) fn login(
    as_json: bool,
    show_key: bool,
    key_out: Option<&Path>,
    verifier: &VerifierName,
    login: &Login,
    took: Duration,
) -> String {
    if as_json {
        let mut value = fields(verifier, &login.id, &login.key, login.is_new, login.trust);
        if let Some(object) = value.as_object_mut() {
            object.insert("members".to_owned(), json!(login.members));
            object.insert("faults".to_owned(), faults(&login.faults));
            object.insert("took_ms".to_owned(), json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
            if show_key {
                object.insert("private_key".to_owned(), json!(login.private.to_hex().as_str()));
            }
        }
        return value.to_string();
    }
    let mut lines = vec![
        format!(
            "{} logged in as {}{}",
            login.id,
            address(&login.key.public),
            if login.is_new { " (new key)" } else { "" }
        ),
        format!(
            "shares of members {} in {:.2} s; {}",
            list(&login.members),
            took.as_secs_f32(),
            proof(&login.key, login.trust)
        ),
    ];
    lines.extend(login.faults.iter().map(|fault| format!("did without {fault}")));
    if show_key {
        lines.push(format!("private key {}", login.private.to_hex().as_str()));
    }
    if let Some(path) = key_out {
        lines.push(format!("private key written to {}", path.display()));
    }
    lines.join("\n")
}

/// A failure, for scripts.
pub(crate) fn error(error: &Error) -> Value {
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default();
    json!({"error": {"code": error.code(), "message": message, "faults": faults(error.faults())}})
}

fn fields(verifier: &VerifierName, id: &VerifierId, key: &Key, new: bool, trust: Trust) -> Value {
    let xy = key.public.to_xy();
    let (x, y) = xy.split_at(32);
    json!({
        "verifier": verifier.as_str(),
        "verifier_id": id.as_str(),
        "address": address(&key.public),
        "public_key": {"x": hex::encode(x), "y": hex::encode(y)},
        "key_index": key.index.number(),
        "is_new_key": new,
        "height": key.height,
        "trust": match trust { Trust::Genesis => "genesis", Trust::Members => "members" },
    })
}

fn faults(faults: &[Fault]) -> Value {
    let all = faults.iter().map(|f| json!({"member": f.member, "endpoint": f.endpoint, "what": f.what}));
    all.collect()
}

fn proof(key: &Key, trust: Trust) -> String {
    let rests = match trust {
        Trust::Genesis => "the pinned founding file",
        Trust::Members => "the members' keys in the network's file (no founding hash is pinned)",
    };
    format!("key {} proven at height {} by {rests}", key.index.number(), key.height)
}

fn list(members: &[u8]) -> String {
    members.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}
