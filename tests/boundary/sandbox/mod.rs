//! The running release daemons, as an intruder finds them: what the kernel enforces on them, and what becomes of calls
//! that are put into them.

mod certificates;
mod filters;
mod injection;
mod pair;
mod status;
mod trace;
mod units;
