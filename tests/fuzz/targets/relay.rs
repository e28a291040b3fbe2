#![no_main]

use torus_fuzz::relay::TARGET;

libfuzzer_sys::fuzz_target!(init: torus_fuzz::plant(&TARGET), |data: &[u8]| {
    torus_fuzz::run(&TARGET, data);
});
