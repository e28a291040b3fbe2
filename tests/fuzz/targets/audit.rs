#![no_main]

use torus_fuzz::audit::TARGET;

libfuzzer_sys::fuzz_target!(init: torus_fuzz::plant(&TARGET), |data: &[u8]| {
    torus_fuzz::run(&TARGET, data);
});
