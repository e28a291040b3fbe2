//! `torus`: looks keys up, has them assigned and logs in, from a command line.
//!
//! Exit codes: 0 done; 1 this machine's side; 2 wrong arguments or network file; 3 the token or login was refused;
//! 4 too few members did their part; 5 what members gave does not fit together; 6 the user has no key.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(&cli::Arguments::parse())
}
