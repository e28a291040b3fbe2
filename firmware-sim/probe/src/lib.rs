//! Links the vault's pure crates without std: own panic handler, own allocator, one entry point.
//!
//! It proves in CI that sharing, protocol, statement, release and audit can run inside a device. It is never run and refuses
//! nothing: a dependency on std makes its build fail with two panic handlers.
#![no_std]

extern crate alloc;

mod bump;

use rand_core::{CryptoRng, Error, RngCore};
use torus_memory::Heap;
use torus_protocol::{Index, Input, Kind, Participant, Run, SLICE, Sizes};
use torus_statement::Wire;

#[global_allocator]
static HEAP: bump::Bump = bump::Bump::new();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// A device's random number generator stands here.
struct Device(u64);

impl CryptoRng for Device {}

impl RngCore for Device {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.iter_mut().for_each(|byte| *byte = (self.next_u64() >> 56) as u8);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

/// Reaches into each crate, so that nothing is dropped before it is linked.
// SAFETY: the only symbol of this name in the library, which links no other code of ours.
#[unsafe(no_mangle)]
pub extern "C" fn torus_probe(seed: u64, index: u8) -> usize {
    let (Ok(sizes), Some(me)) = (Sizes::new(5, 3, 1), Index::new(index)) else { return 0 };
    let Ok(run) = Run::new([0; 32], sizes, me, 1, Heap::pool()) else { return 0 };
    let mut device = Device(seed);
    let Ok(mut member) = Participant::deal(run, &mut device) else { return 0 };
    let dealt = member.handle(Input::Continue(SLICE), &mut device).unwrap_or_default();
    let input = Input::Message { from: me, dealer: me, kind: Kind::Echo, digest: [0; 32], body: &[] };
    let answered = member.handle(input, &mut device).unwrap_or_default();
    let header = torus_statement::Header::from_bytes(&[index]).is_ok();
    let h = torus_sharing::second_generator() == torus_sharing::second_generator().double();
    let read = torus_audit::Record::from_bytes(&[index]).is_ok();
    dealt.len() + answered.len() + usize::from(header) + usize::from(h) + usize::from(login(&[index], seed) || read)
}

/// The token's side of the release decision, its signature check included.
fn login(bytes: &[u8], time: u64) -> bool {
    let Ok(verifier) = torus_statement::Verifier::from_bytes(bytes) else { return false };
    let token = core::str::from_utf8(bytes).unwrap_or_default();
    torus_release::evaluate(token, &verifier, &torus_statement::TimeConstants::DEFAULT, time).is_ok()
}
