#![no_main]

use torus_fuzz::{JSON, Target};

const TARGET: Target =
    Target { name: "rpc", body: torus_node::api::fuzz::body, seeds: torus_node::api::fuzz::seeds, memory: JSON };

libfuzzer_sys::fuzz_target!(init: torus_fuzz::plant(&TARGET), |data: &[u8]| {
    torus_fuzz::run(&TARGET, data);
});
