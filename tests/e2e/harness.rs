//! Groups of checks on running networks, in an order of their own: how they are chosen, run and counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// What the checks of a group run on.
pub(crate) trait World: Sized {
    /// Founds a fresh network and waits until it serves.
    fn start(name: &str, members: u8, port: u16, keys: Option<u32>) -> Self;

    /// Starts again whatever a failed check left down.
    fn make_whole(&mut self);
}

/// One property, proven on a running network. It panics if the property does not hold.
pub(crate) struct Check<W> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut W),
}

/// Checks that share a network.
pub(crate) struct Group<W> {
    pub(crate) name: &'static str,
    pub(crate) members: u8,
    /// The first port of its network, counted from the first of all: groups never meet.
    pub(crate) port: u16,
    pub(crate) keys: Option<u32>,
    pub(crate) long: bool,
    pub(crate) checks: Vec<Check<W>>,
}

macro_rules! checks {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        vec![$($crate::harness::Check { name: stringify!($name), run: $module::$name }),+]
    };
}
pub(crate) use checks;

/// Whether the long forms are wanted.
pub(crate) fn long() -> bool {
    std::env::var("TORUS_LONG").is_ok_and(|v| v == "1")
}

/// Runs the checks that the program's arguments choose.
pub(crate) fn run<W: World>(program: &str, groups: Vec<Group<W>>) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |group: &Group<W>, check: &Check<W>| {
        words.is_empty() || words.iter().any(|w| check.name.contains(w.as_str()) || group.name == w.as_str())
    };
    if args.iter().any(|arg| arg == "--list") {
        for group in groups {
            group.checks.iter().for_each(|check| println!("{}::{}: test", group.name, check.name));
        }
        return ExitCode::SUCCESS;
    }
    let mut tally = Tally::default();
    for group in groups {
        let checks: Vec<&Check<W>> = group.checks.iter().filter(|check| wanted(&group, check)).collect();
        if checks.is_empty() {
            continue;
        }
        if group.long && !long() {
            for check in checks {
                println!("test {}::{} ... SKIPPED (long: make test-long)", group.name, check.name);
                tally.skipped += 1;
            }
            continue;
        }
        run_group(&group, &checks, &mut tally);
    }
    println!("\n{program}: {} passed, {} failed, {} skipped", tally.passed, tally.failed.len(), tally.skipped);
    tally.failed.iter().for_each(|name| println!("  failed: {name}"));
    if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

fn run_group<W: World>(group: &Group<W>, checks: &[&Check<W>], tally: &mut Tally) {
    println!("\nnetwork {} ({} members) starts", group.name, group.members);
    let started = Instant::now();
    let first = std::env::var("TORUS_E2E_PORT").map_or(18_000, |port| port.parse::<u16>().expect("a port"));
    let start = || W::start(group.name, group.members, first + group.port, group.keys);
    let mut world = match catch_unwind(start) {
        Ok(world) => world,
        Err(_) => {
            println!("network {} did not start", group.name);
            tally.failed.extend(checks.iter().map(|check| format!("{}::{} (no network)", group.name, check.name)));
            return;
        }
    };
    println!("network {} is ready after {:.1} s", group.name, started.elapsed().as_secs_f32());
    for check in checks {
        let started = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| (check.run)(&mut world))).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!("test {}::{} ... {word} ({:.1} s)", group.name, check.name, started.elapsed().as_secs_f32());
        if passed {
            tally.passed += 1;
        } else {
            tally.failed.push(format!("{}::{}", group.name, check.name));
            // The next check starts from a network that is whole.
            let _ = catch_unwind(AssertUnwindSafe(|| world.make_whole()));
        }
    }
}
