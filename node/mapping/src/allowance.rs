//! Token buckets: what one member or one verifier may take out of the buffer in a short time.
//!
//! Refilled by header time alone, in whole thousandths of an assignment, so that replicas agree.

use torus_statement::config::Buffer;
use torus_statement::state::Allowance;

/// Thousandths of one assignment.
const ONE: u64 = 1000;

/// A bucket's size and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Assignments that a full bucket holds.
    pub burst: u64,
    /// Assignments that flow in per second.
    pub per_second: u64,
}

impl Rates {
    /// One member: a quarter of the low-water mark at once (8 to 1024), then 20 a second. So no member alone empties a
    /// full buffer faster than the others notice, and ten million users can still sign up within a week.
    pub fn member(buffer: &Buffer) -> Self {
        Self { burst: u64::from(buffer.low_water / 4).clamp(8, 1024), per_second: 20 }
    }

    /// One verifier, over all members: half the low-water mark at once (16 to 4096), then 60 a second.
    pub fn verifier(buffer: &Buffer) -> Self {
        Self { burst: u64::from(buffer.low_water / 2).clamp(16, 4096), per_second: 60 }
    }

    /// The bucket after one assignment at a time, `None` if it holds less than one. A bucket never seen is full.
    pub fn take(self, bucket: Allowance, time: u64) -> Option<Allowance> {
        let milli = self.filled(bucket, time).checked_sub(ONE)?;
        Some(Allowance { milli, time: time.max(bucket.time) })
    }

    fn filled(self, bucket: Allowance, time: u64) -> u64 {
        // Milliseconds times assignments a second are thousandths of an assignment.
        let inflow = time.saturating_sub(bucket.time).saturating_mul(self.per_second);
        bucket.milli.saturating_add(inflow).min(self.burst.saturating_mul(ONE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let rates = Rates { burst: 3, per_second: 2 };
        let mut bucket = Allowance::default();
        let now = 1_700_000_000_000;
        for _ in 0..3 {
            bucket = rates.take(bucket, now).unwrap();
        }
        assert_eq!(rates.take(bucket, now), None);
        assert_eq!(rates.take(bucket, now + 499), None);
        bucket = rates.take(bucket, now + 500).unwrap();
        assert_eq!(rates.take(bucket, now + 500), None);
        // Time that stands still or steps back fills nothing.
        assert_eq!(rates.take(bucket, 0), None);
    }
}
