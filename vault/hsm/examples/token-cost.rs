//! What a token costs: prints the median and the 99th percentile of each operation of the device.
//!
//! `cargo run --release -p torus-hsm --example token-cost -- MODULE LABEL PIN-FILE` uses a prepared token, or
//! `… -- --create MODULE LABEL PIN-FILE` initialises one first (SoftHSM; the PIN is also the officer's).
//! It makes keys under epoch 2^64-1, and destroys them afterwards; the counter stays advanced, so do not run it on the
//! token of a vault in service.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use torus_hsm::{Device, DeviceError, EpochAttempt, Pin, SealedDevice, Token, TokenConfig, conformance};

const SCRATCH: EpochAttempt = EpochAttempt { epoch: u64::MAX, attempt: u32::MAX };

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let create = arguments.first().is_some_and(|first| first == "--create");
    if create {
        arguments.remove(0);
    }
    let [module, label, pin_file] = <[String; 3]>::try_from(arguments).map_err(|_| "MODULE LABEL PIN-FILE")?;
    let config = TokenConfig { module: PathBuf::from(module), label };
    let pin = Pin::from_file(pin_file.as_ref())?;
    if create {
        Token::prepare(&config.module, &config.label, &pin, &pin)?;
    }
    let token = Token::open(&config, &pin)?;
    let info = token.info()?;
    println!("{} {} {:?}", info.manufacturer, info.model, info.label);

    let start = Instant::now();
    let report = conformance(&token);
    println!("gate: {} checks in {} ms", report.checks.len(), start.elapsed().as_millis());
    print!("{report}");

    let mut device = SealedDevice::new(token.session()?);
    println!("counter {}", device.counter()?);
    device.destroy_epoch_keys(SCRATCH)?;
    let start = Instant::now();
    let public = device.generate_epoch_keys(SCRATCH)?;
    println!("epoch keys made in {} ms", start.elapsed().as_millis());
    let measured = measure(&mut device, public.consensus);
    device.destroy_epoch_keys(SCRATCH)?;
    Ok(measured?)
}

fn measure(device: &mut SealedDevice, peer: torus_sharing::Point) -> Result<(), DeviceError> {
    let mut out = [0; 32];
    let sealed = device.seal(SCRATCH, b"cost", &[7; 32])?;
    print("sign", 500, || device.sign_consensus(SCRATCH, &[9; 32]).map(drop))?;
    print("agree", 500, || device.agree(SCRATCH, &peer, &mut out))?;
    print("seal", 2000, || device.seal(SCRATCH, b"cost", &[7; 32]).map(drop))?;
    print("open", 2000, || device.open(SCRATCH, b"cost", &sealed, &mut out))?;
    print("random", 2000, || device.random(&mut out))?;
    print("tick", 20, || device.tick().map(drop))
}

fn print(name: &str, count: usize, mut operation: impl FnMut() -> Result<(), DeviceError>) -> Result<(), DeviceError> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        operation()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times.get(count * percent / 100).copied().unwrap_or(Duration::ZERO).as_micros();
    println!("{name:<8} p50 {:>7} us   p99 {:>7} us   ({count} times)", at(50), at(99));
    Ok(())
}
