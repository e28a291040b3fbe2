//! The device's time that users may take without a quota: a hard cap that follows the device, whatever its speed.
//!
//! Anybody may ask for a commitment, and each costs the device a signature; whoever got a share may ask for it again,
//! which no quota counts, and each time costs as much as the first; votes need the same device. So receipts and repeated
//! releases get a part of every second together and no more: on a slow HSM that is few, on a fast one many. A first
//! release is the quotas' to bound, and takes none of it. Repeats stop where half of what can be saved up is left: whoever
//! shows one login without end leaves receipts their time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What can be saved up: a burst of users after a quiet moment.
const SAVED: Duration = Duration::from_secs(1);
/// Most that is owed: a device that hung is not paid back for longer.
const OWED: Duration = Duration::from_secs(10);

/// Time that was not used yet. Shared by the workers.
pub struct Budget {
    /// Nanoseconds earned in a second.
    rate: u64,
    left: Mutex<Left>,
}

struct Left {
    /// Below zero when the last signatures took longer than what was left.
    nanos: i64,
    then: Instant,
}

impl Budget {
    /// So many hundredths of every second; more than a hundred for a device that works on several at a time.
    pub fn new(hundredths: u32) -> Self {
        let left = Mutex::new(Left { nanos: nanos(SAVED), then: Instant::now() });
        Self { rate: u64::from(hundredths).saturating_mul(10_000_000), left }
    }

    /// Whether there is time for another receipt.
    pub fn open(&self) -> bool {
        self.change(Instant::now(), 0) > 0
    }

    /// Whether there is time for a release that was made before.
    pub fn open_again(&self) -> bool {
        self.change(Instant::now(), 0) > nanos(SAVED) / 2
    }

    /// It took this long.
    pub fn spend(&self, took: Duration) {
        self.change(Instant::now(), nanos(took));
    }

    fn change(&self, now: Instant, spent: i64) -> i64 {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(left.then).min(Duration::from_secs(3600));
        let earned = elapsed.as_nanos().saturating_mul(self.rate.into()) / 1_000_000_000;
        let saved = left.nanos.saturating_add(i64::try_from(earned).unwrap_or(i64::MAX)).min(nanos(SAVED));
        let nanos = saved.saturating_sub(spent).max(-nanos(OWED));
        *left = Left { nanos, then: now.max(left.then) };
        left.nanos
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_get_their_part_of_the_devices_time_and_no_more() {
        for (millis, hundredths, expected) in [(10, 50, 50.0), (1, 50, 500.0), (50, 66, 13.2)] {
            let budget = Budget::new(hundredths);
            let (start, took) = (budget.left.lock().unwrap().then, Duration::from_millis(millis));
            // A flood for ten seconds: a receipt as soon as there is time for it, looked at every millisecond.
            let (mut signed, mut busy) = (0, start);
            for step in 0..10_000 {
                let now = start + Duration::from_millis(step);
                if now >= busy && budget.change(now, 0) > 0 {
                    budget.change(now, took.as_nanos() as i64);
                    busy = now + took;
                    signed += 1;
                }
            }
            // Ten seconds at the rate, and the second that was saved up.
            let most = expected * 10.0 + 1000.0 / millis as f64 + 1.0;
            assert!(f64::from(signed) <= most && f64::from(signed) >= expected * 9.5, "{signed} of {most}");
        }
    }

    #[test]
    fn a_flood_of_repeats_leaves_receipts_their_time_and_a_device_that_hung_is_paid_back_in_seconds() {
        let budget = Budget::new(0);
        let mut repeats = 0;
        while budget.open_again() {
            budget.spend(Duration::from_millis(60));
            repeats += 1;
        }
        assert!((5..12).contains(&repeats) && budget.open(), "{repeats}");
        budget.spend(Duration::from_secs(1200));
        let left = budget.left.lock().unwrap().nanos;
        assert_eq!(left, -10_000_000_000);
    }

    #[test]
    fn a_flood_is_paid_back_before_the_next_receipt() {
        let budget = Budget::new(50);
        let start = budget.left.lock().unwrap().then;
        assert!(budget.change(start, 3_000_000_000) < 0);
        assert!(budget.change(start + Duration::from_secs(4), 0) <= 0);
        assert!(budget.change(start + Duration::from_millis(4001), 0) > 0);
        assert_eq!(budget.change(start + Duration::from_secs(3600), 0), 1_000_000_000);
    }
}
