//! Randomness from the operating system.

use crate::error::Error;

/// Fills a buffer.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::getrandom(bytes).map_err(|e| Error::Local(format!("the operating system gives no randomness: {e}")))
}

/// Puts a list in random order, so that no member sees commitments before others by rule. The bias of the reduction is
/// below 2^-24 and hides nothing secret.
pub(crate) fn shuffle<T>(list: &mut [T]) -> Result<(), Error> {
    for last in (1..list.len()).rev() {
        let mut draw = [0; 4];
        fill(&mut draw)?;
        let other = u32::from_be_bytes(draw) as usize % (last + 1);
        list.swap(last, other);
    }
    Ok(())
}
