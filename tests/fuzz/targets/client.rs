#![no_main]

use torus_fuzz::{JSON, Target};

const TARGET: Target =
    Target { name: "client", body: torus_client::fuzz::body, seeds: torus_client::fuzz::seeds, memory: JSON };

libfuzzer_sys::fuzz_target!(init: torus_fuzz::plant(&TARGET), |data: &[u8]| {
    torus_fuzz::run(&TARGET, data);
});
