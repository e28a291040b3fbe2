//! What the compiled filters answer, executed here over every call and the corners of its arguments, for both
//! architectures. The answers lie in `golden/`: a change of a policy shows there as what it lets through.
//! `UPDATE_GOLDEN=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bpf;
#[allow(dead_code, reason = "shared with the build")]
#[path = "../build/lint.rs"]
mod lint;
#[allow(dead_code, reason = "shared with the build")]
#[path = "../build/policy.rs"]
mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpf::{Answer, Call, run};
use policy::{ARCHITECTURES, Policy};
use serde_json::{Value, json};
use torus_policies::{AARCH64, Filters, Instruction, Role, X86_64};

/// More than any architecture has.
const CALLS: u32 = 1024;
const X32: u32 = 0x4000_0000;
const I386: u32 = 0x4000_0003;
const ARM: u32 = 0x4000_0028;
const ENOSYS: u16 = 38;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn kernel_name(architecture: &str) -> u32 {
    if architecture == "x86_64" { 0xc000_003e } else { 0xc000_00b7 }
}

fn filters(architecture: &str, role: Role) -> [&'static [Instruction]; 2] {
    let all: Filters = if architecture == "x86_64" { X86_64 } else { AARCH64 };
    [role.refused_name(), role.filter_name()]
        .map(|name| all.iter().find(|(found, _)| *found == name).expect("compiled").1)
}

fn answer(filters: &[&[Instruction]], call: &Call) -> Answer {
    filters.iter().map(|filter| run(filter, call)).max().expect("a filter")
}

/// The number of a call, found by compiling a filter of nothing else.
fn number(name: &str, architecture: &str) -> u32 {
    let policy = json!({"one": {
        "mismatch_action": "kill_process", "match_action": "allow", "filter": [{"syscall": name}]}});
    let target = seccompiler::TargetArch::try_from(architecture).unwrap();
    let programs = seccompiler::compile_from_json(policy.to_string().as_bytes(), target).unwrap();
    let filter: Vec<Instruction> =
        programs["one"].iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
    let call = |number| Call { number, architecture: kernel_name(architecture), arguments: [0; 6] };
    (0..CALLS).find(|number| run(&filter, &call(*number)) == Answer::Allow).expect("a number")
}

/// For every argument that a rule of the call looks at: the values that it compares with, and their neighbours.
fn corners(policy: &Policy, name: &str) -> BTreeMap<usize, BTreeSet<u64>> {
    let mut corners = BTreeMap::<usize, BTreeSet<u64>>::new();
    for rule in policy.rules.iter().filter(|rule| rule["syscall"] == name) {
        for condition in rule.get("args").and_then(Value::as_array).into_iter().flatten() {
            let value = condition["val"].as_u64().unwrap();
            let mask = condition["op"].get("masked_eq").and_then(Value::as_u64);
            let all = corners.entry(usize::try_from(condition["index"].as_u64().unwrap()).unwrap()).or_default();
            let high = 1 << 32;
            all.extend([0, 1, u64::MAX, value, value + 1, value ^ 1, value | 1 << 31, value | high]);
            all.extend(mask.into_iter().flat_map(|mask| [mask, value | !mask & 0xffff_ffff, value | mask & 1]));
        }
    }
    corners
}

fn combinations(corners: &BTreeMap<usize, BTreeSet<u64>>) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6]];
    for (index, values) in corners {
        let with = |arguments: &[u64; 6]| {
            let mut arguments = *arguments;
            values
                .iter()
                .map(move |value| {
                    arguments[*index] = *value;
                    arguments
                })
                .collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

fn table(architecture: &str, role: Role) -> String {
    let policies = policy::read(&root().join("resources").join(architecture)).unwrap();
    let policy = &policies[role.filter_name()];
    let filters = filters(architecture, role);
    let names: BTreeSet<&str> = policy.rules.iter().map(|rule| rule["syscall"].as_str().unwrap()).collect();
    let mut text =
        format!("# What {} answers on {architecture}; every other call kills the process.\n", role.filter_name());
    for name in names {
        let corners = corners(policy, name);
        let call =
            |arguments| Call { number: number(name, architecture), architecture: kernel_name(architecture), arguments };
        let mut allowed = Vec::new();
        let (mut errno, mut killed) = (false, false);
        for arguments in combinations(&corners) {
            match answer(&filters, &call(arguments)) {
                Answer::Allow => allowed.push(arguments),
                Answer::Errno(ENOSYS) => errno = true,
                Answer::Errno(other) => panic!("{name} answers {other}"),
                Answer::Kill => killed = true,
            }
        }
        if errno {
            assert!(allowed.is_empty() && !killed, "{name}");
            let _ = writeln!(text, "{name}: ENOSYS");
        } else if !killed {
            let _ = writeln!(text, "{name}: allowed");
        } else {
            let _ = writeln!(text, "{name}: allowed only with");
            for arguments in allowed {
                let shown = corners.keys().map(|index| format!("{index}={:#x}", arguments[*index]));
                let _ = writeln!(text, "    {}", shown.collect::<Vec<_>>().join(" "));
            }
        }
    }
    text
}

#[test]
fn what_is_allowed_is_what_the_golden_files_say() {
    let mut differ = Vec::new();
    for architecture in ARCHITECTURES {
        for role in Role::ALL {
            let path = root().join("tests/golden").join(format!("{architecture}-{}.txt", role.filter_name()));
            let found = table(architecture, role);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, &found).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != found {
                differ.push(path);
            }
        }
    }
    assert!(differ.is_empty(), "a policy answers otherwise; review, then UPDATE_GOLDEN=1: {differ:?}");
}

#[test]
fn every_call_that_no_rule_names_kills_whatever_its_arguments_and_whatever_the_instruction_set() {
    for architecture in ARCHITECTURES {
        let policies = policy::read(&root().join("resources").join(architecture)).unwrap();
        for role in Role::ALL {
            let filters = filters(architecture, role);
            let named: BTreeSet<u32> = policies[role.filter_name()]
                .rules
                .iter()
                .map(|rule| number(rule["syscall"].as_str().unwrap(), architecture))
                .collect();
            for arguments in [[0; 6], [1; 6], [u64::MAX; 6], [0x8000_0000; 6]] {
                for number in 0..CALLS {
                    let here = Call { number, architecture: kernel_name(architecture), arguments };
                    if !named.contains(&number) {
                        assert_eq!(answer(&filters, &here), Answer::Kill, "{architecture} {role:?} {number}");
                    }
                    // The same kernel's other ways in: x32, and the 32-bit instruction sets.
                    let x32 = Call { number: number | X32, ..here };
                    assert_eq!(answer(&filters, &x32), Answer::Kill, "x32 {number}");
                    for foreign in [I386, ARM, 0] {
                        let call = Call { architecture: foreign, ..here };
                        assert_eq!(answer(&filters, &call), Answer::Kill, "{foreign:#x} {number}");
                    }
                }
            }
        }
    }
}

#[test]
fn both_architectures_have_the_same_filters() {
    let names = |filters: Filters| filters.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(X86_64), names(AARCH64));
    assert!(X86_64.iter().chain(AARCH64).all(|(_, filter)| filter.len() > 5));
}

fn complaints(rules: Value, refusals: bool) -> Vec<String> {
    let (mismatch, matched) =
        if refusals { (json!("allow"), json!({"errno": 38})) } else { (json!("kill_process"), json!("allow")) };
    let name = if refusals { "node-refused" } else { "node" };
    let rules = rules.as_array().unwrap().iter().map(|rule| rule.as_object().unwrap().clone()).collect();
    let policy = Policy { name: name.to_owned(), comment: "for a test".to_owned(), mismatch, matched, rules };
    lint::complaints(&BTreeMap::from([(name.to_owned(), policy)]))
}

#[test]
fn a_policy_that_a_reader_would_misread_does_not_build() {
    let sound = json!([{"syscall": "read", "comment": "c"}, {"syscall": "openat", "comment": "c", "reason": "r"}]);
    assert_eq!(complaints(sound, false), Vec::<String>::new());
    let arg =
        |value: u32| json!([{"index": 1, "type": "dword", "op": "eq", "val": value, "comment": value.to_string()}]);
    for (rules, said) in [
        (json!([{"syscall": "read"}]), "no comment"),
        (json!([{"syscall": "read", "comment": ""}]), "no comment"),
        (json!([{"comment": "c"}]), "no syscall"),
        (json!([]), "no rules"),
        (json!([{"syscall": "openat", "comment": "c"}]), "needs a stated reason"),
        (json!([{"syscall": "socket", "comment": "c", "reason": ""}]), "needs a stated reason"),
        // The rule without conditions would be lost.
        (
            json!([{"syscall": "write", "comment": "c"}, {"syscall": "write", "comment": "c", "args": arg(1)}]),
            "without conditions beside another",
        ),
        (
            json!([{"syscall": "read", "comment": "c", "args": arg(1)}, {"syscall": "read", "comment": "d", "args": arg(1)}]),
            "the same rule twice",
        ),
    ] {
        let found = complaints(rules, false);
        assert!(found.iter().any(|complaint| complaint.contains(said)), "{said}: {found:?}");
    }
    assert!(complaints(json!([{"syscall": "clone3", "comment": "c"}]), true).is_empty());
}

#[test]
fn a_missing_unknown_or_misspelt_policy_does_not_build() {
    let dir = tempfile::tempdir().unwrap();
    let from = root().join("resources/x86_64");
    let copy = || {
        for entry in std::fs::read_dir(&from).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    };
    copy();
    let read = || policy::read(dir.path()).map(drop);
    assert_eq!(read(), Ok(()));
    std::fs::remove_file(dir.path().join("node.json")).unwrap();
    assert!(read().unwrap_err().contains("node"));
    copy();
    std::fs::write(dir.path().join("nodes.json"), "{}").unwrap();
    assert!(read().unwrap_err().contains("belongs to no role"));
    std::fs::remove_file(dir.path().join("nodes.json")).unwrap();
    let text = std::fs::read_to_string(dir.path().join("node.json")).unwrap();
    std::fs::write(dir.path().join("node.json"), text.replace("\"filter\"", "\"filters\"")).unwrap();
    assert!(read().unwrap_err().contains("unknown key filters"));
    // The names are the compiler's to know; the build ends at the first that it does not.
    let misspelt = text.replace("\"epoll_wait\"", "\"epol_wait\"");
    std::fs::write(dir.path().join("node.json"), misspelt).unwrap();
    let policies = policy::read(dir.path()).unwrap();
    let target = seccompiler::TargetArch::x86_64;
    let compiled = seccompiler::compile_from_json(policies["node"].for_compiler().as_bytes(), target);
    assert!(compiled.unwrap_err().to_string().contains("epol_wait"));
}
