//! Bounds on what one caller may take, with time as an input.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A token bucket's size and refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests at once.
    pub burst: u32,
    /// Requests a second, lasting.
    pub per_second: u32,
}

/// Everything that bounds the public listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once of one address; further ones are closed.
    pub connections_per_address: usize,
    /// Requests being worked on at once; further ones get 503.
    pub in_flight: usize,
    /// For the head of a request, and the silence between two requests.
    pub head: Duration,
    /// For a request's body.
    pub read: Duration,
    /// For a request's answer, and for a caller to take it.
    pub answer: Duration,
    /// For a connection as a whole.
    pub connection: Duration,
    /// Requests of one address. `None` behind a proxy that limits itself, since all callers are one there.
    pub per_address: Option<Rate>,
    /// Requests that reach the vault for one verifier.
    pub per_verifier: Option<Rate>,
    /// New keys for one address.
    pub assigns_per_address: Option<Rate>,
    /// New keys for one verifier.
    pub assigns_per_verifier: Option<Rate>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 10,
            connections: 1024,
            connections_per_address: 256,
            in_flight: 512,
            head: Duration::from_secs(15),
            read: Duration::from_secs(10),
            answer: Duration::from_secs(20),
            connection: Duration::from_secs(600),
            per_address: Some(Rate { burst: 1000, per_second: 200 }),
            per_verifier: Some(Rate { burst: 4000, per_second: 1000 }),
            assigns_per_address: Some(Rate { burst: 200, per_second: 20 }),
            assigns_per_verifier: Some(Rate { burst: 1000, per_second: 100 }),
        }
    }
}

/// What limits by address hold a caller to: a whole /64 of IPv6 is one.
pub(super) fn caller_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 => v4,
    }
}

/// Token buckets by key, in bounded memory.
pub(super) struct Buckets<K> {
    rate: Option<Rate>,
    most: usize,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    milli: u64,
    seen: u64,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Buckets of one rate for at most so many keys; without a rate nothing is limited.
    pub(super) fn new(rate: Option<Rate>, most: usize) -> Self {
        Self { rate, most, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one at `now`, in milliseconds of a clock that does not go back. `false`: nothing is left. When all places
    /// are taken by keys that are not full again, a new key is refused: memory stays bounded, and those inside go on.
    pub(super) fn take(&self, key: K, now: u64) -> bool {
        let Some(rate) = self.rate else { return true };
        let full = u64::from(rate.burst).saturating_mul(1000);
        let refilled = |bucket: &Bucket| {
            let since = now.saturating_sub(bucket.seen);
            bucket.milli.saturating_add(since.saturating_mul(u64::from(rate.per_second))).min(full)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= self.most && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| refilled(bucket) < full);
            if buckets.len() >= self.most {
                return false;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { milli: full, seen: now });
        let milli = refilled(bucket);
        let left = milli.checked_sub(1000);
        *bucket = Bucket { milli: left.unwrap_or(milli), seen: now.max(bucket.seen) };
        left.is_some()
    }
}
