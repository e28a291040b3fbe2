//! Key generation among vaults in one process, with devices in software and one real token.

mod bounds;
pub(crate) mod device;
mod disk;
mod envelopes;
mod generation;
mod memory;
mod randomness;
mod restart;
mod slices;
mod softhsm;
mod stored;
mod vectors;
pub(crate) mod world;
