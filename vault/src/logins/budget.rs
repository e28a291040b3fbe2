//! The device's time that users may take without a quota: a hard cap that follows the device, whatever its speed.
//!
//! Anybody may ask for a commitment, and each costs the device a signature; whoever got a share may ask for it again,
//! which no quota counts, and each time costs as much as the first; votes need the same device. So receipts and repeated
//! releases get a part of every second together and no more: on a slow HSM that is few, on a fast one many. A first
//! release is the quotas' to bound, and takes none of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What can be saved up: a burst of users after a quiet moment.
const SAVED: Duration = Duration::from_secs(1);

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
        let nanos = i64::try_from(SAVED.as_nanos()).unwrap_or(i64::MAX);
        Self {
            rate: u64::from(hundredths).saturating_mul(10_000_000),
            left: Mutex::new(Left { nanos, then: Instant::now() }),
        }
    }

    /// Whether there is time for another receipt, or release that was made before.
    pub fn open(&self) -> bool {
        self.change(Instant::now(), 0) > 0
    }

    /// It took this long.
    pub fn spend(&self, took: Duration) {
        self.change(Instant::now(), i64::try_from(took.as_nanos()).unwrap_or(i64::MAX));
    }

    fn change(&self, now: Instant, spent: i64) -> i64 {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(left.then).min(Duration::from_secs(3600));
        let earned = elapsed.as_nanos().saturating_mul(self.rate.into()) / 1_000_000_000;
        let most = i64::try_from(SAVED.as_nanos()).unwrap_or(i64::MAX);
        let saved = left.nanos.saturating_add(i64::try_from(earned).unwrap_or(i64::MAX)).min(most);
        *left = Left { nanos: saved.saturating_sub(spent), then: now.max(left.then) };
        left.nanos
    }
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
    fn a_flood_is_paid_back_before_the_next_receipt() {
        let budget = Budget::new(50);
        let start = budget.left.lock().unwrap().then;
        assert!(budget.change(start, 3_000_000_000) < 0);
        assert!(budget.change(start + Duration::from_secs(4), 0) <= 0);
        assert!(budget.change(start + Duration::from_millis(4001), 0) > 0);
        assert_eq!(budget.change(start + Duration::from_secs(3600), 0), 1_000_000_000);
    }
}
