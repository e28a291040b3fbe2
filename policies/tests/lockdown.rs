//! What `lockdown` leaves in force, read back from the system in a child process: it cannot be undone in this one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write;
use std::process::{Command, Output};
use torus_policies::{Role, Step, end_with_parent, lockdown};

const CHILD: &str = "TORUS_LOCKDOWN_CHILD";

/// Runs the one test `child` of this binary again, alone and in the given part.
fn run(part: &str) -> Output {
    let itself = std::env::current_exe().unwrap();
    let output = Command::new(itself)
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, part)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{part}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn field(table: &str, name: &str) -> Vec<String> {
    let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{table}"));
    line[name.len()..].split_whitespace().map(str::to_owned).collect()
}

/// Only does something as a child; the parent's run of it is empty.
#[test]
fn child() {
    let Ok(part) = std::env::var(CHILD) else { return };
    let role = match part.as_str() {
        "vault" => Role::Vault,
        "node" => Role::Node,
        "orphan" => {
            assert!(end_with_parent(std::process::id()).is_err(), "one is not one's own parent");
            return;
        }
        "parent" => {
            end_with_parent(std::os::unix::process::parent_id()).unwrap();
            return;
        }
        other => panic!("no part {other}"),
    };
    let report = lockdown(role).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "report: {report}").unwrap();
    // Privileges belong to a thread, and the test does not run on the first one.
    for file in ["/proc/thread-self/status", "/proc/self/limits"] {
        writeln!(out, "{}", std::fs::read_to_string(file).unwrap()).unwrap();
    }
    assert_eq!(report.value(Step::NoCore), Some(0));
    assert_eq!(report.value(Step::NotDumpable), Some(0));
    assert_eq!(report.value(Step::NoNewPrivileges), Some(1));
    assert_eq!(report.value(Step::LockedMemory).is_some(), role == Role::Vault);
    // A second time changes nothing and fails at nothing.
    assert_eq!(lockdown(role).unwrap(), report);
}

fn limits_of(role: &str) -> String {
    String::from_utf8(run(role).stdout).unwrap()
}

#[test]
fn a_locked_down_process_gains_no_privileges_and_leaves_no_core() {
    for role in ["vault", "node"] {
        let table = limits_of(role);
        assert_eq!(field(&table, "NoNewPrivs:"), ["1"], "{role}");
        assert_eq!(field(&table, "Max core file size")[..2], ["0", "0"], "{role}");
    }
}

#[test]
fn files_are_bounded_by_role_soft_and_hard() {
    for (role, files, bytes) in [("vault", 1024, 64u64 << 30), ("node", 16_384, 256 << 30)] {
        let table = limits_of(role);
        for (name, most) in [("Max open files", files), ("Max file size", bytes)] {
            let limits = field(&table, name);
            assert_eq!(limits[0], limits[1], "{role}: {name}");
            assert!(limits[0].parse::<u64>().unwrap() <= most, "{role}: {name}");
        }
    }
}

#[test]
fn the_vault_may_lock_all_the_memory_that_the_system_allows() {
    let limits = field(&limits_of("vault"), "Max locked memory");
    assert_eq!(limits[0], limits[1]);
}

#[test]
fn a_child_binds_itself_to_its_launcher_and_to_nobody_else() {
    run("parent");
    run("orphan");
}

/// Aborts in an empty directory with core dumps allowed by the launcher; how many files are left there.
fn files_after_abort(part: &str) -> usize {
    let directory = std::env::temp_dir().join(format!("torus-policies-{part}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let status = Command::new("sh")
        .args(["-c", "ulimit -c unlimited; exec \"$0\" --exact aborts --nocapture --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, part)
        .current_dir(&directory)
        .status()
        .unwrap();
    assert!(!status.success());
    let files = std::fs::read_dir(&directory).unwrap().count();
    std::fs::remove_dir_all(&directory).unwrap();
    files
}

#[test]
fn a_locked_down_process_that_aborts_leaves_no_core() {
    // The control: where the system writes cores beside the process, one is there without the lockdown.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let hard = field(&std::fs::read_to_string("/proc/self/limits").unwrap(), "Max core file size")[1].clone();
    if pattern.trim() == "core" && hard == "unlimited" {
        assert_eq!(files_after_abort("abort open"), 1);
    }
    assert_eq!(files_after_abort("abort locked"), 0);
}

/// Only does something as a child.
#[test]
fn aborts() {
    match std::env::var(CHILD).as_deref() {
        Ok("abort open") => std::process::abort(),
        Ok("abort locked") => {
            lockdown(Role::Vault).unwrap();
            std::process::abort();
        }
        _ => {}
    }
}
