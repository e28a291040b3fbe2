//! Where a vault's secrets come from.

use std::sync::atomic::Ordering;

use rand_core::RngCore;
use torus_hsm::DeviceError;
use torus_memory::Heap;

use super::device::TestDevice;
use crate::randomness::{NotSeeded, seeded};

#[test]
fn a_device_without_randomness_stops_the_vault_instead_of_weakening_it() {
    // The forerunner dropped the error of its generator and went on with what it had: nothing.
    let mut device = TestDevice::new(1);
    device.broken.store(true, Ordering::Relaxed);
    let seeded = seeded(&mut device, 1, Heap::pool());
    assert!(matches!(seeded, Err(NotSeeded::Device(DeviceError::BadSignature))));
}

#[test]
fn two_generators_of_one_start_never_say_the_same() {
    let mut device = TestDevice::new(1);
    let mut draw = |boot| {
        let mut bytes = [0; 32];
        seeded(&mut device, boot, Heap::pool()).unwrap().fill_bytes(&mut bytes);
        bytes
    };
    let drawn = [draw(1), draw(1), draw(2)];
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
}
