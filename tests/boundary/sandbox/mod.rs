//! The running release daemons, as an intruder finds them: what the kernel enforces on them, and what becomes of calls
//! that are put into them.

mod certificates;
mod filters;
mod injection;
mod pair;
mod status;
mod trace;
mod units;

use std::io::Write;

/// Says what this machine did not let a test do, so that it is seen although the test passes: the harness holds back what
/// its macros print, not what is written to the descriptor itself.
fn skipped(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "SKIPPED {}: {why}", thread.name().unwrap_or_default());
}
