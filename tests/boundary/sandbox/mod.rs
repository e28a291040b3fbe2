//! The running release daemons, as an intruder finds them: what the kernel enforces on them, and what becomes of calls
//! that are put into them.

mod certificates;
mod filters;
#[cfg(target_arch = "x86_64")]
mod injection;
mod pair;
mod status;
#[cfg(target_arch = "x86_64")]
mod trace;
mod units;

use std::io::Write;

/// Says what this machine did not let a test do, so that it is seen although the test passes: the harness holds back what
/// its macros print, not what is written to the descriptor itself.
fn skipped(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "SKIPPED {}: {why}", thread.name().unwrap_or_default());
}

/// The registers that `trace` sets are x86_64's.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn no_call_is_put_into_a_daemon_on_this_architecture() {
    skipped("calls are put into running daemons on x86_64 only");
}
