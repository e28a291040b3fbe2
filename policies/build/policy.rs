//! The policy files: one file a filter; `extends` names another whose rules come first.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

/// The architectures that policies are written for.
pub(crate) const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// The filters that there are: two for a role, of which the second answers an error instead of killing.
pub(crate) const NAMES: [&str; 6] =
    ["node", "node-tls", "node-refused", "vault-core", "vault-softhsm", "vault-refused"];

const KEYS: [&str; 5] = ["comment", "extends", "mismatch_action", "match_action", "filter"];

/// One filter, with the rules of what it extends.
pub(crate) struct Policy {
    /// Its name, the file's.
    pub(crate) name: String,
    /// What the file says of itself.
    pub(crate) comment: String,
    /// For a call that no rule matches.
    pub(crate) mismatch: Value,
    /// For one that a rule matches.
    pub(crate) matched: Value,
    /// All rules, as they are written.
    pub(crate) rules: Vec<Map<String, Value>>,
}

/// Reads every policy of a directory.
///
/// # Errors
/// A file is missing, unknown, no JSON, or extends what does not fit.
pub(crate) fn read(directory: &Path) -> Result<BTreeMap<String, Policy>, String> {
    let mut files = BTreeMap::new();
    let entries = std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let shown = path.display();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
        let name = name.filter(|name| NAMES.contains(name)).ok_or(format!("{shown} belongs to no role"))?;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
        let file: Map<String, Value> = serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
        if let Some(key) = file.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("{shown}: unknown key {key}"));
        }
        files.insert(name.to_owned(), file);
    }
    if let Some(missing) = NAMES.iter().find(|name| !files.contains_key(**name)) {
        return Err(format!("{}: no policy {missing}", directory.display()));
    }
    files.iter().map(|(name, file)| Ok((name.clone(), whole(name, file, &files)?))).collect()
}

impl Policy {
    /// As seccompiler reads it: a map of one filter, less the keys that are ours.
    pub(crate) fn for_compiler(&self) -> String {
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|rule| Value::Object(rule.iter().filter(|(key, _)| *key != "reason").map(own).collect()))
            .collect();
        let filter = json!({"mismatch_action": self.mismatch, "match_action": self.matched, "filter": rules});
        json!({ &self.name: filter }).to_string()
    }
}

fn own((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn whole(
    name: &str,
    file: &Map<String, Value>,
    files: &BTreeMap<String, Map<String, Value>>,
) -> Result<Policy, String> {
    let text = |key: &str| file.get(key).and_then(Value::as_str);
    let mut rules = Vec::new();
    let (mut mismatch, mut matched) = (file.get("mismatch_action"), file.get("match_action"));
    if let Some(base) = text("extends") {
        let base = files.get(base).ok_or(format!("{name} extends {base}, which is not there"))?;
        if base.contains_key("extends") || mismatch.is_some() || matched.is_some() {
            return Err(format!("{name}: what extends another takes its actions, and that one extends nothing"));
        }
        (mismatch, matched) = (base.get("mismatch_action"), base.get("match_action"));
        rules.extend(list(name, base)?);
    }
    rules.extend(list(name, file)?);
    let action = |value: Option<&Value>| value.cloned().ok_or(format!("{name}: an action is missing"));
    Ok(Policy {
        name: name.to_owned(),
        comment: text("comment").unwrap_or_default().to_owned(),
        mismatch: action(mismatch)?,
        matched: action(matched)?,
        rules,
    })
}

fn list(name: &str, file: &Map<String, Value>) -> Result<Vec<Map<String, Value>>, String> {
    let rules = file.get("filter").and_then(Value::as_array).ok_or(format!("{name}: no filter"))?;
    rules.iter().map(|rule| rule.as_object().cloned().ok_or(format!("{name}: a rule is no object"))).collect()
}
