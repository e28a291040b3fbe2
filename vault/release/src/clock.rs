//! Vault time: the vault's own clock, believed only near the newest certified header and never running back.

use torus_statement::TimeConstants;

use crate::deny::Deny;

/// What a vault knows of the time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The operating system's clock now.
    pub own: u64,
    /// The highest vault time that anything durable was done at.
    pub floor: u64,
}

impl Clock {
    /// The later of clock and floor, while the clock is inside the band around the newest certified header's time.
    ///
    /// # Errors
    /// [`Deny::Clock`] outside the band: nothing may be committed, released or expired, and no floor raised.
    pub fn time(&self, newest: u64, times: &TimeConstants) -> Result<u64, Deny> {
        let from = newest.saturating_sub(times.clock_behind.into());
        let to = newest.saturating_add(times.clock_ahead.into());
        if (from..=to).contains(&self.own) { Ok(self.own.max(self.floor)) } else { Err(Deny::Clock) }
    }
}
