//! Landlock: the files and TCP ports that are left, for the whole life of the process and whatever it executes.

use std::error::Error;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::report::LockdownError;

/// Files and ports by TCP: without these rights, which Linux has since 6.7, a daemon does not start.
const NEEDED: ABI = ABI::V4;
/// Devices' controls, abstract sockets, signals: taken where the kernel has them, since 6.12. The filter forbids the
/// calls behind them, too.
const WANTED: ABI = ABI::V6;

/// What stays open to a daemon. The default is nothing at all.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Files that may be read, or directories of which files may be listed and read.
    pub read: Vec<PathBuf>,
    /// Directories in which files may be made, read, written and removed.
    pub keep: Vec<PathBuf>,
    /// TCP ports that may be listened on.
    pub bind: Vec<u16>,
    /// TCP ports that may be connected to, at any address.
    pub connect: Vec<u16>,
}

/// Whether an operator does without Landlock. There is no third value: it is required, or its absence is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// The daemon does not start without it.
    Required,
    /// The operator said so on the command line; reported, logged and shown in the metrics.
    Without,
}

impl Access {
    /// Restricts this thread and those that it starts. The value is 1 if everything that is wanted was had, and 0 if
    /// only what is needed.
    pub(crate) fn enforce(&self) -> Result<u64, LockdownError> {
        let status = self.restrict().map_err(|error| LockdownError::Landlock(error.to_string()))?;
        if status.no_new_privs && status.ruleset != RulesetStatus::NotEnforced {
            Ok(u64::from(status.ruleset == RulesetStatus::FullyEnforced))
        } else {
            Err(LockdownError::Landlock("it was accepted, but is not in force".to_owned()))
        }
    }

    fn restrict(&self) -> Result<landlock::RestrictionStatus, Box<dyn Error>> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(NEEDED))?
            .handle_access(AccessNet::from_all(NEEDED))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(WANTED))?
            .scope(Scope::from_all(WANTED))?
            .create()?
            .set_compatibility(CompatLevel::HardRequirement);
        for path in &self.read {
            let rights = if path.is_dir() { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, rights))?;
        }
        for directory in &self.keep {
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(directory)?, keeping()))?;
        }
        for (ports, right) in [(&self.bind, AccessNet::BindTcp), (&self.connect, AccessNet::ConnectTcp)] {
            for port in ports {
                ruleset = ruleset.add_rule(NetPort::new(*port, right))?;
            }
        }
        Ok(ruleset.restrict_self()?)
    }
}

/// Files, but no directories, devices, links or sockets.
fn keeping() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
}
