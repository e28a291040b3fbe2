#![no_main]

use torus_fuzz::{BINARY, Target};

const TARGET: Target = Target {
    name: "consensus",
    body: torus_consensus::fuzz::body,
    seeds: torus_consensus::fuzz::seeds,
    memory: BINARY,
};

libfuzzer_sys::fuzz_target!(init: torus_fuzz::plant(&TARGET), |data: &[u8]| {
    torus_fuzz::run(&TARGET, data);
});
