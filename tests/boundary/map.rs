//! The map of the tests names tests that are there and that run: a renamed or removed test takes its line with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The sections of `tests/README.md` whose tables promise a test in every line.
const SECTIONS: [&str; 8] = [
    "## Thefts",
    "## Hostile nodes",
    "## Faults",
    "## The audit log",
    "## The sandbox",
    "## Memory",
    "## The node list",
    "## What the forerunner was known for",
];
/// Where tests are.
const FOLDERS: [&str; 5] = ["vault", "node", "policies", "firmware-sim", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every table line of those sections, without heads and rules.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for section in SECTIONS {
        let from = text.find(section).unwrap_or_else(|| panic!("{section} is gone"));
        let body = &text[from + section.len()..];
        let body = &body[..body.find("\n## ").unwrap_or(body.len())];
        lines.extend(body.lines().filter(|line| line.starts_with("| ")).skip(1));
    }
    lines
}

/// The names in backticks of a line: identifiers, not paths.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let of_rust = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    line.split('`').skip(1).step_by(2).filter(move |name| name.contains('_') && name.chars().all(of_rust))
}

/// The names of all functions that a test harness runs.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                marked(&fs::read_to_string(&path).unwrap(), &mut found);
            } else if name.to_string_lossy().ends_with(".test.mjs") {
                // The contract's: each begins a line with its name in quotes.
                let source = fs::read_to_string(&path).unwrap();
                let tests = source.lines().filter_map(|line| line.strip_prefix("test(\"")?.split('"').next());
                found.extend(tests.map(str::to_owned));
            }
        }
    }
    // The checks on running networks have an order of running of their own: its list is what runs.
    for program in ["e2e", "adversary"] {
        let order = fs::read_to_string(root().join("tests").join(program).join("main.rs")).unwrap();
        let lists = order.split("checks![").skip(1).filter_map(|rest| rest.split(']').next());
        let checks = lists.flat_map(|list| list.split(',')).filter_map(|check| check.trim().rsplit_once("::"));
        found.extend(checks.map(|(_, name)| name.to_owned()));
    }
    // So have the probes of the sandbox: a name in quotes stands before each check.
    let probes = fs::read_to_string(root().join("policies/tests/probe/main.rs")).unwrap();
    let list = probes.split("CHECKS: &[Check] = &[").nth(1).and_then(|rest| rest.split("];").next()).expect("a list");
    found.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
    found
}

/// The functions of a file that `#[test]`, or a runtime's attribute of that name, stands above, and no `#[ignore]`.
fn marked(source: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some(rest) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if std::mem::take(&mut is_test) {
                found.insert(name.to_owned());
            }
        }
    }
}

#[test]
fn every_test_that_the_map_names_exists_and_runs() {
    let text = fs::read_to_string(root().join("tests/README.md")).expect("the map is committed");
    let tests = tests();
    let named: BTreeSet<&str> = lines(&text).into_iter().flat_map(names).collect();
    assert!(named.len() > 100, "only {} names found: the map is read wrongly", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "tests/README.md names tests that do not exist: {missing:#?}");
}

#[test]
fn every_line_of_the_map_names_a_test_or_says_why_there_is_none() {
    let text = fs::read_to_string(root().join("tests/README.md")).expect("the map is committed");
    let bare: Vec<_> = lines(&text)
        .into_iter()
        .filter(|line| names(line).next().is_none() && !line.contains("remains, see `"))
        .collect();
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn a_function_without_its_mark_is_no_test() {
    let mut found = BTreeSet::new();
    let source =
        "#[test]\nfn one() {}\nfn two() {}\n#[test]\n#[ignore = \"\"]\nfn three() {}\n #[test]\n fn four(x in 0..1) {}";
    marked(source, &mut found);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["four", "one"]);
    assert_eq!(names("| a | `one_two`, `a/b_c.rs`, `Word_x` (it) |").collect::<Vec<_>>(), ["one_two"]);
}
