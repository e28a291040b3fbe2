//! A whole network on one machine: every member a vault process and a node process, and the issuer that their
//! users log in with. It holds no key of a member and takes part in no protocol: what it proves, real binaries do.

/// A list of arguments from whatever is a path or a text.
macro_rules! args {
    ($($arg:expr),+ $(,)?) => { vec![$(::std::ffi::OsString::from($arg)),+] };
}

pub mod bench;
pub mod ceremony;
pub mod chain;
pub mod control;
pub mod demo;
pub mod fleet;
pub mod http;
pub mod issuer;
pub mod network_file;
pub mod plan;
pub mod process;
pub mod progress;
pub mod running;
pub mod supervisor;
mod trouble;
pub mod users;

pub use trouble::{Result, Trouble};
