#![no_main]

use torus_fuzz::{BINARY, Target};

const TARGET: Target =
    Target { name: "p2p", body: torus_node::p2p::fuzz::body, seeds: torus_node::p2p::fuzz::seeds, memory: BINARY };

libfuzzer_sys::fuzz_target!(init: torus_fuzz::plant(&TARGET), |data: &[u8]| {
    torus_fuzz::run(&TARGET, data);
});
