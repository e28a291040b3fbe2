//! What a policy must satisfy before it is compiled: things that the compiler accepts and a reader would miss.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::policy::Policy;

/// Calls that need a stated reason: by one of them a process reaches files, other processes, new code, other sockets or
/// the kernel's larger interfaces.
const DANGEROUS: [&str; 50] = [
    "accept4",
    "bind",
    "bpf",
    "chmod",
    "chown",
    "clone",
    "clone3",
    "connect",
    "execve",
    "execveat",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fcntl",
    "fork",
    "fstat",
    "getdents64",
    "io_uring_enter",
    "io_uring_setup",
    "ioctl",
    "kill",
    "link",
    "linkat",
    "listen",
    "mkdir",
    "mkdirat",
    "mmap",
    "mprotect",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "prctl",
    "process_vm_readv",
    "ptrace",
    "rename",
    "renameat",
    "rmdir",
    "rt_sigaction",
    "sendmsg",
    "setsockopt",
    "socket",
    "socketpair",
    "statx",
    "tgkill",
    "unlink",
    "unlinkat",
    "vfork",
    "socketcall",
];

/// Every reason not to compile; none is well.
pub(crate) fn complaints(policies: &BTreeMap<String, Policy>) -> Vec<String> {
    policies.values().flat_map(of).collect()
}

fn of(policy: &Policy) -> Vec<String> {
    let mut found = Vec::new();
    let mut complain = |what: String| found.push(format!("{}: {what}", policy.name));
    if policy.comment.is_empty() {
        complain("the file has no comment".to_owned());
    }
    let allows = policy.mismatch == json!("kill_process") && policy.matched == json!("allow");
    let refuses = policy.mismatch == json!("allow") && policy.matched.get("errno").is_some();
    if policy.name.ends_with("-refused") && !refuses || !policy.name.ends_with("-refused") && !allows {
        complain("its actions are neither kill_process/allow nor, in a list of refusals, allow/errno".to_owned());
    }
    if policy.rules.is_empty() {
        complain("it has no rules".to_owned());
    }
    let mut conditions = BTreeMap::<&str, Vec<Option<&Value>>>::new();
    for rule in &policy.rules {
        let Some(name) = text(rule, "syscall") else {
            complain("a rule names no syscall".to_owned());
            continue;
        };
        if text(rule, "comment").is_none_or(str::is_empty) {
            complain(format!("a rule for {name} has no comment"));
        }
        if allows && DANGEROUS.contains(&name) && text(rule, "reason").is_none_or(str::is_empty) {
            complain(format!("{name} needs a stated reason"));
        }
        conditions.entry(name).or_default().push(rule.get("args"));
    }
    for (name, conditions) in conditions {
        // seccompiler keeps the conditional rules and loses the other one without a word.
        if conditions.len() > 1 && conditions.contains(&None) {
            complain(format!("{name} has a rule without conditions beside another rule"));
        }
        let distinct: BTreeSet<String> = conditions.iter().map(|args| args.map(bare).unwrap_or_default()).collect();
        if distinct.len() < conditions.len() {
            complain(format!("{name} has the same rule twice"));
        }
    }
    found
}

fn text<'a>(rule: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    rule.get(key).and_then(Value::as_str)
}

/// The conditions without their comments.
fn bare(args: &Value) -> String {
    let mut args = args.clone();
    for arg in args.as_array_mut().into_iter().flatten() {
        if let Some(arg) = arg.as_object_mut() {
            arg.remove("comment");
        }
    }
    args.to_string()
}
