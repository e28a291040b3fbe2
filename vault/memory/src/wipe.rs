//! Zeros that are written although nobody reads them.
#![allow(unsafe_code)]

use core::sync::atomic::{Ordering, compiler_fence};

/// Writes zeros over all bytes, in words where it can.
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: any bytes are a number, and zero is one of either type.
    let (first, words, last) = unsafe { bytes.align_to_mut::<u64>() };
    for byte in first.iter_mut().chain(last) {
        // SAFETY: a reference is valid for writing.
        unsafe { core::ptr::write_volatile(byte, 0) };
    }
    for word in words {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(word, 0) };
    }
    compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_wiped_wherever_it_lies() {
        for from in 0..9 {
            for length in 0..40 {
                let mut bytes = [7; 64];
                wipe(&mut bytes[from..from + length]);
                let wiped = |at: usize| (from..from + length).contains(&at);
                assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == if wiped(at) { 0 } else { 7 }));
            }
        }
    }
}
