#![no_main]

use torus_fuzz::{JSON, Target};

const TARGET: Target = Target {
    name: "founding",
    body: torus_node::genesis::fuzz::body,
    seeds: torus_fuzz::founding::seeds,
    memory: JSON,
};

libfuzzer_sys::fuzz_target!(init: torus_fuzz::plant(&TARGET), |data: &[u8]| {
    torus_fuzz::run(&TARGET, data);
});
