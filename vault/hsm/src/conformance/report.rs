//! What the start-up gate found.

use core::fmt;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Pass,
    /// Weaker than it should be, in a way that gives no key away by itself.
    Warn,
    /// The token gives keys away or does not do what it is needed for: it must not be used.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// One named property of the token.
#[derive(Clone, Debug)]
pub struct Check {
    /// A stable name, in words joined by hyphens.
    pub name: &'static str,
    /// What was found.
    pub verdict: Verdict,
    /// What the token did, for people. Never a secret.
    pub detail: String,
}

/// All checks, in the order in which they were made.
#[derive(Clone, Debug)]
pub struct Report {
    /// Every check; none is left out when an earlier one fails.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether the token may be used.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.verdict != Verdict::Fail)
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Fail)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(f, "{}  {:<28} {}", check.verdict, check.name, check.detail)?;
        }
        Ok(())
    }
}
