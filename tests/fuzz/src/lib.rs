//! Bodies of fuzz targets: what must hold whatever bytes come from outside.
//!
//! This file is the root of two crates. In `torus-fuzz` the targets hand libFuzzer's bytes to the bodies; in the test
//! `fuzz` of torus-tests every body gets its seeds and their mutants, so that ordinary tests notice one that no longer
//! compiles or no longer holds. Decoders that are private to a crate have their body beside them (`src/fuzz.rs` of
//! torus-consensus, torus-node and torus-client).
#![deny(unsafe_code)]
#![allow(unreachable_pub, reason = "one of the two crates has no callers outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a finding is a panic")]

pub mod audit;
pub mod certified;
pub mod claims;
#[cfg(fuzzing)]
pub mod founding;
mod honest;
pub mod ipc;
mod issuer;
pub mod kit;
mod meter;
pub mod participant;
pub mod relay;
#[cfg(test)]
mod replay;
pub mod sharing;
pub mod statement;
pub mod token;

/// One target: a property of all byte strings.
pub struct Target {
    /// Its binary's name, its corpus' folder.
    pub name: &'static str,
    /// Panics if the property does not hold; whether the bytes were taken for something valid.
    pub body: fn(&[u8]) -> bool,
    /// Bytes that are taken: where the search starts.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Most bytes of memory at once: so many, and so many more for each byte of input.
    pub memory: (usize, usize),
}

/// Memory of a decoder of binary formats.
pub const BINARY: (usize, usize) = (64 << 10, 64);
/// Memory of a decoder of JSON: an empty object is three characters, and half a KiB once it has a member.
pub const JSON: (usize, usize) = (256 << 10, 256);

/// Runs the body, bounded.
pub fn run(target: &Target, data: &[u8]) -> bool {
    let (base, each) = target.memory;
    meter::bounded(base + each * data.len(), || (target.body)(data))
}

/// Writes the seeds into the folder that `TORUS_FUZZ_SEEDS` names, if it does.
#[cfg(fuzzing)]
pub fn plant(target: &Target) {
    let Some(folder) = std::env::var_os("TORUS_FUZZ_SEEDS").map(std::path::PathBuf::from) else { return };
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        assert!(run(target, &seed), "seed {number} of {} is refused", target.name);
        std::fs::write(folder.join(format!("seed-{number:03}")), seed).expect("the corpus' folder can be written");
    }
}

/// Parts of an input, each behind its length of two bytes; the last takes what is left.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = data;
    let mut parts = [&data[..0]; N];
    for (place, part) in parts.iter_mut().enumerate() {
        let length = match rest.split_first_chunk::<2>() {
            Some((length, after)) if place + 1 < N => {
                rest = after;
                usize::from(u16::from_be_bytes(*length)).min(rest.len())
            }
            _ => rest.len(),
        };
        (*part, rest) = rest.split_at(length);
    }
    parts
}

/// The input of which `parts` makes these.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let (last, first) = parts.split_last().expect("an input has parts");
    let mut data = Vec::new();
    for part in first {
        data.extend_from_slice(&u16::try_from(part.len()).expect("seeds are short").to_be_bytes());
        data.extend_from_slice(part);
    }
    data.extend_from_slice(last);
    data
}

/// A seed of a body whose first byte selects what the rest is read as.
pub fn select(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind][..], rest].concat()
}
